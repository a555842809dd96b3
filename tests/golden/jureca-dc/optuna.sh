#!/bin/bash -l
# Optuna on JURECA-DC (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition dc-gpu, GPUs, 128 usable cores a node: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JURECA (2024-09-06, community)
#   modules: HelmholtzAI-FZJ 2025-12 course, 01-access-machines.md (2025-12-10, official)
#
# To know:
#   Optuna itself comes from an environment of your own
#
#SBATCH --job-name=optuna
#SBATCH --output=%x-%j.out
#SBATCH --partition=dc-gpu
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=0
#SBATCH --gres=gpu:4

# MODULES BEGIN jureca-dc python
module load Stages/2025 GCC OpenMPI CUDA/12 Python
# MODULES END

export OPTUNA_STUDY=study
export OPTUNA_JOURNAL="${HEADNODE_CHECKPOINT:-$PWD}/optuna.journal"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --kill-on-bad-exit=0 --wait=0 --gpus-per-task=1 python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
