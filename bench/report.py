"""What was measured, as Markdown for bench/RESULTS.md."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import psutil

from bench.cases import WAYS
from bench.measure import Measurement
from bench.requirements import Check
from headnode.testing import SlurmCluster

COLUMNS: Final = (
    *("jobs", "way", "wall s", "tasks", "SSH logins", "refused", "sbatch", "squeue", "sacct", "remote CPU s"),
    *("triggerer CPU s", "triggerer MB more", "delay median s", "delay p95 s", "worker-s", "longest pause s"),
)
HOW: Final = """\
Wall time is from the request for a DAG run until the run has ended; of a way by hand, until its shell has ended. \
`refused` counts the logins that sshd dropped for MaxStartups. Remote CPU is that of sshd and of all that it started \
and waited for, from /proc, and that of the detached `sbatch --wait`, from its wrapper; not that of Slurm's daemons \
nor of the shells around the detached ones. The triggerer's CPU is that of its processes, its memory what they have \
for themselves (USS) at most, less what they had before. A delay is from the time that the job itself wrote down as \
its last act to the task's end; of an array, after its last element. Worker-seconds count LocalExecutor's busy \
processes, ten times a second. Pauses are those of the triggerer's loop, measured in it every 20 ms. From 100 jobs \
on each way has a new triggerer; each triggerer has run one job before, so that the imports of its first use are not \
in it (`first use` below). Logins find an empty home, without start-up files of a shell. The cluster runs \
with niceness 5, its compute nodes and their jobs with 10: in reality they are other machines. Of Airflow's parts the \
triggerer goes first: scheduler, workers and API server run with niceness 10, the dag-processor with 19. Jobs by hand \
have a login shell and a file of output each, as headnode's have. Every job has a time limit of the whole minutes \
above its length + 30 s.\
"""


def describe_run(command: str, cluster: SlurmCluster, *, workers: int, slots: int, load_before: float) -> str:
    """Say how and where it was measured: command, machine, versions, date."""
    system = _system_name()
    memory = psutil.virtual_memory().total / 2**30
    slurm = cluster.run("sinfo", "--version").stdout.split()[-1]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return (
        f"`{command}`, commit {commit or 'unknown'}, {os.cpu_count()} cores, {memory:.0f} GiB, {system},"
        f" Python {platform.python_version()}, Slurm {slurm}, Airflow {version('apache-airflow')} on SQLite with"
        f" {workers} workers, apache-airflow-providers-ssh {version('apache-airflow-providers-ssh')}, {slots} slots,"
        f" sshd's default limits; the machine's load before was {load_before:.1f}; {_niceness()}."
        f" {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    )


def _niceness() -> str:
    """Say whether niceness counts between sessions: Linux's autogroups make it count within each alone (sched.7)."""
    try:
        grouped = Path("/proc/sys/kernel/sched_autogroup_enabled").read_text().strip() == "1"
    except OSError:
        grouped = False
    return "sched_autogroup_enabled=" + ("1, so that niceness means little" if grouped else "0")


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()


def render_report(title: str, about: str, measured: Sequence[Measurement], found: Sequence[Check]) -> str:
    """Return the whole report."""
    parts = [f"## {title}", about, HOW, _table(COLUMNS, (_row(each) for each in measured))]
    first = [each for each in measured if each.first_use_pause is not None]
    if first:
        longest = max(each.first_use_pause.seconds for each in first if each.first_use_pause is not None)
        parts.append(f"First use in a new triggerer: the longest pause was {longest:.2f} s.")
    if remarks := _remarks(measured):
        parts.append("\n".join(f"- {remark}" for remark in remarks))
    if found:
        rows = ((each.what, each.measured, each.limit, _word(each.holds)) for each in found)
        parts.append(_table(("requirement", "measured", "limit", "holds"), rows))
    return "\n\n".join(parts) + "\n"


def _row(each: Measurement) -> list[str]:
    case = each.case
    wall = f"> {each.wall_seconds:.0f}, stopped" if each.stopped else f"{each.wall_seconds:.1f}"
    tasks = ", ".join(f"{count} {name}" for name, count in sorted(each.tasks.items())) or "-"
    dags = f" of {len(case.dag_ids)} DAGs" if len(case.dag_ids) > 1 else ""
    load = each.load
    calls = [str(load.calls[name]) if load else "-" for name in ("sbatch", "squeue", "sacct")]
    return [
        *(str(case.jobs), f"{WAYS[case.way]}{dags} ({case.seconds} s)", wall, tasks),
        *((str(load.logins), str(load.dropped)) if load else ("-", "-")),
        *calls,
        _number(load.cpu_seconds if load else None),
        _number(each.triggerer_cpu_seconds),
        _number(each.memory_growth_mb, digits=0),
        _number(median(each.delays) if each.delays else None),
        _number(_p95(each.delays)),
        _number(each.worker_seconds, digits=0),
        _number(each.pause.seconds if each.pause else None, digits=2),
    ]


def _p95(delays: Sequence[float]) -> float | None:
    if len(delays) < 2:  # noqa: PLR2004
        return delays[0] if delays else None
    return quantiles(delays, n=20, method="inclusive")[-1]


def _remarks(measured: Iterable[Measurement]) -> list[str]:
    return [
        f"{each.case.name} was stopped after {each.wall_seconds:.0f} s: {each.ended_jobs} of {each.case.jobs} jobs had"
        f" ended, {each.tasks.get('success', 0)} tasks succeeded."
        for each in measured
        if each.stopped
    ]


def _number(value: float | None, *, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _word(holds: bool | None) -> str:  # noqa: FBT001
    return {True: "yes", False: "**no**", None: ""}[holds]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
