#!/bin/bash -l
# MPI on LUMI (CSC, Finland (EuroHPC)), by headnode
#
# Facts:
#   partition standard: Lumi-supercomputer/lumi-userguide@6c3a26c (2024-10-15, official)
#
# To know:
#   the modules for MPI on standard are unknown: find them there with `module spider` and load them, or enter an environment, before the launch
#
#SBATCH --job-name=mpi
#SBATCH --output=%x-%j.out
#SBATCH --partition=standard
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=128
#SBATCH --cpus-per-task=1
#SBATCH --mem=0

export FI_PROVIDER="${FI_PROVIDER:-cxi}"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
