#!/bin/bash -l
# mpi4py on JURECA-DC (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition dc-cpu, 128 usable cores a node, modules: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JURECA (2024-09-06, community)
#
# To know:
#   modules: the line has mpi4py
#
#SBATCH --job-name=mpi4py
#SBATCH --output=%x-%j.out
#SBATCH --partition=dc-cpu
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=128
#SBATCH --cpus-per-task=1

# MODULES BEGIN jureca-dc mpi4py
module load GCC OpenMPI CUDA/12 MPI-settings/CUDA Python HDF5 PnetCDF libaio mpi4py
# MODULES END

export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
