#!/bin/bash -l
# Python on JUWELS Booster (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition booster: HelmholtzAI-FZJ/2023-getting-started-with-ai-on-supercomputers, 01-access-machines.md (2023, official)
#   GPUs: BLAST-WarpX/warpx, Tools/machines/juwels-jsc (2026-07-01, community)
#   48 usable cores a node: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JUWELS (2024-09-06, community)
#   modules: HelmholtzAI-FZJ 2025-12 course, 01-access-machines.md (2025-12-10, official)
#
#SBATCH --job-name=python
#SBATCH --output=%x-%j.out
#SBATCH --partition=booster
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=48
#SBATCH --mem=0
#SBATCH --gres=gpu:4

# MODULES BEGIN juwels-booster python
module load Stages/2025 GCC OpenMPI CUDA/12 Python
# MODULES END

python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
