#!/bin/bash -l
# Ray on Leonardo (CINECA, Italy (EuroHPC)), by headnode
#
# Facts:
#   partition boost_usr_prod, GPUs: docs.hpc.cineca.it, hpc/leonardo.html and general/access.html (read 2026-10, official)
#
# To know:
#   the modules for Ray are unknown: find them there with `module avail` and load them, or enter an environment, before the launch
#
#SBATCH --job-name=ray
#SBATCH --output=%x-%j.out
#SBATCH --partition=boost_usr_prod
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:1

MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
ray_ports=$((20000 + SLURM_JOB_ID % 200 * 100))
RAY_HEAD="$(getent ahostsv4 "$MASTER_ADDR" | awk 'NR == 1 { print $1 }'):$ray_ports"
export RAY_HEAD RAY_USAGE_STATS_ENABLED=0
ray_first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
srun --cpu-bind=none --nodes=1 --ntasks=1 --nodelist="$ray_first" \
  ray start \
  --head --node-ip-address="${RAY_HEAD%:*}" --port="${RAY_HEAD##*:}" \
  --num-cpus=8 --num-gpus=1 --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
  --node-manager-port=$((ray_ports + 1)) \
  --object-manager-port=$((ray_ports + 2)) \
  --runtime-env-agent-port=$((ray_ports + 3)) \
  --dashboard-agent-grpc-port=$((ray_ports + 4)) \
  --dashboard-agent-listen-port=$((ray_ports + 5)) \
  --metrics-export-port=$((ray_ports + 6)) \
  --dashboard-port=$((ray_ports + 7)) \
  --ray-client-server-port=$((ray_ports + 8)) \
  --min-worker-port=$((ray_ports + 10)) \
  --max-worker-port=$((ray_ports + 99)) \
  --block &
for _ in $(seq 600); do
  (exec 3<> "/dev/tcp/${RAY_HEAD%:*}/${RAY_HEAD##*:}") 2> /dev/null && break
  sleep 1
done
srun --cpu-bind=none --nodes=1 --ntasks=1 --exclude="$ray_first" \
  ray start \
  --address="$RAY_HEAD" \
  --num-cpus=8 --num-gpus=1 --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
  --node-manager-port=$((ray_ports + 1)) \
  --object-manager-port=$((ray_ports + 2)) \
  --runtime-env-agent-port=$((ray_ports + 3)) \
  --dashboard-agent-grpc-port=$((ray_ports + 4)) \
  --dashboard-agent-listen-port=$((ray_ports + 5)) \
  --metrics-export-port=$((ray_ports + 6)) \
  --min-worker-port=$((ray_ports + 10)) \
  --max-worker-port=$((ray_ports + 99)) \
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
