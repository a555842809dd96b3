"""Whether a task may be ended by its trigger, without a worker again: only where nothing would be lost by it.

What ``TaskSuccessEvent`` leaves out was tried with Airflow 3.3: outlets make no asset events, success callbacks and
post_execute do not run, listeners on workers hear nothing, XCom backends and mapped lengths are passed by.
"""

from __future__ import annotations

from typing import Final

from airflow.sdk import BaseOperator
from airflow.sdk.configuration import conf
from airflow.sdk.listener import get_listener_manager

_DEFAULT_XCOM_BACKENDS: Final = frozenset(
    {"airflow.sdk.bases.xcom.BaseXCom", "airflow.sdk.execution_time.xcom.BaseXCom", "airflow.models.xcom.BaseXCom"}
)


def nothing_is_lost_in_trigger(task: BaseOperator) -> bool:
    """Return whether success in the trigger does all that success on a worker would do."""
    own_post_execute = type(task).post_execute is not BaseOperator.post_execute or task._post_execute_hook  # noqa: SLF001
    backend = conf.get("core", "xcom_backend", fallback="airflow.sdk.bases.xcom.BaseXCom")
    return not (
        task.outlets
        or task.on_success_callback
        or own_post_execute
        or task.multiple_outputs
        or next(task.iter_mapped_dependants(), None) is not None
        or backend not in _DEFAULT_XCOM_BACKENDS
        or get_listener_manager().has_listeners
    )
