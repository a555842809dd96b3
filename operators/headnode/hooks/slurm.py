"""``SlurmHook``: a cluster seen from a worker, a notebook or the command line, synchronously."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook

from headnode.cluster.cancellation import cancel
from headnode.cluster.procedures import Procedure, drive_sync
from headnode.cluster.queries import accounting, snapshot
from headnode.hooks.connection import load_settings
from headnode.ssh.settings import ClusterSettings

if TYPE_CHECKING:
    from headnode.hooks.paramiko_transport import ParamikoTransport

T = TypeVar("T")


class SlurmHook(BaseHook):
    """Asks one cluster, over one connection that is opened at the first question.

    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    """

    conn_name_attr = "slurm_conn_id"
    default_conn_name = "slurm_default"
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

        return ParamikoTransport(self.settings.ssh)

    def get_conn(self) -> ParamikoTransport:
        """Return the connection to the host."""
        return self.transport

    def run(self, procedure: Procedure[T]) -> T:
        """Run one of the procedures of ``headnode.cluster`` and return its result."""
        return drive_sync(procedure, self.transport.run)

    def job_state(self, job_id: str) -> str | None:
        """Return Slurm's word for the job's state, None where neither squeue nor sacct knows the job."""
        queued = self.run(snapshot([job_id])).get(job_id)
        if queued is not None:
            return queued.state_word
        known = self.run(accounting([job_id])).get(job_id)
        return known.state_word if known is not None else None

    def cancel(self, job_id: str) -> None:
        """Cancel the job (or the whole array) and see that it is gone.

        Raises:
            ControllerUnavailable: that it is gone could not be seen.
        """
        self.run(cancel([job_id]))

    def test_connection(self) -> tuple[bool, str]:
        """Check the connection for the *Test* button: whether jobs can run, and what was found, in plain text."""
        from headnode.hooks.check import check_connection  # noqa: PLC0415 - for this button alone

        report = check_connection(self.slurm_conn_id)
        # Airflow's button tests under a name that it made up.
        return report.ok, report.text.replace(repr(self.slurm_conn_id), "being tested")
