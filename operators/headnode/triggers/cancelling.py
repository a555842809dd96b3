"""Ending a task's jobs when the task is taken from its trigger by a person, by its DAG run or by a timeout.

Airflow calls ``on_kill`` also for tasks that another triggerer has taken over, and interrupts it after about a
second. So this runs beside it, asks Airflow what became of the task, and the cluster whose job it is now.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from headnode.cluster.lines import describe_cancelled
from headnode.errors import HeadnodeError
from headnode.hooks.shared_answers import SharedAnswers
from headnode.slurm.record import Labels

# A task that is deferred again was cleared, or another triggerer follows it. A new try whose own trigger never ran
# (it was marked so soon) ends no jobs, so this one looks on until that trigger must have run, or must be gone.
WATCH_SECONDS: Final = 90.0
LOOK_SECONDS: Final = 3.0
ASK_SECONDS: Final = 600.0

_TASKS: Final[set[asyncio.Task[None]]] = set()


def begin(work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
    """Start ``work`` so that it lives on when whoever awaits it is interrupted."""
    task = asyncio.create_task(work, name=name)
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)
    return task


async def cancel_unless_followed(labels: Labels, withdraw: Callable[[], Awaitable[list[str]]], *, log: Any) -> None:
    """Run ``withdraw`` as soon as the task is no longer deferred; leave the job alone if it stays so.

    ``withdraw`` leaves the jobs of later tries alone by itself.
    """
    deadline = time.monotonic() + WATCH_SECONDS
    told = False
    while "deferred" in await task_states(labels, log=log):
        if time.monotonic() > deadline:
            return
        if not told:
            log.info("the task is still deferred, so its job is left to whoever follows it now")
            told = True
        await asyncio.sleep(LOOK_SECONDS)
    try:
        cancelled = await withdraw()
    except HeadnodeError as error:
        log.error("the job could not be cancelled, look at the cluster: %s", error)  # noqa: TRY400 - no traceback for people
        return
    if cancelled or not told:
        log.info("%s", describe_cancelled(cancelled))


async def task_states(labels: Labels, *, log: Any) -> set[str]:
    """Return the task's state as Airflow's database has it now; empty where the task is deleted.

    Raises:
        Exception: what Airflow raised, when it gave no answer for ten minutes.
    """
    deadline = time.monotonic() + ASK_SECONDS
    while True:
        try:
            states = await asyncio.to_thread(
                RuntimeTaskInstance.get_task_states,
                dag_id=labels.dag_id,
                map_index=labels.map_index,
                task_ids=[labels.task_id],
                run_ids=[labels.run_id],
            )
        except Exception as error:
            # Airflow's database may be busy or away; a job that nobody follows must not outlive that.
            if time.monotonic() > deadline:
                raise
            log.warning("Airflow does not tell the task's state, it is asked again: %s", error)
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return {str(state) for of_run in states.values() for state in of_run.values()}


async def was_deferred(labels: Labels) -> bool:
    """Return whether the task is known to be deferred; a False may be news of a moment before it was.

    All tasks of a DAG run share an answer, which is at most ``_SHARED_SECONDS`` old: triggers begin by the hundred.
    """
    try:
        states = await _STATES.get(json.dumps([labels.dag_id, labels.run_id]))
    except Exception:  # noqa: BLE001 - whoever gets a False asks again, and bears what Airflow says then
        return False
    name = labels.task_id if labels.map_index < 0 else f"{labels.task_id}_{labels.map_index}"
    return states.get(name) == "deferred"


async def _states_of_run(key: str) -> dict[str, str]:
    dag_id, run_id = json.loads(key)
    states = await asyncio.to_thread(RuntimeTaskInstance.get_task_states, dag_id=dag_id, run_ids=[run_id])
    return {name: str(state) for name, state in states.get(run_id, {}).items()}


_SHARED_SECONDS: Final = 2.0
_STATES: Final = SharedAnswers(_states_of_run, seconds=_SHARED_SECONDS)
