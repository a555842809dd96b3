"""Start `train` with torchrun on every node of a Slurm job: one agent a node, found through the job's first node.

`python -m landcover_jobs.distributed --data DIR` in the batch script starts the agents with srun; each agent is this
module again with `--agent`, which knows its number from Slurm.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import socket
import subprocess
import sys

from landcover_jobs.job import StepError, run, say

# Below the ephemeral ports, so that no outgoing connection holds it; by job, since jobs may share nodes.
FIRST_PORT, PORTS = 20_000, 10_000


def ask_slurm(*words: str) -> str:
    """Return what scontrol says."""
    try:
        return subprocess.run(["scontrol", *words], check=True, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise StepError(
            f"scontrol {' '.join(words)} gave no answer ({error}): this step runs inside a Slurm job"
        ) from error


def resolves(name: str) -> bool:
    """Tell whether a node's name is known to the network."""
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


def main_address(node_list: str) -> str:
    """Return the address of the job's first node: its name, or where names are Slurm's own, its NodeAddr."""
    first = ask_slurm("show", "hostnames", node_list).split()[0]
    if resolves(first):
        return first
    found = re.search(r"\bNodeAddr=(\S+)", ask_slurm("show", "node", "-o", first))
    if found is None:
        raise StepError(f"the node {first} has no address that this node knows")
    return found[1]


def is_loopback(address: str) -> bool:
    """Tell whether all nodes are this machine."""
    return ipaddress.ip_address(socket.gethostbyname(address)).is_loopback


def start_agents(rest: list[str]) -> None:
    """Replace this process by srun, which starts one agent a node."""
    job, nodes = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_JOB_NODELIST")
    if not job or not nodes:
        raise StepError("SLURM_JOB_ID is not set: this step starts torchrun on the nodes of a Slurm job")
    address = main_address(nodes)
    os.environ["MASTER_ADDR"] = address
    os.environ["MASTER_PORT"] = str(FIRST_PORT + int(job) % PORTS)
    if is_loopback(address):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if "SLURM_CPUS_PER_TASK" in os.environ:
        # Since 22.05 srun no longer inherits it from sbatch.
        os.environ["SRUN_CPUS_PER_TASK"] = os.environ["SLURM_CPUS_PER_TASK"]
    say(f"nodes {nodes}, meeting at {address}:{os.environ['MASTER_PORT']}")
    # Fails the step when one agent fails, instead of leaving the others to wait for it.
    command = ["srun", "--kill-on-bad-exit=1", "--cpu-bind=none", "--ntasks-per-node=1"]
    os.execvp("srun", [*command, sys.executable, "-m", "landcover_jobs.distributed", "--agent", *rest])  # noqa: S606 - no shell is wanted


def become_agent(rest: list[str]) -> None:
    """Replace this process by the torchrun agent of this node."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    command = [sys.executable, "-m", "torch.distributed.run"]
    command += [f"--nnodes={os.environ['SLURM_NNODES']}", f"--node-rank={os.environ['SLURM_NODEID']}"]
    command += [
        "--nproc-per-node=1",
        f"--master-addr={os.environ['MASTER_ADDR']}",
        f"--master-port={os.environ['MASTER_PORT']}",
    ]
    os.execv(sys.executable, [*command, "-m", "landcover_jobs.train", *rest])  # noqa: S606 - no shell is wanted


def main() -> None:
    """Start the agents, or be one."""
    parser = argparse.ArgumentParser(prog="python -m landcover_jobs.distributed")
    parser.add_argument("--agent", action="store_true", help="be the agent of one node (srun starts these)")
    given, rest = parser.parse_known_args()
    if given.agent:
        become_agent(rest)
    start_agents(rest)


if __name__ == "__main__":
    run(main)
