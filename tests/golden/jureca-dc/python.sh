#!/bin/bash -l
# Python on JURECA-DC (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition dc-cpu, 128 usable cores a node: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JURECA (2024-09-06, community)
#   modules: HelmholtzAI-FZJ 2025-12 course, 01-access-machines.md (2025-12-10, official)
#
#SBATCH --job-name=python
#SBATCH --output=%x-%j.out
#SBATCH --partition=dc-cpu
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=128

# MODULES BEGIN jureca-dc python
module load Stages/2025 GCC OpenMPI CUDA/12 Python
# MODULES END

python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
