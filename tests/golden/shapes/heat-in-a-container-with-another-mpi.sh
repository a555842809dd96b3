#!/bin/bash -l
# Heat on DEEP (DEEP-EST prototype) (Jülich Supercomputing Centre (JSC), Germany), by headnode
#
# Facts:
#   partition dp-esb, GPUs, 12 usable cores a node, modules: LAMEC, johannesnordal/tol105m@574a2ce, scripts/DEEP (2024-09-06, community)
#
# To know:
#   modules: PyTorch itself comes from an environment of one's own.
#
#SBATCH --job-name=heat
#SBATCH --output=%x-%j.out
#SBATCH --partition=dp-esb
#SBATCH --account=my-project
#SBATCH --time=00:30:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=12
#SBATCH --mem=0
#SBATCH --gres=gpu:1

# MODULES BEGIN deep heat
module load Stages/2024 GCC OpenMPI CUDA/12 cuDNN MPI-settings/CUDA
module load Python CMake HDF5 PnetCDF libaio mpi4py
# MODULES END

if ! command -v apptainer >/dev/null 2>&1; then
  echo "headnode: apptainer is not in PATH on $(uname -n); where a module brings it, enter that before:" \
    "Modules(commands=['load ...']) + Apptainer(...)." >&2
  exit 1
fi
if [ -n "${HEADNODE_DIRECTORY:-}" ]; then
  export APPTAINER_BINDPATH="${HEADNODE_DIRECTORY%/*}${APPTAINER_BINDPATH:+,$APPTAINER_BINDPATH}"
fi
export OMP_NUM_THREADS=12
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

srun --mpi=pmi2 --cpu-bind=none apptainer exec --nv --bind /data /project/images/torch.sif python3 -u train.py --epochs 3 --note 'it'"'"'s 5 $ & more'
