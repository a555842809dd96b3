#!/bin/bash -l
# DeepHyper on Alps (Eiger) (CSCS, Switzerland), by headnode
#
# Facts:
#   partition normal: eth-cscs/cscs-docs@80abed1, docs/clusters/eiger.md, docs/alps/hardware.md (2026-08-20, official)
#
# To know:
#   how DeepHyper is made available there is unknown (it has no modules, but uenv); do so before the launch
#
#SBATCH --job-name=deephyper
#SBATCH --output=%x-%j.out
#SBATCH --partition=normal
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=16
#SBATCH --cpus-per-task=8
#SBATCH --mem=0

export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
