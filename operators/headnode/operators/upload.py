"""``UploadOperator``: a file or folder of the worker's appears on the cluster, whole."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from headnode.hooks.staging import upload
from headnode.operators.staging import StagingOperator, resolve_on_worker


class UploadOperator(StagingOperator):
    """Sends a file or folder from the worker to the cluster behind an Airflow connection.

    What is there with the same SHA-256 is not sent again; a transfer that broke off goes on where it stopped, in this
    try or the next; what has arrived is checked there, and appears under its name only when it is whole. rsync does
    the work where both ends have it, else SFTP. The XCom ``return_value`` is ``{"path", "sha256", "bytes", "files"}``.

    :param source: a file or folder on the worker; a relative path is beside the DAG's file
    :param destination: its path on the cluster: absolute, from the home (``~/``), or relative to the connection's
        work directory; after a slash at its end comes the source's own name
    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    :param delete: allow to remove files of the destination that the source does not have; a folder is replaced as a
        whole, and refused without this where such files would be lost
    :param outage_tolerance: how long the host may be away while nothing moves
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Send, and return what is on the cluster now."""
        return self._move(
            context,
            lambda hook, options: upload(
                hook,
                resolve_on_worker("source", self.source, getattr(context.get("dag"), "fileloc", None)),
                self.destination,
                options=options,
            ),
        )
