#!/bin/bash -l
# PyTorch DDP on CTE-AMD (Barcelona Supercomputing Center (BSC), Spain), by headnode
#
# Facts:
#   nodes default, GPUs, modules: LAMEC, johannesnordal/tol105m@574a2ce, contrib/cteamd_* (2022-10, community)
#
# To know:
#   modules: PyTorch itself comes from an environment of one's own.
#
#SBATCH --job-name=pytorch
#SBATCH --output=%x-%j.out
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --gres=gpu:2

# MODULES BEGIN cte-amd pytorch
module load bsc gcc/10.2.0 openmpi/4.0.5 rocm/5.1.1 python/3.9.1
# MODULES END

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
