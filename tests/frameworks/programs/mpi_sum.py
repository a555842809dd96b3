"""Sum over all ranks with mpi4py."""

import json
import os
from pathlib import Path

from mpi4py import MPI


def main():
    """Sum the ranks' numbers, gather their nodes, and let rank 0 write both."""
    ranks = MPI.COMM_WORLD
    total = ranks.allreduce(ranks.rank + 1)
    nodes = ranks.gather(os.environ["SLURMD_NODENAME"])
    if ranks.rank == 0:
        result = {"sum": total, "nodes": nodes}
        Path(os.environ.get("HEADNODE_RESULT", "result.json")).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
