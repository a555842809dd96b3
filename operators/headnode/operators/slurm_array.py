"""``SlurmArrayOperator``: one Airflow task, thousands of elements, a state and a result for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

import jinja2
from airflow.sdk import Context
from airflow.triggers.base import StartTriggerArgs

from headnode.errors import JobSpecError
from headnode.operators.adoption import leave_job_to_next_try
from headnode.operators.slurm_job import SlurmJobOperator
from headnode.slurm.element_arguments import pack_lines, parse_arguments
from headnode.slurm.elements import parse_array
from headnode.templated import is_templated
from headnode.triggers.array_preparation import ArrayFields, array_trigger, check_array
from headnode.triggers.outcome import Outcome, error_in, to_airflow
from headnode.triggers.slurm_array import SlurmArrayTrigger

_MAX_RETRIES: Final = 100
# Arguments of a task that starts in the triggerer are stored with the DAG, each time that it is parsed.
_MAX_PACKED_IN_DAG: Final = 64 * 1024
_LOGGED = Literal["failed", "all", "none"]


class SlurmArrayOperator(SlurmJobOperator):
    """Runs a command once for each element of an array, as Slurm array jobs on the cluster behind a connection.

    Each element finds its number in ``$HEADNODE_ELEMENT``, from 0 (with ``array=``, the number given there). An array
    that is larger than the site's MaxArraySize runs as several array jobs; ``SLURM_ARRAY_TASK_ID`` begins anew in each.
    The XCom ``return_value`` is the list of what the elements wrote as JSON to ``$HEADNODE_RESULT`` (256 KiB in all),
    in the order of the elements; None for those that wrote nothing or failed.

    :param arguments: one entry for each element: a text, a number, or a list of them; a list, another task's output, or
        a template that renders to a list. They are added to a ``command`` that is a list; a text and a ``script`` have
        them as ``"$@"``. At most 2 MiB in all; only what has ``{{`` in it somewhere is rendered
    :param array: in place of ``arguments``, the elements' numbers in sbatch's notation: ``0-999%50``, ``1,3,5-8``
    :param max_running: how many elements may run at the same time; also the ``%50`` of ``array``
    :param element_retries: how often an element that failed (or was cancelled) runs again, within the same try
    :param min_success_fraction: the task succeeds when this part of the elements ended well, 0 to 1
    :param log_elements: whose logs are shown in the task's log: the last lines of up to 10 ``failed`` ones, ``all``
        (the last 16 KiB of each, 4 MiB together), or ``none``
    :param job: everything that ``SlurmJobOperator`` takes, but ``components`` and an option ``array``. After an end
        that ``on_out_of_memory``, ``on_timeout`` or ``on_node_fail`` is for, the elements that ended so run again, and
        more memory is for all that run again later; which node failed is not known of elements, so none is excluded.
        Checkpoints belong into ``$HEADNODE_CHECKPOINT/$HEADNODE_ELEMENT``

    Where an outage outlasts ``outage_tolerance``, the next try cancels the array and begins anew.
    """

    template_fields: Sequence[str] = (*SlurmJobOperator.template_fields, "arguments", "array")

    def __init__(
        self,
        *,
        arguments: Any = None,
        array: str | None = None,
        max_running: int | None = None,
        element_retries: int = 0,
        min_success_fraction: float = 1.0,
        log_elements: _LOGGED = "failed",
        **job: Any,
    ) -> None:
        self.arguments = arguments
        self.array = array
        self.max_running = max_running
        self.element_retries = element_retries
        self.min_success_fraction = min_success_fraction
        self.log_elements = log_elements
        super().__init__(**job)

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render as ever, but leave a list without templates as it is: each of its texts would be compiled."""
        if isinstance(content, list | tuple) and content is self.arguments and not is_templated(content):
            return content
        return super().render_template(content, context, jinja_env, seen_oids)

    def resume(self, context: Context, event: Outcome) -> Any:
        """Return the elements' results, or raise what went wrong.

        Raises:
            HeadnodeError: too many elements failed, or following them did.
            AirflowFailException: it failed so that a retry can't help.
        """
        if event["status"] == "success":
            return event["result"]
        if event["record"] is not None:  # else nothing was submitted
            leave_job_to_next_try(context, event, self.log, starts_in_trigger=True)
        raise to_airflow(error_in(event), name=event["error"])

    def _check_literals(self) -> frozenset[str]:
        templated = super()._check_literals()
        try:
            self._check_numbers()
            if self.arguments is not None and not is_templated(self.arguments):
                parse_arguments(self.arguments)
            if self.array is not None and not is_templated(self.array):
                parse_array(self.array)
            check_array({"components": self.components, "sbatch_options": self.sbatch_options})
        except JobSpecError as error:
            raise JobSpecError(error.field, f"{error.problem} (task {self.task_id!r})") from error
        return templated

    def _check_numbers(self) -> None:
        if (self.arguments is None) == (self.array is None):
            given = "neither" if self.array is None else "both"
            raise JobSpecError("arguments", f"give exactly one of arguments= and array=, not {given}")
        for name, least, most in (("max_running", 1, 10**6), ("element_retries", 0, _MAX_RETRIES)):
            value = getattr(self, name)
            if value is None and name == "max_running":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise JobSpecError(name, f"{value!r} must be a whole number from {least} to {most}")
        fraction: Any = self.min_success_fraction
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction <= 1:
            raise JobSpecError("min_success_fraction", f"{fraction!r} must be a number from 0 to 1")
        if self.log_elements not in get_args(_LOGGED):
            raise JobSpecError("log_elements", f"{self.log_elements!r} must be 'failed', 'all' or 'none'")

    def _array_fields(self) -> ArrayFields:
        """Return what is the array's own, rendered and packed."""
        lines = parse_arguments(self.arguments) if self.arguments is not None else None
        return ArrayFields(
            array=f"0-{len(lines) - 1}" if lines is not None else str(self.array),
            arguments=pack_lines(lines) if lines is not None else None,
            max_running=self.max_running,
            element_retries=self.element_retries,
            min_success_fraction=self.min_success_fraction,
            log_elements=self.log_elements,
            uses_index="SLURM_ARRAY_TASK_ID"
            in repr((self.command, self.script, self.setup, self.env, self.environment)),
        )

    def _trigger(
        self, context: Context, adopt_owners: list[str], *, takes_arguments: bool = False
    ) -> SlurmArrayTrigger:
        fields = self._array_fields()
        job = super()._trigger(context, adopt_owners, takes_arguments=takes_arguments or fields.arguments is not None)
        return array_trigger(job, fields)

    def _start_in_triggerer(self) -> None:
        super()._start_in_triggerer()
        if is_templated(self.arguments) or is_templated(self.array):
            name = "arguments" if is_templated(self.arguments) else "array"
            raise JobSpecError("start_from_trigger", f"needs {name} that are plain data (task {self.task_id!r})")
        fields = self._array_fields()
        if len(fields.arguments or "") > _MAX_PACKED_IN_DAG:
            raise JobSpecError(
                "start_from_trigger",
                f"can't be used with so many arguments, which would be stored with the DAG (task {self.task_id!r})",
            )
        args = self.start_trigger_args
        assert args is not None  # noqa: S101 - set by the base class
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="headnode.triggers.slurm_array_start.SlurmArrayStartTrigger",
            trigger_kwargs={**(args.trigger_kwargs or {}), "array_fields": fields.to_json()},
            next_method=args.next_method,
            timeout=args.timeout,
        )
