#!/bin/bash -l
# MPI on JUWELS Booster (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition booster: HelmholtzAI-FZJ/2023-getting-started-with-ai-on-supercomputers, 01-access-machines.md (2023, official)
#   GPUs: BLAST-WarpX/warpx, Tools/machines/juwels-jsc (2026-07-01, community)
#   48 usable cores a node, modules: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JUWELS (2024-09-06, community)
#
# To know:
#   modules: the line has OpenMPI
#
#SBATCH --job-name=mpi
#SBATCH --output=%x-%j.out
#SBATCH --partition=booster
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=12
#SBATCH --mem=0
#SBATCH --gres=gpu:4

# MODULES BEGIN juwels-booster mpi
module load GCC OpenMPI CUDA/12 MPI-settings/CUDA Python HDF5 PnetCDF libaio mpi4py
# MODULES END

export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
