#!/bin/bash -l
# Optuna on Leonardo (CINECA, Italy (EuroHPC)), by headnode
#
# Facts:
#   partition boost_usr_prod, GPUs: docs.hpc.cineca.it, hpc/leonardo.html and general/access.html (read 2026-10, official)
#   modules: public project log that quotes the official table (2026-04-15, community)
#
# To know:
#   Optuna itself comes from an environment of your own
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=boost_usr_prod
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:4

# MODULES BEGIN leonardo python
module load profile/deeplrn
module load python/3.11.7
# MODULES END

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
