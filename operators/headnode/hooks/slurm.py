"""``SlurmHook``: a cluster seen from a worker, a notebook or the command line, synchronously."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, Unpack, overload

from airflow.sdk import BaseHook

from headnode.cluster.cancellation import cancel
from headnode.cluster.procedures import Pause, Procedure, drive_sync
from headnode.cluster.queries import AskedJob
from headnode.cluster.standing import standing_of
from headnode.errors import JobSpecError
from headnode.hooks.connection import DEFAULT_CONN_ID, load_settings
from headnode.hooks.job_logs import follow_log, read_log
from headnode.hooks.jobs import SUBMIT_TOLERANCE, JobFields, Say, SlurmJob, running_task, submit_job
from headnode.hooks.waiting import Stream, Waiter
from headnode.ssh.settings import ClusterSettings

if TYPE_CHECKING:
    from headnode.hooks.cluster_ssh import ClusterSSHHook
    from headnode.hooks.paramiko_transport import ParamikoTransport

T = TypeVar("T")

OUTAGE_TOLERANCE: Final = timedelta(hours=24)


class SlurmHook(BaseHook):
    """Asks one cluster, over one connection that is opened at the first question.

    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    """

    conn_name_attr = "slurm_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "slurm"
    hook_name = "Slurm over SSH"

    def __init__(self, slurm_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slurm_conn_id = slurm_conn_id

    @cached_property
    def settings(self) -> ClusterSettings:
        """The connection's settings, checked.

        Raises:
            ConnectionInvalid: there is no such connection, or a field can't be right.
        """
        return load_settings(self.slurm_conn_id)

    @cached_property
    def transport(self) -> ParamikoTransport:
        """The connection to the host."""
        # Loaded where it is used: workers that only defer a task have no use for paramiko.
        from headnode.hooks.paramiko_transport import ParamikoTransport  # noqa: PLC0415

        if self.settings.ssh.control_path is not None:
            from headnode.hooks.control_master_transport import ControlMasterHookTransport  # noqa: PLC0415 - as above

            return ControlMasterHookTransport(self.settings.ssh)
        return ParamikoTransport(self.settings.ssh)

    def get_conn(self) -> ParamikoTransport:
        """Return the connection to the host."""
        return self.transport

    def ssh_hook(self) -> ClusterSSHHook:
        """Return the SSH provider's hook over the same connection, for whatever takes an ``ssh_hook``."""
        return self.transport.hook

    def run(self, procedure: Procedure[T], *, on_pause: Callable[[Pause], object] | None = None) -> T:
        """Run one of the procedures of ``headnode.cluster`` and return its result."""
        return drive_sync(procedure, self.transport.run, on_pause=on_pause)

    def submit(
        self,
        *,
        key: str | None = None,
        code: str | None = None,
        outage_tolerance: timedelta = SUBMIT_TOLERANCE,
        say: Say | None = None,
        **fields: Unpack[JobFields],
    ) -> SlurmJob:
        """Submit a job, or find the one that an earlier call has submitted; it runs on when this process ends.

        With ``key``, a repeated call (a notebook's cell that is run again, a retried task, another machine) finds the
        job of the earlier call: while it waits or runs and when it has ended well. After one that has failed or was
        cancelled the next call submits it anew. The key counts for this work directory and, within a task, for this
        Airflow.

        Without it, each call of a notebook or script is another job. Within an Airflow task, the n-th job that a try
        submits is one job however often that try asks for it (its process may be started again); the next try cancels
        what is left of it and begins anew. A call that is interrupted by an outage asks again by itself, so that it
        never submits twice.

        :param key: what the piece of work is called
        :param code: a folder, of which the job runs in a copy, as with ``SlurmJobOperator``; a relative one is in the
            working directory, within a task beside the DAG's file
        :param outage_tolerance: for how long a silent cluster is asked again
        :param say: what is told goes to this function; by default to the task's log, or to standard output
        :param fields: ``command`` or ``script`` and resources, in the words of ``SlurmJobOperator``

        Raises:
            JobSpecError: a field can't be right, or ``key`` names another piece of work.
            HeadnodeError: Slurm refuses the job, or the cluster can't be asked.
        """
        said = say or self._say
        return submit_job(self, fields, key=key, code=code, tolerance=outage_tolerance, say=said)

    @overload
    def wait(
        self,
        jobs: SlurmJob,
        *,
        timeout: timedelta | float | None = None,
        show_log: bool = False,
        poll_seconds: float | None = None,
        outage_tolerance: timedelta = OUTAGE_TOLERANCE,
        say: Say | None = None,
    ) -> Any: ...

    @overload
    def wait(
        self,
        jobs: Sequence[SlurmJob],
        *,
        timeout: timedelta | float | None = None,
        show_log: bool = False,
        poll_seconds: float | None = None,
        outage_tolerance: timedelta = OUTAGE_TOLERANCE,
        say: Say | None = None,
    ) -> list[Any]: ...

    def wait(
        self,
        jobs: SlurmJob | Sequence[SlurmJob],
        *,
        timeout: timedelta | float | None = None,
        show_log: bool = False,
        poll_seconds: float | None = None,
        outage_tolerance: timedelta = OUTAGE_TOLERANCE,
        say: Say | None = None,
    ) -> Any:
        """Wait until the job has (or all jobs have) ended; return what it wrote as JSON to ``$HEADNODE_RESULT``.

        All jobs are asked for in one squeue an interval. States are told as they change, with Slurm's reason in plain
        words. Ctrl-C ends the waiting; the job goes on.

        :param jobs: what ``submit`` returned, or a list of these, whose results are returned as a list
        :param timeout: for how long to wait, in seconds where it is a number; 0 looks once
        :param show_log: tell also what plain jobs write, ``| `` before stdout and ``! `` before stderr
        :param poll_seconds: the shortest interval; the connection's own by default
        :param outage_tolerance: for how long the cluster may be silent meanwhile
        :param say: as for ``submit``

        Raises:
            JobError: a job ended otherwise than well, with the last lines of its log; others are in its notes.
            WaitTimedOut: the time is up.
            HeadnodeError: the cluster was silent for too long, or a job's result can't be read.
        """
        listed = [jobs] if isinstance(jobs, SlurmJob) else list(jobs)
        self._check_hosts(listed)
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        waiter = self._waiter(outage_tolerance, poll_seconds, say)
        results = waiter.wait(listed, timeout_seconds=seconds, show_log=show_log)
        return results[0] if isinstance(jobs, SlurmJob) else results

    def result(self, job: SlurmJob) -> Any:
        """Return the result of a job that has ended, without waiting.

        Raises:
            WaitTimedOut: it has not ended.
            JobError: it ended otherwise than well.
            HeadnodeError: the cluster can't be asked, or the result can't be read.
        """
        return self.wait(job, timeout=0, outage_tolerance=timedelta(0), say=lambda _: None)

    @overload
    def logs(
        self, job: SlurmJob, stream: Stream = ..., *, element: int | None = ..., start: int | None = ...
    ) -> str: ...

    @overload
    def logs(self, job: SlurmJob, stream: Stream = ..., *, follow: Literal[True]) -> Iterator[str]: ...

    def logs(
        self,
        job: SlurmJob,
        stream: Stream = "stdout",
        *,
        follow: bool = False,
        element: int | None = None,
        start: int | None = None,
    ) -> str | Iterator[str]:
        """Return what the job has written so far: the last MiB of it, or up to a MiB from byte ``start`` on.

        With ``follow`` the lines are yielded as they come, until the job has ended.

        :param stream: ``stdout`` or ``stderr``
        :param element: of a job array, which element's: its SLURM_ARRAY_TASK_ID

        Raises:
            JobSpecError: there is no such log.
            HeadnodeError: the cluster can't be asked.
        """
        self._check_hosts([job])
        if follow:
            return follow_log(self._waiter(OUTAGE_TOLERANCE, None, None), job, stream=stream)
        return read_log(self, job, stream=stream, element=element, start=start, say=self._say)

    def state(self, job: SlurmJob | str) -> str | None:
        """Return Slurm's word for the job's state, None where nobody knows the job (any more)."""
        stands = self.run(standing_of(self._asked(job)))
        return stands.state_word if stands is not None else None

    def job_state(self, job_id: str) -> str | None:
        """Return Slurm's word for the state of the job with this id; see ``state``."""
        return self.state(job_id)

    def cancel(self, job: SlurmJob | str) -> None:
        """Cancel the job (or the whole array) and see that it is gone.

        Of a handle only the very job is cancelled, not a later one that has the same id.

        Raises:
            ControllerUnavailable: that it is gone could not be seen.
        """
        self.run(cancel([self._asked(job)]))

    def _asked(self, job: SlurmJob | str) -> AskedJob:
        if isinstance(job, SlurmJob):
            self._check_hosts([job])
            return job.asked
        return AskedJob(job_id=job)

    def _check_hosts(self, jobs: Sequence[SlurmJob]) -> None:
        known = {self.settings.ssh.host, *self.settings.ssh.hosts}
        for job in jobs:
            if not isinstance(job, SlurmJob):
                raise JobSpecError("job", f"{job!r} is no SlurmJob; SlurmJob.from_json() makes one of a stored dict")
            if job.host not in known:
                raise JobSpecError(
                    "job",
                    f"{job.job_id} is a job of {job.host}, and connection {self.slurm_conn_id!r} leads to"
                    f" {', '.join(sorted(known))}",
                )

    def _waiter(self, tolerance: timedelta, poll_seconds: float | None, say: Say | None) -> Waiter:
        return Waiter(self, outage_tolerance=tolerance, poll_seconds=poll_seconds, say=say or self._say)

    def _say(self, text: str) -> None:
        if running_task() is not None:
            self.log.info("%s", text)
        else:
            print(text, flush=True)  # noqa: T201 - what notebooks and scripts show

    def test_connection(self) -> tuple[bool, str]:
        """Check the connection for the *Test* button: whether jobs can run, and what was found, in plain text."""
        from headnode.hooks.check import check_connection  # noqa: PLC0415 - for this button alone

        report = check_connection(self.slurm_conn_id)
        # Airflow's button tests under a name that it made up.
        return report.ok, report.text.replace(repr(self.slurm_conn_id), "being tested")
