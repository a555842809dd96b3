#!/bin/bash -l
# Optuna on Discoverer (Sofia Tech Park, Bulgaria (EuroHPC)), by headnode
#
# Facts:
#   partition cn: public RAMSES HPC notes that cite docs.discoverer.bg (read 2026-10, community)
#
# To know:
#   the modules for Optuna are unknown: find them there with `module avail` and load them, or enter an environment, before the launch
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=cn
#SBATCH --account=my-project
#SBATCH --qos=my-qos
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=128

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --kill-on-bad-exit=0 --wait=0 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
