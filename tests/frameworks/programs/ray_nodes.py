"""Run a task on each node of a Ray cluster."""

import json
import os
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@ray.remote(num_cpus=1)
def where():
    """Return the name that Slurm has for the node."""
    return os.environ["SLURMD_NODENAME"]


def main():
    """Ask each node for its name."""
    ray.init()
    nodes = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in ray.nodes()]
    names = ray.get([where.options(scheduling_strategy=node).remote() for node in nodes])
    Path(os.environ.get("HEADNODE_RESULT", "result.json")).write_text(json.dumps({"nodes": sorted(names)}))


if __name__ == "__main__":
    main()
