#!/bin/bash -l
# Ray on JUWELS Booster (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition booster: HelmholtzAI-FZJ/2023-getting-started-with-ai-on-supercomputers, 01-access-machines.md (2023, official)
#   GPUs: BLAST-WarpX/warpx, Tools/machines/juwels-jsc (2026-07-01, community)
#   48 usable cores a node: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JUWELS (2024-09-06, community)
#   modules: interTwin-eu/itwinai, src/itwinai/slurm/system-base-scripts/juwels_pre_exec.sh (2026-02-23, community)
#
# To know:
#   modules: Ray itself comes from an environment of one's own
#
#SBATCH --job-name=ray
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

# MODULES BEGIN juwels-booster ray
module load GCC OpenMPI CUDA/12 MPI-settings/CUDA Python HDF5 PnetCDF libaio mpi4py
# MODULES END

MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)i"
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-ib0}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-ib0}"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
RAY_HEAD="$(getent ahostsv4 "$MASTER_ADDR" | awk 'NR == 1 { print $1 }'):$MASTER_PORT"
export RAY_HEAD RAY_USAGE_STATS_ENABLED=0
ray_first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
srun --cpu-bind=none --nodes=1 --ntasks=1 --nodelist="$ray_first" \
  ray start \
  --head --node-ip-address="${RAY_HEAD%:*}" --port="${RAY_HEAD##*:}" \
  --num-cpus=48 --num-gpus=4 --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
  --block &
for _ in $(seq 600); do
  (exec 3<> "/dev/tcp/${RAY_HEAD%:*}/${RAY_HEAD##*:}") 2> /dev/null && break
  sleep 1
done
srun --cpu-bind=none --nodes=1 --ntasks=1 --exclude="$ray_first" \
  ray start \
  --address="$RAY_HEAD" \
  --num-cpus=48 --num-gpus=4 --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
  --block &
timeout 600 python3 -c '
import sys, time, ray
while True:
    try:
        ray.init(address=sys.argv[1], logging_level=30)
        break
    except ConnectionError:
        time.sleep(1)
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]):
    time.sleep(1)
' "$RAY_HEAD" 2 || {
  echo "Ray has not started on all nodes (2) within 600 s" >&2
  exit 1
}

RAY_ADDRESS="$RAY_HEAD" python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
