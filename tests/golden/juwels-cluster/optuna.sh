#!/bin/bash -l
# Optuna on JUWELS Cluster (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition gpus: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JUWELS (2024-09-06, community)
#   GPUs: BLAST-WarpX/warpx, Docs/source/install/hpc/juwels.rst and Tools/machines/juwels-jsc (2026-07-01, community)
#   modules: HelmholtzAI-FZJ 2025-12 course, 01-access-machines.md (2025-12-10, official)
#
# To know:
#   Optuna itself comes from an environment of your own
#   how many cores a node of gpus has is unknown, so that none are asked for
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=gpus
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4

# MODULES BEGIN juwels-cluster python
module load Stages/2025 GCC OpenMPI CUDA/12 Python
# MODULES END

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
