#!/bin/bash -l
# TensorFlow on Leonardo (CINECA, Italy (EuroHPC)), by headnode
#
# Facts:
#   partition boost_usr_prod, GPUs: docs.hpc.cineca.it, hpc/leonardo.html and general/access.html (read 2026-10, official)
#
# To know:
#   the modules for TensorFlow are unknown: find them there with `module avail` and load them, or enter an environment, before the launch
#
#SBATCH --job-name=tensorflow
#SBATCH --output=%x-%j.out
#SBATCH --partition=boost_usr_prod
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:4

export TF_PORT_BASE=$((20000 + SLURM_JOB_ID % 20000))
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --cpu-bind=none python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
