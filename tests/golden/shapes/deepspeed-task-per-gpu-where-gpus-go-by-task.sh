#!/bin/bash -l
# DeepSpeed on Alps (Daint) (CSCS, Switzerland), by headnode
#
# Facts:
#   partition normal, GPUs: eth-cscs/cscs-docs@80abed1, docs/clusters/daint.md, access/ssh.md, running/slurm.md, guides/internet-access.md (2026-08-20, official)
#
# To know:
#   how DeepSpeed is made available there is unknown (it has no modules, but uenv); do so before the launch
#
#SBATCH --job-name=deepspeed
#SBATCH --output=%x-%j.out
#SBATCH --partition=normal
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=72
#SBATCH --mem=0
#SBATCH --gpus-per-task=1

MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

# shellcheck disable=SC2016  # each node fills in its own variables
srun --cpu-bind=none --gpu-bind=none bash -c '
  export RANK="$SLURM_PROCID" LOCAL_RANK="$SLURM_LOCALID" WORLD_SIZE="$SLURM_NTASKS"
  exec python3 -u "$@"
' headnode train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
