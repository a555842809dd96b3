"""The job pages: one page and one JSON document for each task instance.

Airflow mounts a plugin's application without authentication, so each route asks Airflow's own authorisation:
the record is an XCom of a task instance, and whoever reads it must be allowed to read both in that DAG.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from headnode.links.slurm_job import airflow_path
from headnode_ui.records import RecordAbsent, RecordUnreadable, TaskReference, find_record
from headnode_ui.view import REFRESH_SECONDS, job_view, task_page_path

_MAP_INDEX_UNFILLED = "{MAP_INDEX}"  # what Airflow's tab leaves in the address of a task that is not mapped

_templates = Environment(
    loader=PackageLoader("headnode_ui"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)

# No openapi, docs and redoc: they would be open to anyone.
app = FastAPI(title="headnode", openapi_url=None, docs_url=None, redoc_url=None)

_READERS_ONLY = [
    Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE)),
    Depends(requires_access_dag("GET", DagAccessEntity.XCOM)),
]


def _asked_for(
    dag_id: str,
    run_id: Annotated[str, Query()],
    task_id: Annotated[str, Query()],
    map_index: Annotated[str, Query()] = "-1",
) -> TaskReference:
    if dag_id == "~":  # Airflow's security reads it as "no DAG in particular"
        raise HTTPException(HTTPStatus.NOT_FOUND, "A job belongs to one DAG: '~' is none.")
    try:
        number = -1 if map_index == _MAP_INDEX_UNFILLED else int(map_index)
    except ValueError as error:
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"map_index must be a whole number, not {map_index!r}."
        ) from error
    return TaskReference(dag_id, run_id, task_id, number)


AskedFor = Annotated[TaskReference, Depends(_asked_for)]


@app.get("/dags/{dag_id}/job", dependencies=_READERS_ONLY)  # noqa: FAST003  in AskedFor
def job_page(task: AskedFor, session: SessionDep) -> Response:
    """Show the job of a task instance."""
    back = task_page_path(task)
    try:
        record = find_record(session, task)
    except RecordAbsent as absent:
        return _message_page(HTTPStatus.NOT_FOUND, absent.title, absent.explanation, back, refresh=absent.expected)
    except RecordUnreadable as unreadable:
        return _message_page(_status(unreadable), unreadable.title, unreadable.explanation, back)
    return _page("job.html", HTTPStatus.OK, job=job_view(record, now=datetime.now(UTC)), back=back)


@app.get("/dags/{dag_id}/job.json", dependencies=_READERS_ONLY)  # noqa: FAST003  in AskedFor
def job_record(task: AskedFor, session: SessionDep) -> Response:
    """Return the record of a task instance's job as it is stored."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    try:
        return JSONResponse(find_record(session, task).to_xcom(), headers=headers)
    except RecordAbsent as absent:
        return JSONResponse({"detail": str(absent)}, HTTPStatus.NOT_FOUND, headers)
    except RecordUnreadable as unreadable:
        return JSONResponse({"detail": str(unreadable)}, _status(unreadable), headers)


@app.exception_handler(HTTPException)
def refused(request: Request, error: HTTPException) -> Response:
    """Say in words why a page was refused, to whoever reads it in a browser."""
    if request.url.path.endswith(".json"):
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    if error.status_code == HTTPStatus.UNAUTHORIZED:
        return _message_page(error.status_code, "Not logged in", "Log in to Airflow, then open this page again.")
    if error.status_code == HTTPStatus.FORBIDDEN:
        text = f"Reading it needs access to this DAG's task instances and XComs. Airflow says: {error.detail}."
        return _message_page(error.status_code, "No access to this job", text)
    return _message_page(error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail))


def _status(unreadable: RecordUnreadable) -> HTTPStatus:
    return HTTPStatus.NOT_IMPLEMENTED if unreadable.newer else HTTPStatus.INTERNAL_SERVER_ERROR


def _message_page(
    status: int, title: str, explanation: str, back: str | None = None, *, refresh: bool = False
) -> HTMLResponse:
    return _page(
        "message.html",
        status,
        title=title,
        explanation=explanation,
        back=back or f"{airflow_path()}/",
        refresh_seconds=REFRESH_SECONDS if refresh else None,
    )


def _page(template: str, status: int, **values: Any) -> HTMLResponse:
    nonce = secrets.token_urlsafe(16)
    text = _templates.get_template(template).render(nonce=nonce, **values)
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(text, status, headers)
