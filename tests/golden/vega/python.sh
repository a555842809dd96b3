#!/bin/bash -l
# Python on Vega (IZUM, Slovenia (EuroHPC)), by headnode
#
# Facts:
#   partition cpu: LAMEC, johannesnordal/tol105m@574a2ce, scripts/VEGA/sysinfo.json (2024-09-06, community)
#   modules: interTwin-eu/itwinai, src/itwinai/slurm/system-base-scripts/vega_pre_exec.sh (2026-02-23, community)
#
# To know:
#   how many cores a node of cpu has is unknown, so that none are asked for
#
#SBATCH --job-name=python
#SBATCH --output=%x-%j.out
#SBATCH --partition=cpu
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1

# MODULES BEGIN vega python
module load Python/3.12.3-GCCcore-13.3.0
# MODULES END

python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
