#!/bin/bash -l
# Ray on Vega (IZUM, Slovenia (EuroHPC)), by headnode
#
# Facts:
#   partition gpu: LAMEC, johannesnordal/tol105m@574a2ce, scripts/VEGA/sysinfo.json (2024-09-06, community)
#   modules: interTwin-eu/itwinai, src/itwinai/slurm/system-base-scripts/vega_pre_exec.sh (2026-02-23, community)
#
# To know:
#   modules: PyTorch itself comes from an environment of one's own.
#   how many cores a node of gpu has is unknown, so that none are asked for
#   how GPUs are asked for there is unknown; --gpus-per-node is Slurm's own way
#
#SBATCH --job-name=ray
#SBATCH --output=%x-%j.out
#SBATCH --partition=gpu
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --mem=0
#SBATCH --exclusive

# MODULES BEGIN vega ray
module --force purge
module load CMake/3.29.3-GCCcore-13.3.0
module load mpi4py/3.1.5
module load OpenMPI/4.1.6-GCC-13.2.0
module load cuDNN/8.9.7.29-CUDA-12.3.0
module load CUDA/12.6.0
module load NCCL/2.22.3-GCCcore-13.3.0-CUDA-12.6.0
module load Python/3.12.3-GCCcore-13.3.0
# MODULES END

MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-ib0}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-ib0}"
RAY_HEAD="$(getent ahostsv4 "$MASTER_ADDR" | awk 'NR == 1 { print $1 }'):$MASTER_PORT"
export RAY_HEAD RAY_USAGE_STATS_ENABLED=0

# shellcheck disable=SC2016  # each node fills in its own variables
srun --cpu-bind=none bash -c '
  trap "" USR1  # the warning before the end is for the program, not for what starts it
  [ "$SLURM_NODEID" != 0 ] || rm -f ".ray-$SLURM_JOB_ID"
  export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT="${RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT:-600}"
  ray symmetric-run \
    --address="$RAY_HEAD" --min-nodes="$SLURM_JOB_NUM_NODES" \
    --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus=4 --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
    -- bash -c ": > .ray-$SLURM_JOB_ID && RAY_ADDRESS=$RAY_HEAD exec python3 -u \"\$@\"" headnode "$@"
  status=$?
  [ "$SLURM_NODEID" != 0 ] || rm ".ray-$SLURM_JOB_ID" || exit 1
  exit "$status"
' headnode train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
