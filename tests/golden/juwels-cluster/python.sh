#!/bin/bash -l
# Python on JUWELS Cluster (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition batch: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JUWELS (2024-09-06, community)
#   modules: HelmholtzAI-FZJ 2025-12 course, 01-access-machines.md (2025-12-10, official)
#
# To know:
#   how many cores a node of batch has is unknown, so that none are asked for
#
#SBATCH --job-name=python
#SBATCH --output=%x-%j.out
#SBATCH --partition=batch
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1

# MODULES BEGIN juwels-cluster python
module load Stages/2025 GCC OpenMPI CUDA/12 Python
# MODULES END

python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
