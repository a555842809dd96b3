#!/bin/bash -l
# Optuna on wICE (Tier-2 of VSC, KU Leuven and UHasselt) (VSC (KU Leuven/UHasselt), Belgium), by headnode
#
# Facts:
#   partition gpu_a100, GPUs: hpcleuven/VscDocumentation@f320f4f, leuven/*.rst, accounts/authentication.rst, mfa_login.rst (2026-07-24, official)
#
# To know:
#   the modules for Optuna are unknown: find them there with `module spider` and load them, or enter an environment, before the launch
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=gpu_a100
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=18
#SBATCH --gpus-per-node=4
#SBATCH --clusters=wice

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
