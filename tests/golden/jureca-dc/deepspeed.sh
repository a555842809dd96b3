#!/bin/bash -l
# DeepSpeed on JURECA-DC (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition dc-gpu, GPUs, 128 usable cores a node, modules: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JURECA (2024-09-06, community)
#
# To know:
#   modules: PyTorch itself comes from an environment of one's own.
#
#SBATCH --job-name=deepspeed
#SBATCH --output=%x-%j.out
#SBATCH --partition=dc-gpu
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=128
#SBATCH --mem=0
#SBATCH --gres=gpu:4

# MODULES BEGIN jureca-dc deepspeed
module load GCC OpenMPI CUDA/12 MPI-settings/CUDA Python HDF5 PnetCDF libaio mpi4py
# MODULES END

MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)i"
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-ib0}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-ib0}"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

# shellcheck disable=SC2016  # each node fills in its own variables
srun --cpu-bind=none bash -c '
  trap "" USR1  # the warning before the end is for the program, not for what starts it
  exec python3 -u -m torch.distributed.run \
    --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node=4 \
    --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" \
    --rdzv-conf="is_host=$((SLURM_NODEID == 0 ? 1 : 0))" --local-addr="${SLURMD_NODENAME}i" \
    "$@"
' headnode train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
