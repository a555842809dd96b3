#!/bin/bash -l
# Python on CTE-AMD (Barcelona Supercomputing Center (BSC), Spain), by headnode
#
# Facts:
#   nodes default, GPUs, modules: LAMEC, johannesnordal/tol105m@574a2ce, contrib/cteamd_* (2022-10, community)
#
# To know:
#   modules: the line has Python
#
#SBATCH --job-name=python
#SBATCH --output=%x-%j.out
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --gres=gpu:2

# MODULES BEGIN cte-amd python
module load bsc gcc/10.2.0 openmpi/4.0.5 rocm/5.1.1 python/3.9.1
# MODULES END

python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
