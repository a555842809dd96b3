#!/bin/bash -l
# MPI on Discoverer (Sofia Tech Park, Bulgaria (EuroHPC)), by headnode
#
# Facts:
#   partition cn, modules: public RAMSES HPC notes that cite docs.discoverer.bg (read 2026-10, community)
#
#SBATCH --job-name=mpi
#SBATCH --output=%x-%j.out
#SBATCH --partition=cn
#SBATCH --account=my-project
#SBATCH --qos=my-qos
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=128
#SBATCH --cpus-per-task=1

# MODULES BEGIN discoverer mpi
module load gcc/latest openmpi/5/gcc/latest
# MODULES END

export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
