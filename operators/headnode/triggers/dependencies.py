"""Lets a job depend on the jobs of other tasks of the same DAG run: waits until they are known, and keeps the tie."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from headnode.cluster.cancellation import cancel
from headnode.cluster.dependencies import known_jobs, never_satisfied, set_dependency
from headnode.cluster.procedures import Procedure
from headnode.errors import CommandRefused, DependencyFailed, HeadnodeError
from headnode.slurm.dependencies import (
    NEVER_SATISFIED,
    DependOn,
    Never,
    NotYet,
    OtherTask,
    judge,
    parse_dependencies,
    render_dependency,
    unfinished_job_ids,
)
from headnode.slurm.record import JobRecord, Labels
from headnode.triggers.cancelling import ASK_SECONDS, LOOK_SECONDS
from headnode.triggers.reporting import stored_record

T = TypeVar("T")

# What sbatch says of a job that slurmctld has forgotten between our question and the submission.
_FORGOTTEN: Final = "Job dependency problem"
_JOB_ID: Final = re.compile(r"(?<=:)[0-9]+")


class Asks(Protocol):
    """Runs a procedure on the cluster, with patience while it can't be asked."""

    def __call__(self, procedure: Callable[[], Procedure[T]], /) -> Awaitable[T]:
        """Return the procedure's result."""
        ...


class DependencyWatch:
    """The dependencies of one task's jobs, from before they are submitted until they start.

    :param depends_on: as ``Dependencies.to_json`` gives them
    :param labels: whose jobs they are
    :param host: the cluster's host, as records name it
    :param ask: runs a procedure on the cluster
    :param log: the task's log
    :param poll_seconds: how often the other tasks are looked at; up to ``poll_max_seconds`` while nothing changes
    """

    def __init__(
        self,
        depends_on: Mapping[str, Any],
        *,
        labels: Labels,
        host: str,
        ask: Asks,
        log: Any,
        poll_seconds: float,
        poll_max_seconds: float,
    ) -> None:
        self.failure: DependencyFailed | None = None
        self._dependencies = parse_dependencies(depends_on)
        self._labels = labels
        self._host = host
        self._ask = ask
        self._log = log
        self._poll_seconds = poll_seconds
        self._poll_max_seconds = poll_max_seconds
        self._said: list[str] = []
        self._given = ""
        self._job_ids: tuple[str, ...] = ()
        self._mending: asyncio.Task[None] | None = None

    async def submit(self, submit: Callable[[tuple[str, ...]], Awaitable[T]]) -> T:
        """Submit by ``submit``, which takes options of sbatch, as soon as it is known what the job depends on.

        Raises:
            DependencyFailed: a task that is depended on has ended so that this job must not start.
            HeadnodeError: what ``submit`` raises.
        """
        while True:
            self._given = await self._settled()
            try:
                return await submit(self._options())
            except CommandRefused as error:
                if not self._given or _FORGOTTEN not in str(error):
                    raise
                self._log.info("a job that this one depends on has ended meanwhile; looking at its task again")
            await asyncio.sleep(self._poll_seconds)

    def noticed(self, record: JobRecord) -> JobRecord:
        """Take in a new state of the jobs; return the record, with what they depend on.

        Where Slurm says that the dependency can't be met any more, the other tasks are looked at again, beside all
        else: a new try of theirs has another job, on which these jobs depend from then on.
        """
        self._job_ids = unfinished_job_ids(record)
        never = (record.reason or "").startswith(NEVER_SATISFIED)
        if never and (self._mending is None or self._mending.done()):
            self._mending = asyncio.create_task(self._mend(), name=f"headnode mends {self._labels.task_id}")
        tied = [
            each.model_copy(update={"dependency": self._given}) if each.job_id in self._job_ids else each
            for each in record.submissions
        ]
        return record.model_copy(update={"submissions": tied}) if self._given else record

    def close(self) -> None:
        """Stop looking at the other tasks."""
        if self._mending is not None:
            self._mending.cancel()

    def _options(self) -> tuple[str, ...]:
        # A site may cancel jobs whose dependency fails; here the other task's next try is waited for.
        return (f"--dependency={self._given}", "--kill-on-invalid-dep=no") if self._given else ()

    async def _settled(self) -> str:
        """Wait until every dependency is met or has a job that slurmctld knows; return them in sbatch's notation."""
        pause = self._poll_seconds
        while True:
            dependency = await self._dependency()
            if dependency is not None:
                return dependency
            await asyncio.sleep(pause)
            pause = min(pause * 1.25, self._poll_max_seconds)

    async def _dependency(self) -> str | None:
        """Return what to depend on, None while that can't be told; say in the log what is waited for."""
        verdicts = [(kind, judge(kind, other, host=self._host)) for kind, other in await self._patiently()]
        if never := [verdict.why for _, verdict in verdicts if isinstance(verdict, Never)]:
            raise DependencyFailed(f"this task's job must not start: {'; '.join(never)}")
        waiting = [verdict.why for _, verdict in verdicts if isinstance(verdict, NotYet)]
        if not waiting:
            wanted = {job_id for _, verdict in verdicts if isinstance(verdict, DependOn) for job_id in verdict.job_ids}
            known = await self._ask(lambda: known_jobs(wanted)) if wanted else set()
            if known == wanted:
                return render_dependency(verdicts, singleton=self._dependencies.singleton)
            waiting = [
                f"job {job_id} has left the queue, its task has still to end" for job_id in sorted(wanted - known)
            ]
        if waiting != self._said:
            self._log.info("waiting for jobs that this one depends on: %s", "; ".join(waiting))
            self._said = waiting
        return None

    async def _patiently(self) -> list[tuple[str, OtherTask]]:
        """Return what Airflow knows of the other tasks; ask again while its database or API server is away."""
        deadline = time.monotonic() + ASK_SECONDS
        while True:
            try:
                return await self._others()
            except Exception as error:
                if time.monotonic() > deadline:
                    raise
                self._log.warning("Airflow does not tell of the tasks that this one depends on: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _others(self) -> list[tuple[str, OtherTask]]:
        """Return what Airflow knows of the other tasks at present, with the kind of each dependency.

        Of a mapped task the instance with this one's map index counts, of any other the only one. One that is not
        expanded yet has a single instance, too.
        """
        pairs = self._dependencies.pairs()
        found: dict[str, tuple[int, Any]] = {}
        for map_index in dict.fromkeys((self._labels.map_index, -1)):
            missing = [task_id for _, task_id in pairs if task_id not in found]
            found |= {task_id: (map_index, state) for task_id, state in await self._states(missing, map_index)}
        return [(kind, await self._other(task_id, found.get(task_id))) for kind, task_id in pairs]

    async def _states(self, task_ids: list[str], map_index: int) -> list[tuple[str, Any]]:
        """Return the states of those of ``task_ids`` that have an instance with this map index."""
        if not task_ids:
            return []
        of_runs = await asyncio.to_thread(
            RuntimeTaskInstance.get_task_states,
            dag_id=self._labels.dag_id,
            map_index=map_index,
            task_ids=task_ids,
            run_ids=[self._labels.run_id],
        )
        states = of_runs.get(self._labels.run_id, {})
        suffix = f"_{map_index}" if map_index >= 0 else ""  # so Airflow names the instances of mapped tasks here
        return [(task_id, states[task_id + suffix]) for task_id in task_ids if task_id + suffix in states]

    async def _other(self, task_id: str, instance: tuple[int, Any] | None) -> OtherTask:
        if instance is None:
            return OtherTask(task_id=task_id, exists=False)
        map_index, state = instance
        record = await stored_record(self._labels.model_copy(update={"task_id": task_id, "map_index": map_index}))
        return OtherTask(task_id=task_id, state=None if state is None else str(state), record=record)

    async def _mend(self) -> None:
        """Look at the other tasks until no job waits in vain: give it a new dependency, or cancel it."""
        try:
            pause = self._poll_seconds
            while vain := await self._ask(lambda: never_satisfied(self._job_ids)):
                dependency = await self._dependency()
                if dependency is not None:
                    await self._give(dependency, vain)
                await asyncio.sleep(pause)
                pause = min(pause * 1.25, self._poll_max_seconds)
        except (DependencyFailed, CommandRefused) as error:
            self.failure = DependencyFailed(f"{error}; job {', '.join(self._job_ids)} waited for it and is cancelled")
            await self._ask(lambda: cancel(self._job_ids))
        except HeadnodeError as error:
            self._log.error("what the job waits for can't be looked at any more: %s", error)

    async def _give(self, dependency: str, vain: Mapping[str, str]) -> None:
        """Let the jobs that wait ``vain``-ly depend on ``dependency``, unless that is what they wait for already."""
        for job_id, waits_for in vain.items():
            if dependency and set(_JOB_ID.findall(dependency)) <= set(_JOB_ID.findall(waits_for)):
                continue
            # Said first: the job may start at once and end before the answer is here.
            self._given = dependency
            self._log.info("letting job %s depend on %s from now on", job_id, dependency or "nothing")
            await self._ask(lambda job_id=job_id: set_dependency(job_id, dependency))  # type: ignore[misc]
