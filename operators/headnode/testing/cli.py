"""``headnode devcluster``: a private Slurm cluster from the terminal."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from headnode.testing.cluster import SlurmCluster
from headnode.testing.errors import NotRunning, PrivateClusterError

CONNECTION_ID = "my_cluster"
app = typer.Typer(
    no_args_is_help=True, help="A private, real Slurm cluster with sshd on this machine, to try and to test with."
)


def default_directory() -> Path:
    """Return where the cluster lives unless told otherwise."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "headnode" / "devcluster"


Directory = Annotated[
    Path,
    typer.Option(
        "--dir",
        help="The directory that holds the cluster; nothing is written outside it.",
        default_factory=default_directory,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command()
def up(
    *,
    directory: Directory,
    nodes: Annotated[int, typer.Option(help="Virtual nodes; the last two have the GPUs.")] = 4,
    cpus: Annotated[int, typer.Option(help="CPUs that each node claims to have.")] = 16,
    memory_mb: Annotated[int, typer.Option(help="Megabytes of memory that each node claims to have.")] = 8000,
    gpus: Annotated[int, typer.Option(help="Pretend GPUs of each GPU node.")] = 2,
    listen: Annotated[str, typer.Option(help="The address that sshd listens on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="sshd's port; by default a free one, kept for the next time.")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay until Ctrl-C or SIGTERM, then stop the cluster.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the cluster, or say how to reach the one that runs. Job ids, accounting and keys outlive `down`."""
    signal.signal(signal.SIGTERM, _end_by_signal)
    began = time.time()
    try:
        cluster = SlurmCluster.start(
            directory,
            nodes=nodes,
            cpus_per_node=cpus,
            memory_mb_per_node=memory_mb,
            gpus_per_gpu_node=gpus,
            listen_address=listen,
            port=port,
        )
    except PrivateClusterError as error:
        _fail(error)
    # A start takes longer than a second; file times may lag a clock by some milliseconds.
    ran_before = cluster.started_at < began - 1
    _report(cluster, "ran already" if ran_before else f"is up after {time.time() - began:.1f} s", as_json=as_json)
    if foreground:
        _stay(cluster)


@app.command()
def status(*, directory: Directory, as_json: AsJson = False) -> None:
    """Say whether the cluster runs, and how to reach it. The exit code is 3 where it does not run."""
    try:
        cluster = SlurmCluster.attach(directory)
    except NotRunning as error:
        typer.echo(json.dumps({"running": False, "directory": str(directory)}) if as_json else str(error))
        raise typer.Exit(3) from error
    dead = cluster.dead_daemons()
    _report(cluster, f"runs without {', '.join(dead)}" if dead else "runs", as_json=as_json)


@app.command()
def down(*, directory: Directory, as_json: AsJson = False) -> None:
    """Cancel all jobs and end every process of the cluster. The directory stays."""
    said = f"The private Slurm cluster in {directory} is down."
    try:
        SlurmCluster.attach(directory).stop()
    except NotRunning as error:
        said = str(error)
    except PrivateClusterError as error:
        _fail(error)
    typer.echo(json.dumps({"running": False, "directory": str(directory)}) if as_json else said)


def describe(cluster: SlurmCluster) -> dict[str, Any]:
    """Return all that a program needs to use the cluster."""
    return {
        "running": True,
        "directory": str(cluster.directory),
        "host": cluster.host,
        "port": cluster.port,
        "user": cluster.user,
        "key_file": str(cluster.key_file),
        "known_hosts": str(cluster.known_hosts),
        "host_key": cluster.host_key,
        "slurm_conf": str(cluster.slurm_conf),
        "dead_daemons": cluster.dead_daemons(),
        "ssh_command": cluster.ssh_command(),
        "airflow_connection": json.loads(cluster.airflow_connection_json()),
    }


def _report(cluster: SlurmCluster, news: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(describe(cluster)))
        return
    connection = shlex.quote(cluster.airflow_connection_json())
    typer.echo(f"""\
The private Slurm cluster in {cluster.directory} {news}.

  log in:     {shlex.join(cluster.ssh_command())}
  Airflow:    export AIRFLOW_CONN_{CONNECTION_ID.upper()}={connection}
  or:         airflow connections add {CONNECTION_ID} --conn-json {connection}
  Slurm here: export SLURM_CONF={cluster.slurm_conf}
  stop it:    headnode devcluster down --dir {cluster.directory}""")


def _stay(cluster: SlurmCluster) -> None:
    """Keep the cluster until a signal comes or one of its daemons ends."""
    try:
        while not (dead := cluster.dead_daemons()):
            time.sleep(1)
            _bury_orphans()
    finally:
        cluster.stop()
    _fail(
        PrivateClusterError(
            f"{', '.join(dead)} ended; the cluster was stopped. See the logs in {cluster.directory}/log"
        )
    )


def _bury_orphans() -> None:
    """As a container's first process, take the exit codes of orphans, which nobody else does."""
    if os.getpid() != 1:
        return
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _end_by_signal(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _fail(error: Exception) -> NoReturn:
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(1)
