#!/bin/bash -l
# Optuna on Frontier (OLCF, USA), by headnode
#
# Facts:
#   partition batch, GPUs, 56 usable cores a node: olcf/olcf-user-docs@2745903, systems/frontier_user_guide.rst, software/analytics/jax.rst (2026-07-22, official)
#
# To know:
#   the modules for Optuna are unknown: find them there with `module avail` and load them, or enter an environment, before the launch
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=batch
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=7
#SBATCH --gpus-per-node=8

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
