"""``RemotePathSensor``: waits for a file or a directory on the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from headnode.cluster.conditions import PathExists, to_json
from headnode.sensors.checks import check_path, check_time
from headnode.sensors.deferred import DeferredSensor
from headnode.triggers.condition import SlurmConditionTrigger


class RemotePathSensor(DeferredSensor):
    """Waits, without a worker, until a path is there; returns its full ``path``, ``size`` and ``mtime``.

    Of a directory, size and time of change are of what lies directly in it, and ``entries`` counts that. What is
    written below its subdirectories is not seen: let the writer put a marker file there last, and wait for that.
    A path that can't be looked at (no permission, a file system that hangs) is not one that is not there: this is
    said in the log, and fails the task when it has lasted for ``outage_tolerance``.

    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    :param path: absolute, or below the home directory with ``~/``; templated
    :param non_empty: whether there must be something in it
    :param stable_for: for how long nothing must have changed, by the cluster's own clock
    :param timeout: how long to wait at most
    :param soft_fail: skip the task where it would fail
    :param outage_tolerance: how long the cluster may be silent before the task fails
    """

    template_fields: Sequence[str] = ("slurm_conn_id", "path")

    def __init__(
        self, *, path: str, non_empty: bool = False, stable_for: timedelta | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.non_empty = non_empty
        self.stable_for = stable_for
        self._check_now(self._condition, path)

    def _condition(self) -> PathExists:
        return PathExists(
            path=check_path(self.path),
            non_empty=self.non_empty,
            stable_seconds=check_time(self.stable_for, "stable_for"),
        )

    def _trigger(self) -> SlurmConditionTrigger:
        return SlurmConditionTrigger(condition=to_json(self._condition()), **self._shared_arguments())

    def _waits_for(self) -> str:
        return f"the path {self.path}"
