#!/bin/bash -l
# Optuna on HoreKa (NHR@KIT, Germany), by headnode
#
# Facts:
#   partition accelerated, GPUs: public files of users (cpuonly, accelerated) (read 2026-10, community)
#
# To know:
#   the modules for Optuna are unknown: find them there with `module avail` and load them, or enter an environment, before the launch
#   how many cores a node of accelerated has is unknown, so that none are asked for
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=accelerated
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
