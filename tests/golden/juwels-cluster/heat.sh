#!/bin/bash -l
# Heat on JUWELS Cluster (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition gpus, modules: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JUWELS (2024-09-06, community)
#   GPUs: BLAST-WarpX/warpx, Docs/source/install/hpc/juwels.rst and Tools/machines/juwels-jsc (2026-07-01, community)
#
# To know:
#   modules: PyTorch itself comes from an environment of one's own.
#   how many cores a node of gpus has is unknown, so that none are asked for
#
#SBATCH --job-name=heat
#SBATCH --output=%x-%j.out
#SBATCH --partition=gpus
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4

# MODULES BEGIN juwels-cluster heat
module load GCC OpenMPI CUDA/12 MPI-settings/CUDA Python HDF5 PnetCDF libaio mpi4py
# MODULES END

export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-ib0}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-ib0}"

srun --cpu-bind=none python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
