#!/bin/bash -l
# Python on DEEP (DEEP-EST prototype) (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition dp-esb, GPUs, 12 usable cores a node, modules: LAMEC, johannesnordal/tol105m@574a2ce, scripts/DEEP (2024-09-06, community)
#
# To know:
#   modules: the line has Python
#
#SBATCH --job-name=python
#SBATCH --output=%x-%j.out
#SBATCH --partition=dp-esb
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=12
#SBATCH --mem=0
#SBATCH --gres=gpu:1

# MODULES BEGIN deep python
module load Stages/2024 GCC OpenMPI CUDA/12 cuDNN MPI-settings/CUDA
module load Python CMake HDF5 PnetCDF libaio mpi4py
# MODULES END

python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
