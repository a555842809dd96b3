"""What the operators that move files share: one transfer on a worker, its place in the log and its end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context

from headnode.cluster.staging.spot import token_of
from headnode.errors import HeadnodeError, JobSpecError
from headnode.hooks.slurm import SlurmHook
from headnode.hooks.staging import Options
from headnode.hooks.transfer import Stop
from headnode.slurm.visible import is_visible
from headnode.templated import is_templated
from headnode.triggers.outcome import to_airflow


class StagingOperator(BaseOperator):
    """Base of the operators that move files on a worker.

    :param source: what is moved
    :param destination: where to
    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    :param delete: allow to remove what a replaced folder holds and the source does not
    :param outage_tolerance: how long the host may be away while nothing moves
    """

    template_fields = ("source", "destination", "slurm_conn_id")
    ui_color = "#e4f0d8"

    def __init__(
        self,
        *,
        source: str,
        destination: str,
        slurm_conn_id: str = SlurmHook.default_conn_name,
        delete: bool = False,
        outage_tolerance: timedelta = timedelta(hours=24),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.destination = destination
        self.slurm_conn_id = slurm_conn_id
        self.delete = delete
        self.outage_tolerance = outage_tolerance
        self._stop = Stop()
        for field in ("source", "destination"):
            value = getattr(self, field)
            if not is_templated(value):
                _check_path(field, value, self.task_id)

    def on_kill(self) -> None:
        """End the transfer; what has arrived is kept, and the next try goes on from there."""
        self._stop.set()

    def _move(self, context: Context, move: Callable[[SlurmHook, Options], dict[str, Any]]) -> dict[str, Any]:
        for field in ("source", "destination"):
            _check_path(field, getattr(self, field), self.task_id)
        self._stop = Stop()
        hook = SlurmHook(self.slurm_conn_id)
        try:
            return move(hook, options_for(context, self, stop=self._stop, delete=self.delete))
        except HeadnodeError as error:
            raise to_airflow(error, about=f"task {self.task_id!r} on connection {self.slurm_conn_id!r}") from None
        finally:
            if "transport" in hook.__dict__:
                hook.transport.close()


def options_for(context: Context, task: Any, *, stop: Stop, delete: bool = False) -> Options:
    """Return the options of the task's transfers: its log, its tolerance, and a token that all of its tries share."""
    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    return Options(
        token=token_of(ti.dag_id, ti.run_id, ti.task_id, str(map_index)),
        delete=delete,
        outage_tolerance_seconds=task.outage_tolerance.total_seconds(),
        log=task.log,
        stop=stop,
    )


def resolve_on_worker(field: str, path: str, dag_file: str | None) -> Path:
    """Return the absolute path on the worker; a relative one is beside the DAG's file.

    Raises:
        JobSpecError: there is no DAG file that it could be beside.
    """
    try:
        given = Path(path).expanduser()
    except RuntimeError as error:
        raise JobSpecError(field, f"{path!r}: {error}") from error
    if given.is_absolute():
        return given
    if dag_file is None:
        raise JobSpecError(field, f"{path!r} is relative, and the DAG's file is not known; give an absolute path")
    return Path(dag_file).parent / given


def _check_path(field: str, value: Any, task_id: str) -> None:
    if not isinstance(value, str) or not value or not is_visible(value):
        raise JobSpecError(
            field, f"{value!r} is no path, or holds line breaks or other control characters (task {task_id!r})"
        )
