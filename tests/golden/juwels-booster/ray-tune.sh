#!/bin/bash -l
# Ray Tune on JUWELS Booster (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition booster: HelmholtzAI-FZJ/2023-getting-started-with-ai-on-supercomputers, 01-access-machines.md (2023, official)
#   GPUs: BLAST-WarpX/warpx, Tools/machines/juwels-jsc (2026-07-01, community)
#   48 usable cores a node: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JUWELS (2024-09-06, community)
#   modules: interTwin-eu/itwinai, src/itwinai/slurm/system-base-scripts/juwels_pre_exec.sh (2026-02-23, community)
#
# To know:
#   modules: PyTorch itself comes from an environment of one's own. A newer line (2026-02) is "load Stages/2025 GCC OpenMPI CUDA/12 cuDNN MPI-settings/CUDA" and "load Python CMake HDF5 PnetCDF libaio mpi4py git".
#
#SBATCH --job-name=ray-tune
#SBATCH --output=%x-%j.out
#SBATCH --partition=booster
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=48
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --gres=gpu:4

# MODULES BEGIN juwels-booster ray-tune
module load GCC OpenMPI CUDA/12 MPI-settings/CUDA Python HDF5 PnetCDF libaio mpi4py
# MODULES END

export TUNE_SCHEDULER=asha
export TUNE_STORAGE="${HEADNODE_CHECKPOINT:-$PWD}/ray-tune"
export RAY_CHDIR_TO_TRIAL_DIR=0
MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)i"
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-ib0}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-ib0}"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
RAY_HEAD="$(getent ahostsv4 "$MASTER_ADDR" | awk 'NR == 1 { print $1 }'):$MASTER_PORT"
export RAY_HEAD RAY_USAGE_STATS_ENABLED=0

# shellcheck disable=SC2016  # each node fills in its own variables
srun --cpu-bind=none bash -c '
  trap "" USR1  # the warning before the end is for the program, not for what starts it
  [ "$SLURM_NODEID" != 0 ] || rm -f ".ray-$SLURM_JOB_ID"
  export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT="${RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT:-600}"
  ray symmetric-run \
    --address="$RAY_HEAD" --min-nodes="$SLURM_JOB_NUM_NODES" \
    --num-cpus=48 --num-gpus=4 --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
    -- bash -c ": > .ray-$SLURM_JOB_ID && RAY_ADDRESS=$RAY_HEAD exec python3 -u \"\$@\"" headnode "$@"
  status=$?
  [ "$SLURM_NODEID" != 0 ] || rm ".ray-$SLURM_JOB_ID" || exit 1
  exit "$status"
' headnode train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
