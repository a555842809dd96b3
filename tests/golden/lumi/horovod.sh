#!/bin/bash -l
# Horovod on LUMI (CSC, Finland (EuroHPC)), by headnode
#
# Facts:
#   partition standard-g, GPUs, 56 usable cores a node: Lumi-supercomputer/lumi-userguide@6c3a26c (2024-10-15, official)
#   modules: interTwin-eu/itwinai, src/itwinai/slurm/system-base-scripts/lumi_pre_exec.sh (2026-02-23, community)
#
# To know:
#   modules: PyTorch itself is in a container, to which the last module binds the system's libraries. LUMI without a version is the site's default one; LUMI/<yy.mm> is another.
#
#SBATCH --job-name=horovod
#SBATCH --output=%x-%j.out
#SBATCH --partition=standard-g
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=7
#SBATCH --gpus-per-node=8
#SBATCH --mem=0

# MODULES BEGIN lumi horovod
module --force purge
module load LUMI partition/G
module use /appl/local/containers/ai-modules
module load singularity-AI-bindings
# MODULES END

export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-hsn0,hsn1,hsn2,hsn3}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-hsn0,hsn1,hsn2,hsn3}"
export NCCL_NET_GDR_LEVEL="${NCCL_NET_GDR_LEVEL:-3}"
export FI_PROVIDER="${FI_PROVIDER:-cxi}"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --cpu-bind=none python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
