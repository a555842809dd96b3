#!/bin/bash -l
# Horovod on JUWELS Booster (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition booster: HelmholtzAI-FZJ/2023-getting-started-with-ai-on-supercomputers, 01-access-machines.md (2023, official)
#   GPUs: BLAST-WarpX/warpx, Tools/machines/juwels-jsc (2026-07-01, community)
#   48 usable cores a node, modules: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JUWELS (2024-09-06, community)
#
# To know:
#   modules: PyTorch itself comes from an environment of one's own. A newer line (2026-02) is "load Stages/2025 GCC OpenMPI CUDA/12 cuDNN MPI-settings/CUDA" and "load Python CMake HDF5 PnetCDF libaio mpi4py git".
#
#SBATCH --job-name=horovod
#SBATCH --output=%x-%j.out
#SBATCH --partition=booster
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=12
#SBATCH --mem=0
#SBATCH --gres=gpu:4

# MODULES BEGIN juwels-booster horovod
module load GCC OpenMPI CUDA/12 MPI-settings/CUDA Python HDF5 PnetCDF libaio mpi4py
# MODULES END

export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-ib0}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-ib0}"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --cpu-bind=none python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
