"""A function and its arguments as files that go with a job."""

from __future__ import annotations

import ast
import inspect
import io
import pickle
import types
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS
from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

from headnode.cluster.functions import CALL_NAME, RUNNER_NAME, SOURCE_NAME
from headnode.errors import JobSpecError

MAX_BYTES: Final = 256 * 1024
# Python 3.4 and later read it.
_PROTOCOL: Final = 4
# Airflow loads DAG files as modules whose names begin so.
_DAG_MODULES: Final = "unusual_prefix_"
_NOT_THERE: Final = frozenset({"__main__", "airflow", "headnode"})
_DECORATORS: Final = frozenset({"slurm", "slurm_task"})
#: What a function may ask for by the name of an argument, as with other task decorators.
_TEXTS: Final = frozenset(
    {"ds", "ds_nodash", "run_id", "task_instance_key_str", "ts", "ts_nodash", "ts_nodash_with_tz"}
)
_TIMES: Final = frozenset(
    {
        "data_interval_end",
        "data_interval_start",
        "logical_date",
        "partition_date",
        "prev_data_interval_end_success",
        "prev_data_interval_start_success",
        "prev_end_date_success",
        "prev_start_date_success",
    }
)
_SENT: Final = _TEXTS | _TIMES | {"params", "partition_key"}


def check_function(function: Callable[..., Any]) -> None:
    """Refuse what can't run on its own in another Python.

    Raises:
        JobSpecError: it is no plain function, or uses what is around it.
    """
    name = getattr(function, "__name__", repr(function))
    if not isinstance(function, types.FunctionType) or name == "<lambda>":
        raise JobSpecError("python_callable", f"{name!r} must be a function made with def")
    plain: Any = inspect.unwrap(function)
    for test, what in (
        (inspect.isgeneratorfunction, "yields"),
        (inspect.iscoroutinefunction, "is async"),
        (inspect.isasyncgenfunction, "is async"),
    ):
        if test(plain):
            raise JobSpecError("python_callable", f"{name!r} {what}; only plain functions can run as jobs")
    if plain.__code__.co_freevars:
        around = ", ".join(plain.__code__.co_freevars)
        raise JobSpecError(
            "python_callable", f"{name!r} uses variables of the function around it ({around}); pass them as arguments"
        )
    for wanted in sorted(KNOWN_CONTEXT_KEYS & set(inspect.signature(function).parameters) - _SENT):
        raise JobSpecError(
            "python_callable", f"{name!r} asks for {wanted!r}, which lives in Airflow and can't go to the cluster"
        )


def function_source(function: Callable[..., Any]) -> str:
    """Return the function's source without the task decorator and those above it.

    Lines keep their indentation, so that texts over several lines keep theirs.

    Raises:
        JobSpecError: the source can't be had.
    """
    name = getattr(function, "__name__", repr(function))
    try:
        lines = inspect.getsource(inspect.unwrap(function)).splitlines(keepends=True)
        indented = lines[0][:1].isspace()
        source = ("if True:\n" if indented else "") + "".join(lines)
        body: Any = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError) as error:
        raise JobSpecError("python_callable", f"the source of {name!r} can't be read: {error}") from error
    definition = body.body[0] if indented else body
    if not isinstance(definition, ast.FunctionDef):
        raise JobSpecError("python_callable", f"{name!r} must be a function made with def")
    kept = _kept_decorators(definition.decorator_list)
    first = min([definition.lineno, *(each.lineno for each in kept)])
    return "".join((["if True:\n"] if indented else []) + source.splitlines(keepends=True)[first - 1 :])


def _kept_decorators(decorators: Sequence[ast.expr]) -> Sequence[ast.expr]:
    """Return those that the function had when it was given to the task decorator, which is known by its name."""
    for at, decorator in reversed(list(enumerate(decorators))):
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        if name in _DECORATORS:
            return decorators[at + 1 :]
    return []


def context_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], context: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments that Airflow itself has values for (``ds``, ``params``, ...) and that were not given."""
    signature = inspect.signature(function)
    given = signature.bind_partial(*args, **kwargs).arguments
    wanted = [name for name in signature.parameters if name in _SENT and name not in given]
    found = {name: context.get(name) for name in wanted}
    return {name: dict(value) if name == "params" and value is not None else value for name, value in found.items()}


def function_files(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files that go with the job, by their names.

    Raises:
        JobSpecError: the source can't be had, or an argument can't travel.
    """
    source = function_source(function)
    packed = _pickle_call(function, args, kwargs)
    for field, content in (("python_callable", source.encode()), ("op_kwargs", packed)):
        if len(content) > MAX_BYTES:
            what = "source" if field == "python_callable" else "arguments"
            raise JobSpecError(
                field,
                f"the {what} of {function.__name__!r} are {len(content)} bytes long, and more than {MAX_BYTES} don't"
                " travel with a job: put a file on the cluster (UploadOperator) and pass its path, or use code=",
            )
    runner = Path(__file__).with_name(RUNNER_NAME).read_bytes()
    return {RUNNER_NAME: runner, SOURCE_NAME: source.encode(), CALL_NAME: packed}


def _pickle_call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    names = list(inspect.signature(function).parameters)
    for at, value in enumerate(args):
        _dumps(value, names[at] if at < len(names) else f"argument {at + 1}")
    for name, value in kwargs.items():
        _dumps(value, name)
    call = {"name": function.__name__, "args": tuple(args), "kwargs": dict(kwargs)}
    return _dumps(call, "op_kwargs")


def _dumps(value: Any, name: str) -> bytes:
    packed = io.BytesIO()
    try:
        _Pickler(packed, name=name).dump(_portable(value))
    except JobSpecError:
        raise
    except Exception as error:
        raise JobSpecError(name, f"a {type(value).__name__} can't be sent to the cluster: {error}") from error
    return packed.getvalue()


class _Pickler(pickle.Pickler):
    """Refuses what the other end could not read for certain: what belongs to Airflow or to the DAG's file."""

    def __init__(self, file: io.BytesIO, *, name: str) -> None:
        super().__init__(file, protocol=_PROTOCOL)
        self._name = name

    def persistent_id(self, pickled: Any) -> None:
        """Check each object on its way; Python calls it for all of them."""
        kind = pickled if isinstance(pickled, type | types.FunctionType) else type(pickled)
        module = str(getattr(kind, "__module__", ""))
        if module.startswith(_DAG_MODULES) or module.partition(".")[0] in _NOT_THERE:
            raise JobSpecError(
                self._name,
                f"{kind.__qualname__!r} is defined in {module}, which is not on the cluster; pass plain data",
            )


def _portable(value: Any) -> Any:
    """Return the value without what Airflow has put around it."""
    if type(value) is dict:
        return {key: _portable(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_portable(each) for each in value)
    if isinstance(value, LazyXComSequence):
        return [_portable(each) for each in value]
    if isinstance(value, datetime) and type(value).__module__.startswith("pendulum"):
        offset = value.utcoffset()
        zone = timezone(offset) if offset is not None else None
        return datetime.combine(value.date(), value.time()).replace(tzinfo=zone)
    if type(value).__module__.startswith("lazy_object_proxy"):
        return _portable(value.__wrapped__)
    return value
