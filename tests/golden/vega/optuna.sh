#!/bin/bash -l
# Optuna on Vega (IZUM, Slovenia (EuroHPC)), by headnode
#
# Facts:
#   partition gpu: LAMEC, johannesnordal/tol105m@574a2ce, scripts/VEGA/sysinfo.json (2024-09-06, community)
#   modules: interTwin-eu/itwinai, src/itwinai/slurm/system-base-scripts/vega_pre_exec.sh (2026-02-23, community)
#
# To know:
#   Optuna itself comes from an environment of your own
#   how many cores a node of gpu has is unknown, so that none are asked for
#   how GPUs are asked for there is unknown; --gpus-per-node is Slurm's own way
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=gpu
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4

# MODULES BEGIN vega python
module load Python/3.12.3-GCCcore-13.3.0
# MODULES END

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
