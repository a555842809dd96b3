"""The progress of a DAG run in the terminal: a live table, or plain lines where the output is no terminal."""

from __future__ import annotations

import graphlib
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from demo.place import raise_if_interrupted
from headnode.testing.airflow import AirflowApiError, PrivateAirflow
from headnode.testing.airflow_api import ENDED_RUN_STATES, TaskInstance

POLL_SECONDS = 1.0
DETAIL_SECONDS = 3.0
NOT_FOUND = 404
WORKING = frozenset({"running", "deferred"})
# States of a moment, which a list of events can do without.
BETWEEN = frozenset({None, "scheduled", "queued"})
STYLES = {"success": "green", "failed": "bold red", "upstream_failed": "red", "deferred": "yellow", "running": "yellow"}
Key = tuple[str, int]


class RunProgress:
    """Follows one run to its end and shows each step's state, its Slurm job and the last line of its log."""

    def __init__(self, airflow: PrivateAirflow, dag_id: str, run_id: str, console: Console, *, started: float) -> None:
        self._airflow = airflow
        self._run = (dag_id, run_id)
        self._console = console
        self._started = started
        self._order = _task_order(airflow, dag_id)
        self._states: dict[Key, str | None] = {}
        self._printed: dict[Key, str] = {}
        self._jobs: dict[Key, str] = {}
        self._lines: dict[Key, str] = {}
        self._details_at = 0.0
        self._live = Live(console=console, transient=False, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def follow(self, *, timeout_seconds: float) -> str:
        """Show the run until it has ended, and give its state."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            raise_if_interrupted()
            state = self._airflow.run_state(*self._run)
            self._look(last=state in ENDED_RUN_STATES)
            if state in ENDED_RUN_STATES:
                return state
            if time.monotonic() > deadline:
                return f"still {state} after {timeout_seconds:g} s"
            time.sleep(POLL_SECONDS)

    def _look(self, *, last: bool) -> None:
        instances = sorted(self._airflow.task_instances(*self._run), key=self._place)
        due = last or time.monotonic() - self._details_at > DETAIL_SECONDS
        if due:
            self._details_at = time.monotonic()
        for instance in instances:
            # What has just ended is looked at once more, for the last word about its job.
            if self._states.get(_key(instance)) in WORKING and (due or instance["state"] not in WORKING):
                self._look_closer(instance)
        if self._live:
            self._live.update(self._table(instances), refresh=True)
        else:
            self._print_changes(instances)
        self._states = {_key(instance): instance["state"] for instance in instances}

    def _look_closer(self, instance: TaskInstance) -> None:
        """Fetch what is shown beside the state."""
        key = _key(instance)
        self._jobs.pop(key, None)
        record = self._record(instance)
        if record:
            reason = f" ({record['reason']})" if record.get("reason") not in (None, "None", "") else ""
            self._jobs[key] = f"{record['job_id']} {record['state']}{reason}"
        if self._live:
            self._lines[key] = self._last_line(instance)

    def _record(self, instance: TaskInstance) -> dict[str, Any]:
        try:
            return dict(self._airflow.xcom(*self._run, instance["task_id"], "slurm_job", instance["map_index"]))
        except AirflowApiError as error:
            if error.status != NOT_FOUND:
                raise
            return {}

    def _last_line(self, instance: TaskInstance) -> str:
        log = self._airflow.task_log(*self._run, instance["task_id"], instance["try_number"], instance["map_index"])
        lines = [line for line in log.splitlines() if line.strip() and not line.startswith("::")]
        return lines[-1] if lines else ""

    def _table(self, instances: list[TaskInstance]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name, ratio in (("step", None), ("state", None), ("time", None), ("Slurm job", None), ("last line", 1)):
            table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=ratio)
        for instance in instances:
            key, state = _key(instance), instance["state"] or "waiting"
            style = STYLES.get(state, "dim")
            line = self._lines.get(key, "") if state in WORKING else ""
            shown = f"[{style}]{state}[/]"
            table.add_row(_name(key), shown, _seconds(instance), self._jobs.get(key, ""), escape(line))
        return table

    def _print_changes(self, instances: list[TaskInstance]) -> None:
        for instance in instances:
            key = _key(instance)
            job = f", Slurm job {self._jobs[key]}" if key in self._jobs else ""
            text = f"{instance['state']}{job}"
            if instance["state"] not in BETWEEN and self._printed.get(key) != text:
                seconds = time.monotonic() - self._started
                self._console.print(f"{seconds:5.0f} s  {_name(key)}: {text}", markup=False, highlight=False)
                self._printed[key] = text

    def _place(self, instance: TaskInstance) -> tuple[int, str, int]:
        task_id, map_index = _key(instance)
        return self._order.get(task_id, len(self._order)), task_id, map_index


def _task_order(airflow: PrivateAirflow, dag_id: str) -> dict[str, int]:
    tasks = airflow.api("GET", f"/dags/{dag_id}/tasks")["tasks"]
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for task in tasks:
        sorter.add(task["task_id"])
        for downstream in task["downstream_task_ids"]:
            sorter.add(downstream, task["task_id"])
    return {task_id: place for place, task_id in enumerate(sorter.static_order())}


def _key(instance: TaskInstance) -> Key:
    return instance["task_id"], instance["map_index"]


def _name(key: Key) -> str:
    return key[0] if key[1] < 0 else f"{key[0]}[{key[1]}]"


def _seconds(instance: TaskInstance) -> str:
    return f"{instance['duration']:.0f} s" if instance.get("duration") else ""
