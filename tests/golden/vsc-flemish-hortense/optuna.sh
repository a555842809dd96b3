#!/bin/bash -l
# Optuna on Hortense (Tier-1 of VSC) (VSC (Ghent University), Belgium), by headnode
#
# Facts:
#   partition gpu_rome_a100_80_rhel9: hpcleuven/VscDocumentation@f320f4f, gent/tier1_hortense.rst (2026-07-24, official)
#
# To know:
#   the modules for Optuna are unknown: find them there with `module spider` and load them, or enter an environment, before the launch
#   how GPUs are asked for there is unknown; --gpus-per-node is Slurm's own way
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=gpu_rome_a100_80_rhel9
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=12
#SBATCH --gpus-per-node=4

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
