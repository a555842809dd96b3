"""The Airflow plugin: the job pages, and a tab "Slurm job" on the page of each task instance."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

from headnode.links.slurm_job import PAGES_PREFIX, airflow_path

_TAB_QUERY = "run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}"


class HeadnodePlugin(AirflowPlugin):
    """What Airflow loads, in every one of its processes."""

    name = "headnode"
    external_views = [  # noqa: RUF012  declared without ClassVar by Airflow
        {
            "name": "Slurm job",
            "href": f"{airflow_path()}{PAGES_PREFIX}/dags/{{DAG_ID}}/job?{_TAB_QUERY}",
            "destination": "task_instance",
            "url_route": "slurm-job",
        }
    ]

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The pages, imported when the API server asks: workers load plugins too, and need not pay for these."""
        from headnode_ui.app import app  # noqa: PLC0415

        return [{"app": app, "url_prefix": PAGES_PREFIX, "name": "headnode"}]
