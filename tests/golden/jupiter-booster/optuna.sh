#!/bin/bash -l
# Optuna on JUPITER Booster (Jülich Supercomputing Centre (JSC), Germany (EuroHPC)), by headnode
#
# Facts:
#   partition booster: scontrol and sinfo there, in U-LM/jupiter-deep-dive, evidence/live (2026-09-02, measured)
#   GPUs: apps.fz-juelich.de/jsc/hps/jupiter/batchsystem.html, in U-LM/jupiter-deep-dive@8b85751 (2026-09-02, official)
#
# To know:
#   the modules for Optuna are unknown: find them there with `module spider` and load them, or enter an environment, before the launch
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=booster
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=72
#SBATCH --mem=0

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
