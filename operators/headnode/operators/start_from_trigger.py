"""What a task would lose if it started in the triggerer: refused when the DAG is parsed, each with the reason.

Each line was tried with Airflow 3.3: such a task is not rendered on a worker, knows no pools, runs no callbacks of
success and makes no asset events; ``xcom_pull`` in a template hangs for ever, without a word in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.xcom_arg import XComArg
from jinja2 import Environment, TemplateSyntaxError, meta

from headnode.errors import JobSpecError
from headnode.operators.site_fields import reads_files

_DEFAULT_POOL = "default_pool"


def refuse_what_would_be_lost(task: BaseOperator, fields: Mapping[str, Any], *, code: str | None) -> None:
    """Refuse the first thing that ``start_from_trigger=True`` would lose.

    Raises:
        JobSpecError: there is such a thing; the message names it.
    """
    for present, what in _losses(task, fields, code):
        if present:
            raise JobSpecError("start_from_trigger", f"can't be used here, {what}; leave it out")


def _losses(task: BaseOperator, fields: Mapping[str, Any], code: str | None) -> Iterator[tuple[bool, str]]:
    dag = task._dag  # noqa: SLF001 - reading `dag` raises where none is set yet
    macros = set(getattr(dag, "user_defined_macros", None) or {})
    texts = [text for value in fields.values() for text in _texts(value)]
    yield code is not None, "code= is read beside the DAG file, which a triggerer does not have"
    dag_file = dag.fileloc if dag is not None else None
    yield reads_files(fields["environment"], dag_file), "environment= reads files, which a triggerer does not have"
    yield bool(task.outlets), "outlets would make no asset event"
    yield bool(task.on_success_callback or task.on_execute_callback), "success and execute callbacks would not run"
    yield bool(task._pre_execute_hook or task._post_execute_hook), "pre_execute and post_execute would not run"  # noqa: SLF001
    yield task.pool not in (None, _DEFAULT_POOL), f"the pool {task.pool!r} would be ignored"
    yield task.max_active_tis_per_dag is not None, "max_active_tis_per_dag would be ignored"
    yield task.max_active_tis_per_dagrun is not None, "max_active_tis_per_dagrun would be ignored"
    yield bool(getattr(dag, "render_template_as_native_obj", False)), "templates would render to text, not to objects"
    yield any(_holds_xcomarg(value) for value in fields.values()), "another task's output would arrive unresolved"
    yield any("xcom_pull" in text for text in texts), "xcom_pull in a template would hang for ever"
    used = set().union(*(_names(text) for text in texts)) & macros
    yield bool(used), f"the DAG's own macros ({', '.join(sorted(used))}) would not be known"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _holds_xcomarg(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_xcomarg(part) for part in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_xcomarg(part) for part in value)
    return isinstance(value, XComArg)


def _names(template: str) -> set[str]:
    try:
        return meta.find_undeclared_variables(Environment(autoescape=True).parse(template))
    except TemplateSyntaxError as error:
        raise JobSpecError("start_from_trigger", f"the template {template!r} can't be read: {error}") from error
