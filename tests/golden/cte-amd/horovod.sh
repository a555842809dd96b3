#!/bin/bash -l
# Horovod on CTE-AMD (Barcelona Supercomputing Center (BSC), Spain), by headnode
#
# Facts:
#   nodes default, GPUs, modules: LAMEC, johannesnordal/tol105m@574a2ce, contrib/cteamd_* (2022-10, community)
#
# To know:
#   modules: PyTorch itself comes from an environment of one's own.
#
#SBATCH --job-name=horovod
#SBATCH --output=%x-%j.out
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=32
#SBATCH --mem=0
#SBATCH --gres=gpu:2

# MODULES BEGIN cte-amd horovod
module load bsc gcc/10.2.0 openmpi/4.0.5 rocm/5.1.1 python/3.9.1
# MODULES END

export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --cpu-bind=none python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
