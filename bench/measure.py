"""Measures one case: runs it, with all meters on, and says what it cost."""

from __future__ import annotations

import subprocess
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from bench.cases import BY_HAND, OF_HEADNODE, Case
from bench.meters import (
    STATUS_COMMANDS,
    AirflowMeter,
    HeadNodeLoad,
    Pause,
    calls,
    count_ended,
    head_node_load,
    job_ends,
    longest_pause,
)
from bench.setting import WARM_UPS, Setting
from headnode.testing.airflow import AirflowApiError
from headnode.testing.airflow_api import ENDED_RUN_STATES

# From so many jobs on, a case gets a triggerer of its own.
OWN_TRIGGERER: Final = 100
QUIET_SECONDS: Final = 2.0
WARM_UP_TRIES: Final = 3
SAY_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 7200.0
JOB: Final = "sleep {seconds}; date +%s.%N > {ends}/{name}.{index}"
#: The same shell and as many files of output as headnode's jobs have.
BATCH_SCRIPT: Final = "#!/bin/bash -l\n{job}\n"
SUBMIT: Final = "sbatch --parsable --output={logs} --time={limit} {array} {script}"
LOOP_BY_HAND: Final = """\
for i in $(seq 0 {last}); do
    {submit} >/dev/null || exit 1
done
while [ -n "$(squeue --noheader --me)" ]; do sleep 2; done
"""
ARRAY_BY_HAND: Final = """\
id=$({submit}) || exit 1
while [ -n "$(squeue --noheader --jobs=$id,$id)" ]; do sleep 2; done
"""


@dataclass(frozen=True, kw_only=True)
class Polling:
    """How often Slurm was asked for its jobs' states; an interval is from one squeue to the next. In seconds."""

    most_commands: int  # in one interval
    most_while_running: int  # in one interval that began before the last job had ended
    shortest_seconds: float | None  # interval
    at_ends_seconds: list[float]  # for each job, the interval in which it ended


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a case cost. ``stopped`` is a rival that was not waited for to its end."""

    case: Case
    state: str
    wall_seconds: float
    tasks: dict[str, int] = field(default_factory=dict)
    ended_jobs: int = 0
    stopped: bool = False
    load: HeadNodeLoad | None = None
    worker_seconds: float | None = None
    triggerer_cpu_seconds: float | None = None
    memory_growth_mb: float | None = None
    delays: list[float] = field(default_factory=list)
    submit_seconds: float | None = None  # from the first call of sbatch to the last
    pause: Pause | None = None
    first_use_pause: Pause | None = None
    polling: Polling | None = None


def measure(case: Case, setting: Setting, *, limit_seconds: float | None, say: Callable[[str], None]) -> Measurement:
    """Run the case and return what it cost; after ``limit_seconds`` it is stopped."""
    _wait_until_quiet(setting)
    if case.way in BY_HAND:
        return _measure_by_hand(case, setting)
    first_use = _prepare(case, setting)
    before, began, began_at = head_node_load(setting), time.monotonic(), time.time()
    with AirflowMeter(setting) as meter:
        runs = [(dag_id, setting.airflow.trigger_dag(dag_id)) for dag_id in case.dag_ids]
        state = _wait_for_runs(case, setting, runs, limit_seconds=limit_seconds, say=say)
        wall, ended_at = time.monotonic() - began, time.time()
    tasks = [task for dag_id, run_id in runs for task in setting.airflow.task_instances(dag_id, run_id)]
    ends = job_ends(setting, case.name)
    load = head_node_load(setting) - before
    for dag_id, run_id in runs if state == "running" else ():
        setting.airflow.set_run_state(dag_id, run_id, "failed")
    called = calls(setting, since=began_at, until=ended_at)
    return Measurement(
        case=case,
        state=state,
        wall_seconds=wall,
        tasks=dict(Counter(str(task["state"]) for task in tasks)),
        ended_jobs=len(ends),
        stopped=state == "running",
        load=load,
        worker_seconds=meter.worker_seconds,
        triggerer_cpu_seconds=meter.triggerer_cpu_seconds,
        memory_growth_mb=meter.memory_growth_mb,
        delays=_delays(case, tasks, ends),
        submit_seconds=_submit_seconds(called),
        pause=longest_pause(setting, since=began_at, until=ended_at),
        first_use_pause=first_use,
        polling=_polling(called, sorted(ends.values())) if case.way in OF_HEADNODE else None,
    )


def _prepare(case: Case, setting: Setting) -> Pause | None:
    """Let the triggerer, a new one for many jobs, import what it needs; return the pause that this made."""
    dag_id = WARM_UPS.get(case.way, WARM_UPS["plain"])
    if case.jobs >= OWN_TRIGGERER:
        setting.renew_triggerer()
    elif dag_id in setting.warmed_up:
        return None
    setting.warmed_up.add(dag_id)
    began = time.time()
    for _ in range(WARM_UP_TRIES):
        # Airflow fails a task that its trigger resumes before the scheduler has seen its deferral.
        state = setting.airflow.wait_for_run(dag_id, setting.airflow.trigger_dag(dag_id), timeout_seconds=180)
        if state == "success":
            break
    else:
        raise RuntimeError(f"the first job of a new triggerer ended with {state}; look at the log of DAG {dag_id}")
    for each in case.dag_ids:
        setting.airflow.wait_for_dag(each)
    time.sleep(QUIET_SECONDS)
    return longest_pause(setting, since=began, until=time.time())


def _wait_for_runs(
    case: Case,
    setting: Setting,
    runs: Sequence[tuple[str, str]],
    *,
    limit_seconds: float | None,
    say: Callable[[str], None],
) -> str:
    """Return the runs' last state, ``failed`` where one failed, ``running`` where the limit came first."""
    began = said = time.monotonic()
    left = dict(runs)
    failed = False
    while left:
        dag_id, run_id = next(iter(left.items()))
        state = _run_state(dag_id, run_id, setting, say=say)
        if state in ENDED_RUN_STATES:
            failed |= state == "failed"
            del left[dag_id]
            continue
        now = time.monotonic()
        if now - began > (limit_seconds or LONGEST_SECONDS):
            return "running"
        if now - said > SAY_SECONDS:
            said = now
            say(f"{case.name}: {count_ended(setting, case.name)} of {case.jobs} jobs have ended, {now - began:.0f} s")
        time.sleep(LOOK_SECONDS)
    return "failed" if failed else "success"


def _run_state(dag_id: str, run_id: str, setting: Setting, *, say: Callable[[str], None]) -> str:
    """Return the run's state; an API server that is too busy to answer in time is asked again, a dead one is not."""
    try:
        return setting.airflow.run_state(dag_id, run_id)
    except AirflowApiError as error:
        if error.status != 0 or not setting.airflow.is_running:
            raise
        say(f"Airflow's API gave no answer: {error}; asking again")
        return "unknown"


def _measure_by_hand(case: Case, setting: Setting) -> Measurement:
    """Run a shell script in one SSH session."""
    script = _script(case, setting)
    before, began, began_at = head_node_load(setting), time.monotonic(), time.time()
    done = subprocess.run(
        [*setting.cluster.ssh_command(), script],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=LONGEST_SECONDS,
    )
    wall = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"{case.name} ended with {done.returncode}: {done.stderr[-2000:]}")
    time.sleep(QUIET_SECONDS)  # until sshd has waited for the session, and has its CPU times
    return Measurement(
        case=case,
        state="success",
        wall_seconds=wall,
        ended_jobs=count_ended(setting, case.name),
        load=head_node_load(setting) - before,
        submit_seconds=_submit_seconds(calls(setting, since=began_at, until=time.time())),
    )


def _script(case: Case, setting: Setting) -> str:
    is_array = case.way == "array_by_hand"
    job = JOB.format(
        seconds=case.seconds, ends=setting.ends, name=case.name, index="$SLURM_ARRAY_TASK_ID" if is_array else "$1"
    )
    logs = setting.folder / f"logs.{case.name}"
    logs.mkdir()
    script = logs / "job.sh"
    script.write_text(BATCH_SCRIPT.format(job=job))
    submit = SUBMIT.format(
        limit=case.minutes_limit,
        array=f"--array=0-{case.jobs - 1}" if is_array else "",
        logs=logs / ("%a.log" if is_array else "%j.log"),
        script=script if is_array else f'{script} "$i"',
    )
    return (ARRAY_BY_HAND if is_array else LOOP_BY_HAND).format(submit=submit, last=case.jobs - 1)


def _delays(case: Case, tasks: Sequence[dict[str, Any]], ends: dict[int, float]) -> list[float]:
    """Return the seconds from each job's end to its task's end; of an array, from the last element's end."""
    delays = []
    for task in tasks:
        if task["state"] != "success":
            continue
        if case.way == "array":
            end = max(ends.values(), default=None)
        else:
            index = task["map_index"] if task["map_index"] >= 0 else int(task["task_id"].rpartition("_")[2])
            end = ends.get(index)
        if end is not None:
            delays.append(datetime.fromisoformat(task["end_date"]).timestamp() - end)
    return delays


def _submit_seconds(called: Sequence[tuple[float, str]]) -> float | None:
    times = [at for at, name in called if name == "sbatch"]
    return times[-1] - times[0] if times else None


def _polling(called: Sequence[tuple[float, str]], ends: Sequence[float]) -> Polling | None:
    """Return how often Slurm was asked, from the times of calls and of the jobs' ends."""
    called = [(at, name) for at, name in called if name in STATUS_COMMANDS]
    looks = [at for at, name in called if name == "squeue"]
    if not looks:
        return None
    commands = Counter(bisect_right(looks, at) for at, _ in called)
    intervals = [later - earlier for earlier, later in pairwise(looks)]
    running = [count for at, count in commands.items() if at and ends and looks[at - 1] < ends[-1]]
    at_ends = [bisect_right(looks, end) for end in ends]
    return Polling(
        most_commands=max(commands.values()),
        most_while_running=max(running, default=0),
        shortest_seconds=min(intervals, default=None),
        at_ends_seconds=[intervals[at - 1] for at in at_ends if 0 < at <= len(intervals)],
    )


def _wait_until_quiet(setting: Setting) -> None:
    """Cancel what an earlier case has left, and wait until no job and no task is under way."""
    cluster = setting.cluster
    deadline = time.monotonic() + 300
    while cluster.run("squeue", "--noheader", "--me").stdout.strip() or _tasks_under_way(setting):
        if time.monotonic() > deadline:
            raise TimeoutError("jobs or tasks of an earlier case did not end within 300 s")
        # A task that is being stopped may still submit.
        cluster.run("scancel", "--me", check=False)
        time.sleep(1)
    setting.end_remote_commands()
    time.sleep(QUIET_SECONDS)


def _tasks_under_way(setting: Setting) -> bool:
    path = "/dags/~/dagRuns/~/taskInstances"
    query = {"state": ["running", "queued", "deferred", "restarting"], "limit": 1}
    return bool(setting.airflow.api("GET", path, params=query)["total_entries"])
