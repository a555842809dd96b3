#!/bin/bash -l
# Optuna on CTE-AMD (Barcelona Supercomputing Center (BSC), Spain), by headnode
#
# Facts:
#   nodes default, GPUs, modules: LAMEC, johannesnordal/tol105m@574a2ce, contrib/cteamd_* (2022-10, community)
#
# To know:
#   Optuna itself comes from an environment of your own
#   modules: the line has Python
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=32
#SBATCH --mem=0
#SBATCH --gres=gpu:2

# MODULES BEGIN cte-amd python
module load bsc gcc/10.2.0 openmpi/4.0.5 rocm/5.1.1 python/3.9.1
# MODULES END

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
