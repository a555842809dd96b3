#!/bin/bash -l
# Horovod on Vega (IZUM, Slovenia (EuroHPC)), by headnode
#
# Facts:
#   partition gpu: LAMEC, johannesnordal/tol105m@574a2ce, scripts/VEGA/sysinfo.json (2024-09-06, community)
#   modules: interTwin-eu/itwinai, src/itwinai/slurm/system-base-scripts/vega_pre_exec.sh (2026-02-23, community)
#
# To know:
#   modules: PyTorch itself comes from an environment of one's own.
#   how many cores a node of gpu has is unknown, so that none are asked for
#   how GPUs are asked for there is unknown; --gpus-per-node is Slurm's own way
#
#SBATCH --job-name=horovod
#SBATCH --output=%x-%j.out
#SBATCH --partition=gpu
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4

# MODULES BEGIN vega horovod
module --force purge
module load CMake/3.29.3-GCCcore-13.3.0
module load mpi4py/3.1.5
module load OpenMPI/4.1.6-GCC-13.2.0
module load cuDNN/8.9.7.29-CUDA-12.3.0
module load CUDA/12.6.0
module load NCCL/2.22.3-GCCcore-13.3.0-CUDA-12.6.0
module load Python/3.12.3-GCCcore-13.3.0
# MODULES END

export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-ib0}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-ib0}"

srun --mpi=pmix_v3 --cpu-bind=none python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
