#!/bin/bash -l
# PyTorch DDP on MareNostrum 5 (Barcelona Supercomputing Center (BSC), Spain (EuroHPC)), by headnode
#
# Facts:
#   partition acc, GPUs, 80 usable cores a node, modules: public guide of a team (hosts, 20 CPUs for each GPU, modules, no internet) (read 2026-10, community)
#
# To know:
#   modules: the source's chain has further modules between mkl and python, which it leaves out
#
#SBATCH --job-name=pytorch
#SBATCH --output=%x-%j.out
#SBATCH --partition=acc
#SBATCH --account=my-project
#SBATCH --qos=my-qos
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=80
#SBATCH --gres=gpu:4

# MODULES BEGIN marenostrum5 pytorch
module load gcc/11.4.0 mkl/2024.0 python/3.11.5-gcc nccl/2.19.4 pytorch/2.4.0
# MODULES END

MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

# shellcheck disable=SC2016  # each node fills in its own variables
srun --cpu-bind=none bash -c '
  trap "" USR1  # the warning before the end is for the program, not for what starts it
  exec python3 -u -m torch.distributed.run \
    --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node=4 \
    --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" \
    --rdzv-conf="is_host=$((SLURM_NODEID == 0 ? 1 : 0))" \
    "$@"
' headnode train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
