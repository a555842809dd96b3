"""Search with DeepHyper over MPI: rank 0 chooses what is tried, and all other ranks try it."""

import json
import os
from pathlib import Path

from deephyper.evaluator import Evaluator
from deephyper.hpo import HpProblem, RandomSearch
from mpi4py import MPI

EVALUATIONS = 12

problem = HpProblem()
problem.add_hyperparameter((0.0, 1.0), "rate")


def run(job):
    """Return an objective, to be made large, that is best for a rate of 0.3; and who found it."""
    return {
        "objective": -((job.parameters["rate"] - 0.3) ** 2),
        "metadata": {"rank": MPI.COMM_WORLD.rank, "node": os.environ["SLURMD_NODENAME"]},
    }


def main():
    """Search, and let rank 0 write what came of it."""
    with Evaluator.create(run, method="mpicomm") as evaluator:
        if not evaluator.is_master:
            return
        search = RandomSearch(problem, random_state=1)
        found = search.search(evaluator, max_evals=EVALUATIONS, max_evals_strict=True)
        result = {
            "best": float(found["objective"].max()),
            "evaluations": len(found),
            "ranks": sorted(set(map(int, found["m:rank"]))),
            "nodes": sorted(set(found["m:node"])),
        }
        Path(os.environ.get("HEADNODE_RESULT", "result.json")).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
