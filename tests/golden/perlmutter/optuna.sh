#!/bin/bash -l
# Optuna on Perlmutter (NERSC, USA), by headnode
#
# Facts:
#   nodes gpu: BLAST-WarpX/warpx, Docs/source/install/hpc/perlmutter.rst (2026-07-01, community)
#
# To know:
#   the modules for Optuna are unknown: find them there with `module avail` and load them, or enter an environment, before the launch
#   how many cores a node of gpu has is unknown, so that none are asked for
#   how GPUs are asked for there is unknown; --gpus-per-node is Slurm's own way
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --account=my-project
#SBATCH --qos=my-qos
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --constraint=gpu

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
