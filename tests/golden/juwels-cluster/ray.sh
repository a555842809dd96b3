#!/bin/bash -l
# Ray on JUWELS Cluster (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition gpus: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JUWELS (2024-09-06, community)
#   GPUs: BLAST-WarpX/warpx, Docs/source/install/hpc/juwels.rst and Tools/machines/juwels-jsc (2026-07-01, community)
#   modules: interTwin-eu/itwinai, src/itwinai/slurm/system-base-scripts/juwels_pre_exec.sh (2026-02-23, community)
#
# To know:
#   modules: Ray itself comes from an environment of one's own
#   how many cores a node of gpus has is unknown, so that none are asked for
#
#SBATCH --job-name=ray
#SBATCH --output=%x-%j.out
#SBATCH --partition=gpus
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --gres=gpu:4

# MODULES BEGIN juwels-cluster ray
module load GCC OpenMPI CUDA/12 MPI-settings/CUDA Python HDF5 PnetCDF libaio mpi4py
# MODULES END

MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)i"
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
