"""The extra link "Slurm job" of a task, and the address of the page that it leads to.

Addresses are paths below Airflow's own base URL, so that they hold under whatever name
the browser knows the server.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.configuration import conf
from airflow.sdk.types import TaskInstanceKey

PAGES_PREFIX = "/headnode"


class SlurmJobLink(BaseOperatorLink):
    """Leads to the job page of a task instance.

    Airflow stores the link when the task defers, so it is there while the job waits and runs.
    """

    name = "Slurm job"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the job page's address for the task instance ``ti_key``."""
        map_index = -1 if ti_key.map_index is None else ti_key.map_index
        return job_page_path(ti_key.dag_id, ti_key.run_id, ti_key.task_id, map_index)


def airflow_path() -> str:
    """Return the path that Airflow is served below: empty, or ``/airflow`` behind a proxy."""
    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")


def job_page_path(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """Return the path of the job page; run ids may hold slashes, so all but the DAG's id is in the query."""
    query = urlencode({"run_id": run_id, "task_id": task_id, "map_index": map_index})
    return f"{airflow_path()}{PAGES_PREFIX}/dags/{quote(dag_id, safe='')}/job?{query}"
