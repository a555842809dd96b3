#!/bin/bash -l
# Horovod on Cyclone (The Cyprus Institute (CyI), Cyprus), by headnode
#
# Facts:
#   partition gpu, GPUs, modules: LAMEC, johannesnordal/tol105m@574a2ce, scripts/Cyclone (2024-09-06, community)
#
# To know:
#   how many cores a node of gpu has is unknown, so that none are asked for
#
#SBATCH --job-name=horovod
#SBATCH --output=%x-%j.out
#SBATCH --partition=gpu
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4

# MODULES BEGIN cyclone horovod
module purge
module load h5py tqdm matplotlib PyTorch/1.9.1-fosscuda-2020b Horovod/0.22.0-fosscuda-2020b-PyTorch-1.9.1
# MODULES END

srun --cpu-bind=none python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
