#!/bin/bash -l
# Heat on JURECA-DC (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition dc-cpu, 128 usable cores a node, modules: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JURECA (2024-09-06, community)
#
# To know:
#   modules: PyTorch itself comes from an environment of one's own.
#
#SBATCH --job-name=heat
#SBATCH --output=%x-%j.out
#SBATCH --partition=dc-cpu
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=16

# MODULES BEGIN jureca-dc heat
module load GCC OpenMPI CUDA/12 MPI-settings/CUDA Python HDF5 PnetCDF libaio mpi4py
# MODULES END

export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-ib0}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-ib0}"
export OMP_NUM_THREADS=16
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --cpu-bind=none python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
