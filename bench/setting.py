"""Where everything is measured: one private cluster of 256 slots and one private Airflow, both ended with the block."""

from __future__ import annotations

import compileall
import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

import headnode
from bench.cases import BY_HAND, Case
from headnode.testing import SlurmCluster
from headnode.testing.airflow import PrivateAirflow
from headnode.testing.programs import find_programs
from headnode.testing.settings import ClusterOptions

HERE: Final = Path(__file__).parent
NODES: Final = 4
CPUS_PER_NODE: Final = 64
NODE_NICENESS: Final = 10
HEAD_NODE_NICENESS: Final = 5
#: Of Airflow's parts but its triggerer, whose loop must not stand still. For each task that ends in its trigger Airflow
#: has the dag-processor read the task's DAG file once more, for a callback that it does not run then (3.3.2,
#: `_submit_callback_if_necessary` in airflow/models/trigger.py).
AIRFLOW_NICENESS: Final = {"api-server": 10, "scheduler": 10, "dag-processor": 19}
#: Nodes that share the machine with Airflow may be slow to answer; by default, 10 s later Slurm would requeue jobs.
MESSAGE_TIMEOUT_SECONDS: Final = 60
SLURM_COMMANDS: Final = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
#: One task before what is measured, the rival's own before the rival's: a triggerer imports modules at their first use.
WARM_UPS: Final = {way: f"warm_up_{way}" for way in ("plain", "remote_job")}
# Notes each call with its time. `sbatch --wait` is detached from its SSH session by SSHRemoteJobOperator, so that
# nobody waits for it: its CPU seconds are noted here (the second line of `times`: user and system of the children).
WRAPPER: Final = """\
#!/bin/sh
if [ -z "$SLURM_JOB_ID" ]; then
    now=$(date +%s.%N)
    printf '%s\\t%s\\t%s\\n' "${{now%.*}}" {name} "$*" >>{directory}/calls.log
    printf '%s\\t%s\\n' "$now" {name} >>{directory}/times.log
fi
case " $* " in *" --wait "*)
    {program} "$@"
    status=$?
    times | tail -n 1 >>{directory}/detached.log
    exit $status ;;
esac
exec {program} "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The running parts, and where jobs and probes write."""

    folder: Path
    cluster: SlurmCluster
    airflow: PrivateAirflow
    warmed_up: set[str] = field(default_factory=set)  # which first tasks the triggerer has run

    @property
    def ends(self) -> Path:
        """Where each job writes the time of its end, in a file ``<case>.<index>``."""
        return self.folder / "e"

    @property
    def pauses(self) -> Path:
        """The file of the probe in the triggerer."""
        return self.folder / "pauses"

    def end_remote_commands(self) -> None:
        """Kill what SSH sessions have left running; a task that is stopped leaves its shell on the head node."""
        mark = str(self.cluster.directory)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                environment = process.environ()
                in_session = "SSH_CONNECTION" in environment and "SLURM_JOB_ID" not in environment
                if in_session and environment.get("HEADNODE_PRIVATE_CLUSTER") == mark:
                    process.kill()

    def renew_triggerer(self) -> None:
        """Replace the triggerer, so that its memory begins anew."""
        for pid in self.airflow.process_ids("triggerer"):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while self.airflow.process_ids("triggerer"):
            if time.monotonic() > deadline:
                self.airflow.kill("triggerer")
            time.sleep(0.1)
        self.warmed_up.clear()
        self.airflow.start_component("triggerer")


@contextlib.contextmanager
def running_setting(
    cases: Sequence[Case], *, workers: int, capacity: int, poll_seconds: float | None, say: Callable[[str], None]
) -> Iterator[Setting]:
    """Start the cluster and Airflow; end them, with their directory, at the end of the block or when interrupted.

    `workers` is how many tasks run at a time, `capacity` how many triggers the triggerer takes.
    """
    folder = Path(tempfile.mkdtemp(prefix="hnb"))
    with contextlib.ExitStack() as stack:
        stack.push(lambda kind, *_: _remove(folder, after=kind, say=say))
        say(f"starting a cluster of {NODES} nodes with {CPUS_PER_NODE} CPUs in {folder}")
        options = ClusterOptions(max_array_size=20_001, message_timeout_seconds=MESSAGE_TIMEOUT_SECONDS)
        cluster = SlurmCluster.start(folder / "c", nodes=NODES, cpus_per_node=CPUS_PER_NODE, options=options)
        stack.callback(cluster.stop)
        _allow_many_jobs(cluster)
        _give_empty_home(cluster, folder / "h")
        _write_wrappers(cluster)
        _give_way(cluster)
        (folder / "e").mkdir()
        say("starting Airflow")
        airflow = PrivateAirflow.start(
            folder / "a",
            dags_folder=HERE / "dags",
            connections=_connections(cluster, cases, folder, poll_seconds),
            env=_environment(cases, folder, workers=workers, capacity=capacity),
        )
        stack.callback(airflow.stop)
        _put_triggerer_first(airflow)
        yield Setting(folder=folder, cluster=cluster, airflow=airflow)
        say("ending Airflow and the cluster")


def _remove(folder: Path, *, after: type[BaseException] | None, say: Callable[[str], None]) -> None:
    """Remove the folder; after an error it stays, with all logs."""
    if after is None or not issubclass(after, Exception):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"the logs of the cluster and of Airflow are kept in {folder}")


def _allow_many_jobs(cluster: SlurmCluster) -> None:
    """Slurm's default of 10,000 jobs is too small for an array of as many beside those that ended just now."""
    with cluster.slurm_conf.open("a") as file:
        file.write("MaxJobCount=50000\n")
    cluster.stop_slurmctld()
    cluster.start_slurmctld()
    deadline = time.monotonic() + 60
    while set(cluster.run("sinfo", "--noheader", "--Node", "--format=%T").stdout.split()) != {"idle"}:
        if time.monotonic() > deadline:
            raise TimeoutError("the nodes did not come back within 60 s of slurmctld's restart")
        time.sleep(0.2)


def _give_way(cluster: SlurmCluster) -> None:
    """Have the cluster give way to Airflow, compute nodes most of all: in reality it is other machines."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("HEADNODE_PRIVATE_CLUSTER") != str(cluster.directory):
                continue
            is_node = process.name() == "slurmd"
            _set_niceness(process, NODE_NICENESS if is_node else HEAD_NODE_NICENESS)


def _put_triggerer_first(airflow: PrivateAirflow) -> None:
    """Have Airflow's other parts and its workers give way to the triggerer, as its own machine or container would."""
    for component, niceness in AIRFLOW_NICENESS.items():
        for leader in map(psutil.Process, airflow.process_ids(component)):
            for process in (leader, *leader.children(recursive=True)):
                _set_niceness(process, niceness)


def _set_niceness(process: psutil.Process, niceness: int) -> None:
    with contextlib.suppress(psutil.Error, OSError):
        for thread in process.threads():  # niceness is a thread's own
            os.setpriority(os.PRIO_PROCESS, thread.id, niceness)


def _give_empty_home(cluster: SlurmCluster, home: Path) -> None:
    """Keep the account's start-up files out: what they do in each shell is no part of what is measured."""
    home.mkdir()
    config = cluster.directory / "sshd_config"
    text = config.read_text()
    if "\nSetEnv " not in text:
        raise RuntimeError(f"{config} has no SetEnv line to add HOME to")
    config.write_text(text.replace("\nSetEnv ", f"\nSetEnv HOME={home} ", 1))
    cluster.stop_sshd()
    cluster.start_sshd()


def _write_wrappers(cluster: SlurmCluster) -> None:
    programs = find_programs()
    for name in SLURM_COMMANDS:
        text = WRAPPER.format(name=name, program=programs[name], directory=cluster.directory)
        (cluster.directory / "bin" / name).write_text(text)


def _connections(
    cluster: SlurmCluster, cases: Sequence[Case], folder: Path, poll_seconds: float | None
) -> dict[str, str]:
    """Return a connection for each case: its logins are then its own."""
    fields: dict[str, Any] = json.loads(cluster.airflow_connection_json("ssh"))
    # cmd_timeout is for the SSH provider's operators, which would give up after ten seconds.
    fields["extra"] |= {"work_directory": str(folder / "w"), "cmd_timeout": 7200}
    if poll_seconds is not None:
        fields["extra"]["poll_seconds"] = poll_seconds
    warm_up = fields | {"extra": fields["extra"] | {"poll_seconds": 1}}
    measured = {case.name: json.dumps(fields) for case in cases if case.way not in BY_HAND}
    return {**dict.fromkeys(WARM_UPS.values(), json.dumps(warm_up)), **measured}


def _environment(cases: Sequence[Case], folder: Path, *, workers: int, capacity: int) -> dict[str, str]:
    first = [
        Case(way=way, jobs=1, seconds=1).as_json() | {"name": name, "dag_ids": [name]} for way, name in WARM_UPS.items()
    ]
    plan = {
        "cases": [*first, *(case.as_json() for case in cases)],
        "ends": str(folder / "e"),
        "remote_directory": str(folder / "r"),
    }
    return {
        "HEADNODE_BENCH_PLAN": json.dumps(plan),
        "HEADNODE_BENCH_PAUSES": str(folder / "pauses"),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_installed(folder)), os.environ.get("PYTHONPATH")))),
        "AIRFLOW__CORE__PARALLELISM": str(workers),
        # A triggerer looks for jobs that were left behind over each connection that it has used: the one of the warm-up
        # would log in once more.
        "AIRFLOW__HEADNODE__SWEEP_SECONDS": "36000",
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "2000",
        "AIRFLOW__TRIGGERER__CAPACITY": str(capacity),
        # The DAG files do not change, and parsing a thousand tasks again and again is no part of what is measured.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "36000",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "36000",
        "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "86400",
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "300",
    }


def _installed(folder: Path) -> Path:
    """Return a compiled copy of headnode and of the probe: pip compiles what it installs, an editable tree is not."""
    site = folder / "site"
    shutil.copytree(HERE / "probe", site)
    shutil.copytree(Path(headnode.__file__).parent, site / "headnode", ignore=shutil.ignore_patterns("__pycache__"))
    if not compileall.compile_dir(site, quiet=1):
        raise RuntimeError(f"{site} could not be compiled")
    return site
