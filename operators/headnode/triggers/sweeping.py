"""Ends jobs that were left behind: in the queue, though their task has come to its end.

A job is left where Airflow could not end it: the cluster was silent for longer than the task's tolerance, or the
triggerer was killed while it cancelled. Every triggerer that has to do with a cluster looks after that from time to
time, over the connection that there is anyway. A job is ended when it was found left at two looks: until then a
cleared task may take it over.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Container, Iterable
from typing import Final
from weakref import WeakKeyDictionary

import structlog
from airflow.sdk.configuration import conf
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from headnode.cluster.cancellation import withdraw
from headnode.cluster.sweeping import QueuedJob, find_jobs
from headnode.errors import HeadnodeError
from headnode.ssh.settings import ClusterSettings
from headnode.triggers.trackers import tracker_for

log = structlog.get_logger(__name__)

#: Seconds between looks, `[headnode] sweep_seconds`. The first comes after a tenth of it, one after a suspicion
#: after a third.
LOOK_SECONDS: Final = 1800.0
#: Only of a task in one of these states it is certain that nobody follows its job, and that it needs none.
OVER: Final = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

_Sweepers = dict[tuple[ClusterSettings, str], asyncio.Task[None]]
_SWEEPERS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Sweepers]] = WeakKeyDictionary()


def sweep_from_time_to_time(settings: ClusterSettings, deployment_id: str) -> None:
    """See to it that the running loop looks after jobs that were left on the cluster; safe to call for every task."""
    sweepers = _SWEEPERS.setdefault(asyncio.get_running_loop(), {})
    task = sweepers.get((settings, deployment_id))
    if task is None or task.done():
        name = f"headnode sweeps {settings.ssh.host}"
        sweepers[settings, deployment_id] = asyncio.create_task(_sweep_again(settings, deployment_id), name=name)


async def _sweep_again(settings: ClusterSettings, deployment_id: str) -> None:
    pause = conf.getfloat("headnode", "sweep_seconds", fallback=LOOK_SECONDS)
    await asyncio.sleep(pause / 10)
    suspects: frozenset[str] = frozenset()
    while True:
        try:
            suspects = await sweep(settings, deployment_id, suspects)
        except HeadnodeError as error:
            log.warning("looking for jobs that were left failed", host=settings.ssh.host, error=str(error))
        await asyncio.sleep(pause / 3 if suspects else pause)


async def sweep(settings: ClusterSettings, deployment_id: str, suspects: Container[str]) -> frozenset[str]:
    """Cancel those of ``suspects`` whose tasks are still over; return the keys of the jobs found left this time.

    Raises:
        HeadnodeError: the cluster can't be asked, or a job's end could not be verified.
    """
    tracker = tracker_for(settings)
    jobs = await tracker.run(find_jobs(settings.work_directory, deployment_id))
    left = await asyncio.to_thread(_left, jobs)
    for job in left:
        if job.place.key in suspects:
            labels = job.place.labels
            ended = await tracker.run(withdraw(job.place, settle_seconds=settings.settle_seconds))
            log.warning("cancelled jobs whose task had come to its end", jobs=ended, **labels.model_dump())
    return frozenset(job.place.key for job in left)


def _left(jobs: Iterable[QueuedJob]) -> list[QueuedJob]:
    """Return the jobs whose task is over; a task that Airflow does not know is somebody else's to judge."""
    by_run: defaultdict[tuple[str, str, int], list[QueuedJob]] = defaultdict(list)
    for job in jobs:
        labels = job.place.labels
        by_run[labels.dag_id, labels.run_id, labels.map_index].append(job)
    left = []
    for (dag_id, run_id, map_index), of_run in by_run.items():
        task_ids = sorted({job.place.labels.task_id for job in of_run})
        states = RuntimeTaskInstance.get_task_states(
            dag_id=dag_id, map_index=map_index, task_ids=task_ids, run_ids=[run_id]
        ).get(run_id, {})
        for job in of_run:
            labels = job.place.labels
            name = labels.task_id if map_index < 0 else f"{labels.task_id}_{map_index}"
            if str(states.get(name, states.get(labels.task_id))) in OVER:
                left.append(job)
    return left
