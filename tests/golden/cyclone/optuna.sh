#!/bin/bash -l
# Optuna on Cyclone (The Cyprus Institute (CyI), Cyprus), by headnode
#
# Facts:
#   partition gpu, GPUs: LAMEC, johannesnordal/tol105m@574a2ce, scripts/Cyclone (2024-09-06, community)
#
# To know:
#   the modules for Optuna are unknown: find them there with `module avail` and load them, or enter an environment, before the launch
#   how many cores a node of gpu has is unknown, so that none are asked for
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=gpu
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
