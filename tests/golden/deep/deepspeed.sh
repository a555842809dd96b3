#!/bin/bash -l
# DeepSpeed on DEEP (DEEP-EST prototype) (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition dp-esb, GPUs, 12 usable cores a node, modules: LAMEC, johannesnordal/tol105m@574a2ce, scripts/DEEP (2024-09-06, community)
#
# To know:
#   modules: PyTorch itself comes from an environment of one's own.
#
#SBATCH --job-name=deepspeed
#SBATCH --output=%x-%j.out
#SBATCH --partition=dp-esb
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=12
#SBATCH --mem=0
#SBATCH --gres=gpu:1

# MODULES BEGIN deep deepspeed
module load Stages/2024 GCC OpenMPI CUDA/12 cuDNN MPI-settings/CUDA
module load Python CMake HDF5 PnetCDF libaio mpi4py
# MODULES END

MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)i"
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

# shellcheck disable=SC2016  # each node fills in its own variables
srun --cpu-bind=none bash -c '
  trap "" USR1  # the warning before the end is for the program, not for what starts it
  exec python3 -u -m torch.distributed.run \
    --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node=1 \
    --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" \
    --rdzv-conf="is_host=$((SLURM_NODEID == 0 ? 1 : 0))" --local-addr="${SLURMD_NODENAME}i" \
    "$@"
' headnode train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
