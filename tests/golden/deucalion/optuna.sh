#!/bin/bash -l
# Optuna on Deucalion (MACC/FCCN, Portugal (EuroHPC)), by headnode
#
# Facts:
#   partition normal-a100-40, GPUs: public reference of a user that cites docs.macc.fccn.pt (read 2026-10, community)
#
# To know:
#   the modules for Optuna are unknown: find them there with `module spider` and load them, or enter an environment, before the launch
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=normal-a100-40
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --gpus=8

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
