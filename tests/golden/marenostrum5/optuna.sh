#!/bin/bash -l
# Optuna on MareNostrum 5 (Barcelona Supercomputing Center (BSC), Spain (EuroHPC)), by headnode
#
# Facts:
#   partition acc, GPUs, 80 usable cores a node: public guide of a team (hosts, 20 CPUs for each GPU, modules, no internet) (read 2026-10, community)
#
# To know:
#   the modules for Optuna are unknown: find them there with `module spider` and load them, or enter an environment, before the launch
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=acc
#SBATCH --account=my-project
#SBATCH --qos=my-qos
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=20
#SBATCH --gres=gpu:4

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
