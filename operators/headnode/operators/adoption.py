"""A try that ended only because the cluster could not be asked leaves its job to the next one, which takes it over.

Airflow's task state store holds the task instances of such tries: it outlives retries and clears, where XComs do not.
It is there on workers only, so a task with ``start_from_trigger=True`` begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from airflow.sdk import Context

from headnode.triggers.outcome import Outcome, may_have_left_a_job

STATE_KEY: Final = "headnode_owners"


def owners_to_adopt(context: Context) -> list[str]:
    """Return the task instances of earlier tries whose job is to be taken over, if it still waits or runs."""
    ti: Any = context["ti"]
    if ti.try_number == 1:  # a clear counts as a try, too
        return []
    stored: Any = context["task_state_store"].get(STATE_KEY)
    return [str(owner) for owner in stored] if isinstance(stored, list) else []


def forget_owners(context: Context, owners: Sequence[str]) -> None:
    """Forget them, once they are handed to a trigger: who clears the task after that wants its job to begin anew."""
    if owners:
        context["task_state_store"].delete(STATE_KEY)


def leave_job_to_next_try(context: Context, outcome: Outcome, log: Any, *, starts_in_trigger: bool) -> None:
    """Note whose job the next try is to take over, where this one ended by a failure of the infrastructure."""
    if not may_have_left_a_job(outcome):
        return
    record = outcome["record"]
    job = f"job {record['job_id']}" if record else "its job, if there is one,"
    if starts_in_trigger:
        log.warning("%s is left on the cluster; the next try cancels it and begins anew", job)
        return
    context["task_state_store"].set(STATE_KEY, list(dict.fromkeys(outcome["owners"])))
    ti: Any = context["ti"]
    if ti.try_number <= ti.max_tries:
        log.warning("%s is left on the cluster; the next try goes on with it if its script is still the same", job)
    else:
        log.warning(
            "%s is left on the cluster, and no retry is left: clear the task to go on with it;"
            " triggerers cancel it when they have found it left for a while",
            job,
        )
