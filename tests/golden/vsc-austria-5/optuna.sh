#!/bin/bash -l
# Optuna on VSC-5 (ASC (formerly VSC), Vienna, Austria), by headnode
#
# Facts:
#   partition zen3_0512_a100x2: ascii-supply-networks/dagster-slurm, docs/docs/how-to/hpc-vsc-5.md and hpc-musica.md (2026-08-08, community)
#
# To know:
#   the modules for Optuna are unknown: find them there with `module avail` and load them, or enter an environment, before the launch
#   how many cores a node of zen3_0512_a100x2 has is unknown, so that none are asked for
#   how GPUs are asked for there is unknown; --gpus-per-node is Slurm's own way
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=zen3_0512_a100x2
#SBATCH --account=my-project
#SBATCH --qos=my-qos
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --gpus-per-node=2

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
