#!/bin/bash -l
# Python on Leonardo (CINECA, Italy (EuroHPC)), by headnode
#
# Facts:
#   partition dcgp_usr_prod, modules: public project log that quotes the official table (2026-04-15, community)
#
#SBATCH --job-name=python
#SBATCH --output=%x-%j.out
#SBATCH --partition=dcgp_usr_prod
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=112

# MODULES BEGIN leonardo python
module load profile/deeplrn
module load python/3.11.7
# MODULES END

python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
