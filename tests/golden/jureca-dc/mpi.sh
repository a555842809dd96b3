#!/bin/bash -l
# MPI on JURECA-DC (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition dc-cpu, 128 usable cores a node: LAMEC, johannesnordal/tol105m@574a2ce, scripts/JURECA (2024-09-06, community)
#   modules: public AiiDA presets for JURECA (read 2026-10, community)
#
#SBATCH --job-name=mpi
#SBATCH --output=%x-%j.out
#SBATCH --partition=dc-cpu
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=128
#SBATCH --cpus-per-task=1

# MODULES BEGIN jureca-dc mpi
module load Stages/2026 Intel/2025.2.0 ParaStationMPI/5.13.0-1
# MODULES END

export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
