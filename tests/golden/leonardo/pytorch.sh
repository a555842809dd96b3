#!/bin/bash -l
# PyTorch DDP on Leonardo (CINECA, Italy (EuroHPC)), by headnode
#
# Facts:
#   partition boost_usr_prod, GPUs: docs.hpc.cineca.it, hpc/leonardo.html and general/access.html (read 2026-10, official)
#   modules: public project log that quotes the official table (2026-04-15, community)
#
# To know:
#   modules: PyTorch itself comes from an environment of one's own.
#
#SBATCH --job-name=pytorch
#SBATCH --output=%x-%j.out
#SBATCH --partition=boost_usr_prod
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gres=gpu:4

# MODULES BEGIN leonardo pytorch
module load profile/deeplrn
module load python/3.11.7 cuda/12.2
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
