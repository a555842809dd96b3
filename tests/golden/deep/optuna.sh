#!/bin/bash -l
# Optuna on DEEP (DEEP-EST prototype) (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition dp-esb, GPUs, 12 usable cores a node, modules: LAMEC, johannesnordal/tol105m@574a2ce, scripts/DEEP (2024-09-06, community)
#
# To know:
#   Optuna itself comes from an environment of your own
#   modules: the line has Python
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=dp-esb
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=12
#SBATCH --mem=0
#SBATCH --gres=gpu:1

# MODULES BEGIN deep python
module load Stages/2024 GCC OpenMPI CUDA/12 cuDNN MPI-settings/CUDA
module load Python CMake HDF5 PnetCDF libaio mpi4py
# MODULES END

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --kill-on-bad-exit=0 --wait=0 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
