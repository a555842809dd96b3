"""What one asks of a running Airflow over its REST API: run a DAG, wait, read XComs and logs, change states."""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from headnode.errors import HeadnodeError

ENDED_RUN_STATES = frozenset({"success", "failed"})
POLL_SECONDS = 0.5
DATABASE_RETRIES = 5
PAGE = 100
ANSWER_SECONDS = 90  # SQLite's lock may be another's for half a minute, and the machine be busy besides
TaskInstance = dict[str, Any]


class AirflowApiError(HeadnodeError):
    """Airflow's API refused, or what it was asked for did not come in time; ``status`` is HTTP's, 0 for none."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class AirflowApi:
    """A client of Airflow 3's public API, logged in as one user."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._login = {"username": user, "password": password}
        self._token: str | None = None
        # Proxies of the environment are for the network, not for an Airflow on this machine.
        self._client = httpx.Client(base_url=url, timeout=ANSWER_SECONDS, trust_env=False)

    def api(self, method: str, path: str, json: Any = None, params: dict[str, Any] | None = None) -> Any:
        """Call ``/api/v2`` + path and give the decoded answer (None when there is none)."""
        if self._token is None:
            self._token = self._new_token()
        answer = self._send(method, f"/api/v2{path}", json, params)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._token = self._new_token()
            answer = self._send(method, f"/api/v2{path}", json, params)
        for _ in range(DATABASE_RETRIES):
            if not _database_was_locked(answer):
                break
            time.sleep(POLL_SECONDS)
            answer = self._send(method, f"/api/v2{path}", json, params)
        if answer.is_error:
            raise AirflowApiError(
                f"{method} {path}: {answer.status_code} {answer.text[:2000]}", status=answer.status_code
            )
        return answer.json() if answer.content else None

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG."""
        self.api("PATCH", f"/dags/{dag_id}", {"is_paused": False}, {"update_mask": "is_paused"})

    def read_again(self, dag_id: str) -> None:
        """Have the DAG's file read again at once, changed or not: the watchers of a new asset begin with that."""
        token = self.api("GET", f"/dags/{dag_id}/details")["file_token"]
        self.api("PUT", f"/parseDagFile/{token}")

    def import_errors(self) -> list[dict[str, Any]]:
        """Give the errors of DAG files: ``filename`` and ``stack_trace`` among others."""
        return list(self.api("GET", "/importErrors")["import_errors"])

    def wait_for_dag(self, dag_id: str, *, timeout_seconds: float = 60) -> None:
        """Return when the DAG is parsed; an import error that stays is reported at the time limit."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            try:
                if not self.api("GET", f"/dags/{dag_id}")["is_stale"]:
                    return
            except AirflowApiError as error:
                if error.status != httpx.codes.NOT_FOUND:
                    raise
            time.sleep(POLL_SECONDS)
        errors = "\n".join(f"{e['filename']}:\n{e['stack_trace']}" for e in self.import_errors())
        raise AirflowApiError(
            f"DAG {dag_id} did not appear within {timeout_seconds:g} s; "
            + (f"import errors:\n{errors}" if errors else "no file of the DAG folder had an import error")
        )

    def trigger_dag(
        self,
        dag_id: str,
        *,
        run_id: str | None = None,
        conf: dict[str, Any] | None = None,
        logical_date: datetime | str | None = None,
    ) -> str:
        """Wait for the DAG, unpause it, start a run and give the run's id."""
        self.wait_for_dag(dag_id)
        self.unpause(dag_id)
        date = logical_date.isoformat() if isinstance(logical_date, datetime) else logical_date
        body = {"logical_date": date, "dag_run_id": run_id, "conf": conf or {}}
        return str(self.api("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Give the state of a DAG run."""
        return str(self.api("GET", f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}")["state"])

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout_seconds: float,
        on_change: Callable[[TaskInstance], None] | None = None,
    ) -> str:
        """Wait until the run has ended and give its state; ``on_change`` gets each task instance that changed state."""
        deadline = time.monotonic() + timeout_seconds
        seen: dict[tuple[str, int], tuple[str | None, int]] = {}
        while True:
            state = self.run_state(dag_id, run_id)
            if on_change:
                self._report_changes(dag_id, run_id, seen, on_change)
            if state in ENDED_RUN_STATES:
                return state
            if time.monotonic() > deadline:
                raise AirflowApiError(
                    f"run {run_id} of DAG {dag_id} is still {state} after {timeout_seconds:g} s: "
                    + self._summary(dag_id, run_id)
                )
            time.sleep(POLL_SECONDS)

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Sequence[str],
        *,
        timeout_seconds: float,
        map_index: int = -1,
    ) -> TaskInstance:
        """Wait until the task instance is in one of the states, and give it."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            for instance in self.task_instances(dag_id, run_id):
                if (instance["task_id"], instance["map_index"]) == (task_id, map_index):
                    if instance["state"] in states:
                        return instance
                    break
            if time.monotonic() > deadline:
                raise AirflowApiError(
                    f"task {task_id} is not {' or '.join(states)} after {timeout_seconds:g} s: "
                    + self._summary(dag_id, run_id)
                )
            time.sleep(POLL_SECONDS)

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Give all task instances of a run, mapped ones one by one."""
        path = f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances"
        found: list[TaskInstance] = []
        while True:
            page = self.api("GET", path, params={"limit": PAGE, "offset": len(found)})
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def set_task_state(
        self, dag_id: str, run_id: str, task_id: str, state: str, *, map_index: int | None = None
    ) -> None:
        """Mark a task instance success, failed or skipped."""
        self.api("PATCH", _instance_path(dag_id, run_id, task_id, map_index), {"new_state": state})

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run success, failed or queued."""
        self.api("PATCH", f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}", {"state": state})

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run that has ended, with all that Airflow keeps of it."""
        self.api("DELETE", f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}")

    def clear(
        self, dag_id: str, run_id: str, task_ids: Sequence[str | tuple[str, int]] | None = None, **options: bool
    ) -> list[TaskInstance]:
        """Clear task instances of a run (all by default), so that they run again; give those cleared."""
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, **options}
        if task_ids is not None:
            body["task_ids"] = list(task_ids)
        return list(self.api("POST", f"/dags/{dag_id}/clearTaskInstances", body)["task_instances"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Give the value of an XCom."""
        path = f"{_instance_path(dag_id, run_id, task_id)}/xcomEntries/{_quoted(key)}"
        value = self.api("GET", path, params={"map_index": map_index, "deserialize": True})["value"]
        return jsonlib.loads(value) if isinstance(value, str) and value[:1] in "[{" else value

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Give the log of a try as text, one line an event, an exception's text behind its event."""
        path = f"{_instance_path(dag_id, run_id, task_id)}/logs/{try_number}"
        answer = self.api("GET", path, params={"full_content": True, "map_index": map_index})
        return "\n".join(_log_line(entry) for entry in answer["content"])

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def _new_token(self) -> str:
        answer = self._send("POST", "/auth/token", self._login)
        if answer.is_error:
            raise AirflowApiError(
                f"login as {self._login['username']} at {self.url}: {answer.status_code} {answer.text[:500]}",
                status=answer.status_code,
            )
        return str(answer.json()["access_token"])

    def _send(self, method: str, path: str, json: Any = None, params: dict[str, Any] | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            return self._client.request(method, path, json=json, params=params, headers=headers)
        except httpx.TransportError as error:
            raise AirflowApiError(f"{method} {self.url}{path}: {error or type(error).__name__}") from error

    def _report_changes(
        self,
        dag_id: str,
        run_id: str,
        seen: dict[tuple[str, int], tuple[str | None, int]],
        on_change: Callable[[TaskInstance], None],
    ) -> None:
        for instance in self.task_instances(dag_id, run_id):
            key = (instance["task_id"], instance["map_index"])
            now = (instance["state"], instance["try_number"])
            if seen.get(key, (None, 0)) != now:
                seen[key] = now
                on_change(instance)

    def _summary(self, dag_id: str, run_id: str) -> str:
        return ", ".join(
            f"{t['task_id']}{'' if t['map_index'] < 0 else [t['map_index']]} {t['state']}"
            for t in self.task_instances(dag_id, run_id)
        )


def _database_was_locked(answer: httpx.Response) -> bool:
    """Tell whether SQLite, which has one writer at a time, gave up; nothing was changed then."""
    return answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR and "Database error" in answer.text


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _instance_path(dag_id: str, run_id: str, task_id: str, map_index: int | None = None) -> str:
    path = f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{task_id}"
    return path if map_index is None else f"{path}/{map_index}"


def _log_line(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    line = str(entry.get("event", ""))
    for error in entry.get("error_detail") or []:
        line += f"\n{error.get('exc_type')}: {error.get('exc_value')}"
    return line
