#!/bin/bash -l
# Ray on LUMI (CSC, Finland (EuroHPC)), by headnode
#
# Facts:
#   partition standard-g, GPUs, 56 usable cores a node: Lumi-supercomputer/lumi-userguide@6c3a26c (2024-10-15, official)
#   modules: interTwin-eu/itwinai, src/itwinai/slurm/system-base-scripts/lumi_pre_exec.sh (2026-02-23, community)
#
# To know:
#   modules: PyTorch itself is in a container, to which the last module binds the system's libraries. LUMI without a version is the site's default one; LUMI/<yy.mm> is another.
#
#SBATCH --job-name=ray
#SBATCH --output=%x-%j.out
#SBATCH --partition=standard-g
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=56
#SBATCH --gpus-per-node=8
#SBATCH --mem=0
#SBATCH --exclusive

# MODULES BEGIN lumi ray
module --force purge
module load LUMI partition/G
module use /appl/local/containers/ai-modules
module load singularity-AI-bindings
# MODULES END

if ! command -v module >/dev/null 2>&1; then
  echo "headnode: $(uname -n) has no command 'module' in this shell; a script must begin with '#!/bin/bash -l'" >&2
  exit 1
fi
module use /appl/local/containers/ai-modules
module load singularity-AI-bindings || exit 1
if ! command -v singularity >/dev/null 2>&1; then
  echo "headnode: singularity is not in PATH on $(uname -n); where a module brings it, enter that before:" \
    "Modules(commands=['load ...']) + Apptainer(...)." >&2
  exit 1
fi
if [ -n "${HEADNODE_DIRECTORY:-}" ]; then
  export SINGULARITY_BINDPATH="${HEADNODE_DIRECTORY%/*}${SINGULARITY_BINDPATH:+,$SINGULARITY_BINDPATH}"
fi
MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-hsn0,hsn1,hsn2,hsn3}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-hsn0,hsn1,hsn2,hsn3}"
export NCCL_NET_GDR_LEVEL="${NCCL_NET_GDR_LEVEL:-3}"
export FI_PROVIDER="${FI_PROVIDER:-cxi}"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
RAY_HEAD="$(getent ahostsv4 "$MASTER_ADDR" | awk 'NR == 1 { print $1 }'):$MASTER_PORT"
export RAY_HEAD RAY_USAGE_STATS_ENABLED=0
export RAY_EXPERIMENTAL_NOSET_ROCR_VISIBLE_DEVICES=1

# shellcheck disable=SC2016  # each node fills in its own variables
srun --cpu-bind=none bash -c '
  trap "" USR1  # the warning before the end is for the program, not for what starts it
  [ "$SLURM_NODEID" != 0 ] || rm -f ".ray-$SLURM_JOB_ID"
  export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT="${RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT:-600}"
  env --unset=ROCR_VISIBLE_DEVICES singularity exec --rocm --bind /data /project/images/torch.sif ray symmetric-run \
    --address="$RAY_HEAD" --min-nodes="$SLURM_JOB_NUM_NODES" \
    --num-cpus=56 --num-gpus=8 --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
    -- bash -c ": > .ray-$SLURM_JOB_ID && RAY_ADDRESS=$RAY_HEAD exec python3 -u \"\$@\"" headnode "$@"
  status=$?
  [ "$SLURM_NODEID" != 0 ] || rm ".ray-$SLURM_JOB_ID" || exit 1
  exit "$status"
' headnode train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
