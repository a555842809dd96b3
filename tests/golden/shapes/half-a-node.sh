#!/bin/bash -l
# PyTorch DDP on wICE (Tier-2 of VSC, KU Leuven and UHasselt) (VSC (KU Leuven/UHasselt), Belgium), by headnode
#
# Facts:
#   partition gpu_a100, GPUs: hpcleuven/VscDocumentation@f320f4f, leuven/*.rst, accounts/authentication.rst, mfa_login.rst (2026-07-24, official)
#
# To know:
#   the modules for PyTorch DDP are unknown: find them there with `module spider` and load them, or enter an environment, before the launch
#
#SBATCH --job-name=pytorch
#SBATCH --output=%x-%j.out
#SBATCH --partition=gpu_a100
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=36
#SBATCH --gpus-per-node=2
#SBATCH --clusters=wice

MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

# shellcheck disable=SC2016  # each node fills in its own variables
srun --cpu-bind=none bash -c '
  trap "" USR1  # the warning before the end is for the program, not for what starts it
  exec python3 -u -m torch.distributed.run \
    --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node=2 \
    --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" \
    --rdzv-conf="is_host=$((SLURM_NODEID == 0 ? 1 : 0))" \
    "$@"
' headnode train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
