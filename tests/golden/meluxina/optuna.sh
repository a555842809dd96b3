#!/bin/bash -l
# Optuna on MeluXina (LuxProvide, Luxembourg (EuroHPC)), by headnode
#
# To know:
#   the modules for Optuna are unknown: find them there with `module avail` and load them, or enter an environment, before the launch
#   its partitions are unknown, and so what a node has: `sinfo` lists them; give a partition
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"

srun --kill-on-bad-exit=0 --wait=0 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
