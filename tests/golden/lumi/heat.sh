#!/bin/bash -l
# Heat on LUMI (CSC, Finland (EuroHPC)), by headnode
#
# Facts:
#   partition standard-g, GPUs, 56 usable cores a node: Lumi-supercomputer/lumi-userguide@6c3a26c (2024-10-15, official)
#   modules: LAMEC, johannesnordal/tol105m@574a2ce, scripts/LUMI (2024-09-06, community)
#
# To know:
#   modules: HeAT itself comes from an environment of one's own. The stack is of 2022 and may be gone.
#
#SBATCH --job-name=heat
#SBATCH --output=%x-%j.out
#SBATCH --partition=standard-g
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=7
#SBATCH --gpus-per-node=8
#SBATCH --mem=0

# MODULES BEGIN lumi heat
module load LUMI/22.08 partition/G rocm ModulePowerUser/LUMI buildtools cray-python
# MODULES END

export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-hsn0,hsn1,hsn2,hsn3}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-hsn0,hsn1,hsn2,hsn3}"
export NCCL_NET_GDR_LEVEL="${NCCL_NET_GDR_LEVEL:-3}"
export FI_PROVIDER="${FI_PROVIDER:-cxi}"
export OMP_NUM_THREADS=7
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --cpu-bind=none python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
