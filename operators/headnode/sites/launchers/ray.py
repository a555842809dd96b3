"""Ray: a cluster of the job's nodes, on which a driver runs; and what Ray Tune's driver needs besides."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from headnode.sites.launchers.launcher import Launch, Launcher, Layout, Machine, is_python
from headnode.sites.launchers.shell import (
    KEEP_STARTERS,
    PYTHON,
    UNBOUND,
    continued,
    joined,
    master_lines,
    network_lines,
    on_each_node,
    python_words,
    srun,
    step_lines,
)

# Ray's sockets lie below it, whose paths may have 107 bytes, and no network file system bears them.
_TEMP = '--temp-dir="/tmp/ray-$SLURM_JOB_ID"'
_WAIT_SECONDS = 600
# Of a job that shares its nodes: 100 ports of its own, by its id.
_OWN_PORTS = "ray_ports=$((20000 + SLURM_JOB_ID % 200 * 100))"
_NODE_PORTS = (
    "node-manager-port", "object-manager-port", "runtime-env-agent-port", "dashboard-agent-grpc-port",
    "dashboard-agent-listen-port", "metrics-export-port",
)  # fmt: skip
_HEAD_PORTS = ("dashboard-port", "ray-client-server-port")
_FIRST_OF_WORKERS, _LAST_OF_WORKERS = 10, 99


class RayCluster(Launcher):
    """A driver on the job's first node, with a Ray cluster of all of them around it.

    ``symmetric`` is by ``ray symmetric-run``, which Ray has from 2.49 on; without it the head and the other nodes are
    started one by one. Both take whole nodes, unless ``shared_nodes``: then all of Ray's ports are of a range of the
    job's own, and ``symmetric`` can't be used, since its end stops every Ray of the user on a node.
    """

    kind: Literal["ray", "ray-tune"] = "ray"
    software: ClassVar[str] = "ray"

    symmetric: bool = True
    shared_nodes: bool = False

    @model_validator(mode="after")
    def _may_share(self) -> RayCluster:
        if self.shared_nodes is True and self.symmetric is True:
            raise ValueError("shared_nodes goes with symmetric=False only: `ray symmetric-run` needs whole nodes")
        return self

    @property
    def takes_whole_nodes(self) -> bool:
        """Whether nothing else may run on its nodes."""
        return not self.shared_nodes

    def tasks_per_node(self, machine: Machine, gpus: int) -> int:  # noqa: ARG002 - others divide by them
        """Return 1: Ray starts the processes of a node."""
        return 1

    def start(self, machine: Machine, layout: Layout, command: list[str] | str) -> Launch:
        """Return the cluster's start with the driver on its head."""
        lines = [*self.driver_lines(machine), *_lines(machine, layout, shared=self.shared_nodes)]
        if self.symmetric:
            return Launch(lines=tuple(lines), prefix=_symmetric(machine, layout, command))
        return Launch(
            lines=(*lines, *_head_and_workers(machine, layout, shared=self.shared_nodes)),
            prefix=joined(['RAY_ADDRESS="$RAY_HEAD"', python_words(machine, command)]),
        )

    def driver_lines(self, machine: Machine) -> list[str]:  # noqa: ARG002 - Tune looks at it
        """Return lines that export what the driver needs to know."""
        return []


class RayTune(RayCluster):
    """A driver that searches by Ray Tune, told by environment variables what its search is to be like.

    ``TUNE_SCHEDULER`` is ``scheduler``; ``TUNE_STORAGE`` is where ``RunConfig(storage_path=...)`` belongs, which all
    nodes reach: in the job's checkpoint where it has one, so that ``Tuner.restore`` finds it in a later job, else in
    the folder where the job began.
    """

    kind: Literal["ray-tune"] = "ray-tune"
    software: ClassVar[str] = "ray-tune"

    scheduler: Literal["asha", "bohb", "pbt"] = "asha"

    def driver_lines(self, machine: Machine) -> list[str]:
        """Return lines that export the scheduler, the storage, and that trials stay in the job's folder."""
        variables = {
            "TUNE_SCHEDULER": self.scheduler,
            "TUNE_STORAGE": '"${HEADNODE_CHECKPOINT:-$PWD}/ray-tune"',
            # Else each trial begins in a folder of its own, where it finds neither code nor data.
            "RAY_CHDIR_TO_TRIAL_DIR": "0",
        }
        return [f"export {name}={value}" for name, value in variables.items() if name not in machine.given]


def _lines(machine: Machine, layout: Layout, *, shared: bool) -> list[str]:
    # Ray goes by addresses: the head recognises itself by its own.
    lines = [*master_lines(machine), *network_lines(machine), *step_lines(layout), *([_OWN_PORTS] if shared else [])]
    address = """$(getent ahostsv4 "$MASTER_ADDR" | awk 'NR == 1 { print $1 }')"""
    lines.append(f'RAY_HEAD="{address}:{"$ray_ports" if shared else "$MASTER_PORT"}"')
    lines.append("export RAY_HEAD RAY_USAGE_STATS_ENABLED=0")
    if machine.gpu_vendor == "amd":
        lines.append("export RAY_EXPERIMENTAL_NOSET_ROCR_VISIBLE_DEVICES=1")
    return lines


def _resources(layout: Layout) -> str:
    cpus = f"{layout.cpus_per_task}" if layout.cpus_per_task else '"$SLURM_CPUS_ON_NODE"'
    return f"--num-cpus={cpus} --num-gpus={layout.gpus_per_node}"


def _unset(machine: Machine) -> str:
    # Slurm sets it in each step, and Ray takes HIP_VISIBLE_DEVICES.
    return "env --unset=ROCR_VISIBLE_DEVICES" if machine.gpu_vendor == "amd" else ""


def _symmetric(machine: Machine, layout: Layout, command: list[str] | str) -> str:
    # symmetric-run ends with 0 where Ray's head did not start (ray/scripts/symmetric_run.py of 2.60 prints the
    # CalledProcessError and goes on to its end), so only a driver that did start makes a success of it.
    driver = joined(
        [": > .ray-$SLURM_JOB_ID && RAY_ADDRESS=$RAY_HEAD exec", PYTHON if is_python(command) else "", r"\"\$@\""]
    )
    ray = continued(
        joined([_unset(machine), machine.wrapper, "ray symmetric-run"]),
        '--address="$RAY_HEAD" --min-nodes="$SLURM_JOB_NUM_NODES"',
        f"{_resources(layout)} {_TEMP}",
        f'-- bash -c "{driver}" headnode "$@"',
    )
    wait = "RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT"
    return on_each_node(
        srun(UNBOUND),
        KEEP_STARTERS,
        '[ "$SLURM_NODEID" != 0 ] || rm -f ".ray-$SLURM_JOB_ID"',
        f'export {wait}="${{{wait}:-{_WAIT_SECONDS}}}"',
        ray,
        "status=$?",
        '[ "$SLURM_NODEID" != 0 ] || rm ".ray-$SLURM_JOB_ID" || exit 1',
        'exit "$status"',
    )


def _head_and_workers(machine: Machine, layout: Layout, *, shared: bool) -> list[str]:
    ray = joined([_unset(machine), machine.wrapper, "ray start"])
    lines = [
        'ray_first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"',
        continued(
            f'{srun(UNBOUND)} --nodes=1 --ntasks=1 --nodelist="$ray_first"',
            ray,
            '--head --node-ip-address="${RAY_HEAD%:*}" --port="${RAY_HEAD##*:}"',
            f"{_resources(layout)} {_TEMP}",
            *(_port_options(head=True) if shared else []),
            "--block &",
        ),
    ]
    if layout.nodes > 1:
        others = layout.nodes - 1
        lines += [
            # A port opens once Ray answers there; before, ray start gives up at once.
            f"for _ in $(seq {_WAIT_SECONDS}); do",
            '  (exec 3<> "/dev/tcp/${RAY_HEAD%:*}/${RAY_HEAD##*:}") 2> /dev/null && break',
            "  sleep 1",
            "done",
            continued(
                f'{srun(UNBOUND)} --nodes={others} --ntasks={others} --exclude="$ray_first"',
                ray,
                '--address="$RAY_HEAD"',
                f"{_resources(layout)} {_TEMP}",
                *(_port_options(head=False) if shared else []),
                "--block &",
            ),
        ]
    return [*lines, *_wait_for_nodes(machine, layout)]


def _port_options(*, head: bool) -> list[str]:
    names = [*_NODE_PORTS, *(_HEAD_PORTS if head else [])]
    options = [f"--{name}=$((ray_ports + {number}))" for number, name in enumerate(names, start=1)]
    workers = f"--min-worker-port=$((ray_ports + {_FIRST_OF_WORKERS}))"
    return [*options, workers, f"--max-worker-port=$((ray_ports + {_LAST_OF_WORKERS}))"]


def _wait_for_nodes(machine: Machine, layout: Layout) -> list[str]:
    python = joined([machine.wrapper, "python3 -c"])
    return [
        f"timeout {_WAIT_SECONDS} {python} '",
        "import sys, time, ray",
        "while True:",
        "    try:",
        "        ray.init(address=sys.argv[1], logging_level=30)",
        "        break",
        "    except ConnectionError:",
        "        time.sleep(1)",
        'while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]):',
        "    time.sleep(1)",
        f"""' "$RAY_HEAD" {layout.nodes} || {{""",
        f'  echo "Ray has not started on all nodes ({layout.nodes}) within {_WAIT_SECONDS} s" >&2',
        "  exit 1",
        "}",
    ]
