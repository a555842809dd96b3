"""``DownloadOperator``: a file or folder of the cluster's appears on the worker, whole."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from airflow.sdk import Context

from headnode.hooks.staging import download
from headnode.operators.staging import StagingOperator, resolve_on_worker


class DownloadOperator(StagingOperator):
    """Fetches a file or folder from the cluster behind an Airflow connection to the worker.

    What is there with the same SHA-256 is not fetched again; a transfer that broke off goes on where it stopped, in
    this try or, on the same worker, the next; what has arrived is checked against the cluster's own SHA-256, and
    appears under its name only when it is whole. The XCom ``return_value`` is ``{"path", "sha256", "bytes", "files"}``.

    :param source: a file or folder on the cluster: absolute, from the home (``~/``), or relative to the connection's
        work directory
    :param destination: its path on the worker; a relative path is beside the DAG's file; after a slash at its end
        comes the source's own name
    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    :param delete: allow to remove files of the destination that the source does not have
    :param outage_tolerance: how long the host may be away while nothing moves
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch, and return what is on the worker now."""
        destination = self.destination
        if destination.endswith("/"):
            destination += PurePosixPath(self.source).name
        return self._move(
            context,
            lambda hook, options: download(
                hook,
                self.source,
                resolve_on_worker("destination", destination, getattr(context.get("dag"), "fileloc", None)),
                options=options,
            ),
        )
