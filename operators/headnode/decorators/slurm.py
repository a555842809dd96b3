"""``@task.slurm``: a Python function that runs as a Slurm job.

Where no entry points exist (a deployment by folders), ``from headnode.decorators.slurm import slurm_task`` is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from airflow.sdk import Context
from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory

from headnode.cluster.functions import RUNNER_NAME
from headnode.decorators.function_files import check_function, context_arguments, function_files
from headnode.errors import JobSpecError
from headnode.operators.python_files import as_text, content_digest, interpreter_words
from headnode.operators.slurm_job import SlurmJobOperator
from headnode.templated import is_templated
from headnode.triggers.slurm_job import SlurmJobTrigger

# ``exec`` hands signals that warn of the job's end to Python itself; the first word, of which nothing is read, makes
# another script of each other function and each other arguments.
_RUN: Final = (
    'export PYTHONIOENCODING="${PYTHONIOENCODING:-utf-8}"; exec "$@" -u "$HEADNODE_DIRECTORY/' + RUNNER_NAME + '"'
)


class SlurmDecoratedOperator(DecoratedOperator, SlurmJobOperator):
    """Runs a function as a Slurm job; see ``slurm_task``."""

    template_fields: Sequence[str] = (*SlurmJobOperator.template_fields, "op_args", "op_kwargs", "python")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **SlurmJobOperator.template_fields_renderers,
        **DecoratedOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.slurm"

    def __init__(
        self, *, python_callable: Callable[..., Any], python: str | Sequence[str] = "python3", **kwargs: Any
    ) -> None:
        for name in ("command", "script", "start_from_trigger"):
            if kwargs.pop(name, None):
                problem = "is what the function is" if name != "start_from_trigger" else "is not for functions"
                raise JobSpecError(name, f"{problem}, and can't be given (task {kwargs.get('task_id')!r})")
        if kwargs.get("launch") is not None:
            problem = "starts a program many times, and a function runs once; give a program to SlurmJobOperator"
            raise JobSpecError("launch", f"{problem} (task {kwargs.get('task_id')!r})")
        check_function(python_callable)
        self.python = python if isinstance(python, str) else list(python)
        if not is_templated(self.python):
            interpreter_words(self.python)
        super().__init__(python_callable=python_callable, command=["the function's own"], **kwargs)

    def _trigger(self, context: Context, adopt_owners: list[str], *, takes_arguments: bool = False) -> SlurmJobTrigger:
        args, kwargs = list(self.op_args), dict(self.op_kwargs)
        kwargs |= context_arguments(self.python_callable, args, kwargs, context)
        files = function_files(self.python_callable, args, kwargs)
        digest = content_digest(files)
        self.command = [
            "/bin/sh",
            "-c",
            _RUN,
            f"{self.python_callable.__name__}-{digest}",
            *interpreter_words(self.python),
        ]
        trigger = super()._trigger(context, adopt_owners, takes_arguments=takes_arguments)
        trigger.files = {**(trigger.files or {}), **as_text(files)}
        return trigger


def slurm_task(
    python_callable: Callable[..., Any] | None = None,
    multiple_outputs: bool | None = None,  # noqa: FBT001 - as of Airflow's own decorators
    **kwargs: Any,
) -> TaskDecorator:
    """Let a function run as a Slurm job, on no worker.

    The function's source goes to the cluster without the DAG's file: it imports what it needs within itself, and gets
    values as arguments. These are pickled (up to 256 KiB) and may be templates and other tasks' outputs; arguments with
    the names of Airflow's own (``ds``, ``run_id``, ``params``, ``logical_date``, ...) are filled in. What it prints is
    in the task's log at once. What it returns comes back as JSON (up to 256 KiB), arrays of NumPy as lists: nothing
    that a cluster has pickled is read in Airflow, where it could run code. What it raises fails the task with its name,
    message and traceback.

    :param python_callable: the function
    :param multiple_outputs: whether a returned dict becomes one XCom for each key
    :param python: the interpreter on the cluster (3.6 or newer), ``python3`` by default; or a list of words that start
        one: ``["apptainer", "exec", "tools.sif", "python3"]``
    :param kwargs: what ``SlurmJobOperator`` takes but ``command``, ``script``, ``launch`` and ``start_from_trigger``;
        ``setup="module load python"`` prepares the interpreter, modules of ``code=`` can be imported

    Raises:
        JobSpecError: the function can't run on its own, or a field can't be right.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=SlurmDecoratedOperator,
        **kwargs,
    )
