"""A function on its way to the cluster: its source, its arguments, and what runs around it there."""

import ast
import base64
import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path

import pendulum
import pytest
from airflow.sdk import Asset, task
from hypothesis import given
from hypothesis import strategies as st

from headnode.cluster.functions import RAISED, Raised, read_exception
from headnode.cluster.procedures import drive_sync
from headnode.decorators import run_function
from headnode.decorators.function_files import MAX_BYTES, check_function, context_arguments, function_files
from headnode.decorators.slurm import SlurmDecoratedOperator, slurm_task
from headnode.errors import JobSpecError
from headnode.operators.slurm_job import SlurmJobOperator
from headnode.slurm.policy import Resubmit
from headnode.ssh.port import Answer


def add(a, b=2, **more):
    """Add."""
    return {"sum": a + b, "more": more}


def echo(value):
    """Give back."""
    return value


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a function as a job would, and gives its result, its exception and its process."""

    def run_function(function, *args, **kwargs):
        for name, content in function_files(function, args, kwargs).items():
            (tmp_path / name).write_bytes(content)
        result = tmp_path / "result.json"
        result.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-u", tmp_path / "run_function.py"],
            env={"HEADNODE_RESULT": str(result), "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=False,
            timeout=60,
        )
        return json.loads(result.read_text()) if result.exists() else None, tmp_path / "exception.json", done

    return run_function


def test_arguments_and_result_pass_through(run):
    """Whatever texts hold."""
    hostile = "\"; touch /owned; $(x) `x` 'q' \\ \n* ~ é \0 {{ params.x }} %s {x}"
    result, left, done = run(add, [hostile], [1, {"a": None}], key=hostile)
    assert result == {"sum": [hostile, 1, {"a": None}], "more": {"key": hostile}}
    assert (done.returncode, left.exists()) == (0, False)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.tuples(inner)
    )
)
def test_any_plain_argument_is_read_as_it_was(value):
    """By pickle, which keeps tuples."""
    call = pickle.loads(function_files(echo, [value], {})["call.pickle"])  # noqa: S301 - made here
    assert call == {"name": "echo", "args": (value,), "kwargs": {}}


def nested():
    """Return a function inside a function, with lines that are indented less."""

    @slurm_task(
        slurm_conn_id="x",  # a comment with "quotes" and a ) in it
        env={
            "TEXT": """
)"""
        },
    )
    def inner(value: pendulum.DateTime, *, when: "NotThere" = None) -> "AlsoNot":  # noqa: F821
        """Give back."""
        text = f"""
  kept {value}"""
        return [text, when.isoformat() if when else None]

    return inner.function


def test_a_nested_function_keeps_its_texts_and_loses_its_decorator(run):
    """Neither its annotations nor what decorates it are there on the cluster."""
    result, _, done = run(nested(), "x", when=pendulum.datetime(2026, 11, 21, 6, tz="Europe/Berlin"))
    assert done.returncode == 0, done.stderr
    assert result == ["\n  kept x", "2026-11-21T06:00:00+01:00"]


def twice(function):
    """Call twice."""

    @wraps(function)
    def called(value):
        return function(function(value))

    return called


@task.slurm()
@twice
def decorated(value):
    """Keep the decorator below the task's own."""
    return value


def test_decorators_below_the_tasks_own_are_kept(run):
    """They are the function's; that they must be importable there, the exception says."""
    _, left, done = run(decorated.function, 1)
    assert done.returncode == RAISED
    told = json.loads(left.read_text())
    assert told["type"] == "NameError"
    assert "name 'twice' is not defined (the function runs without the DAG's file" in told["message"]


def fails(text):
    """Raise, from another exception."""
    print("printed before")  # noqa: T201 - a job's output
    try:
        {}[text]
    except KeyError as error:
        raise ValueError(f"no ü {text}") from error


def test_an_exception_is_left_with_its_traceback(run):
    """Type, message, and the lines of the function, not of what runs around it."""
    result, left, done = run(fails, "a\nb")
    told = json.loads(left.read_text())
    assert (result, done.returncode) == (None, RAISED)
    assert (told["type"], told["message"]) == ("ValueError", "no ü a\nb")
    assert 'function.py", line 5, in fails\n    {}[text]' in told["traceback"]
    assert "The above exception was the direct cause" in told["traceback"]
    assert "run_function.py" not in told["traceback"]
    assert done.stderr.decode() == told["traceback"]
    assert done.stdout == b"printed before\n"


def deep():
    """Raise with a very long message and traceback."""

    def sink(depth):
        return sink(depth - 1) if depth else [0][len("x" * 10)]

    try:
        sink(300)
    except IndexError as error:
        raise RuntimeError("x" * 100_000) from error


def test_very_long_exceptions_are_bounded(run):
    """So that they fit into what Airflow stores."""
    _, left, _ = run(deep)
    assert len(left.read_text()) < 20_000
    assert "[...]" in json.loads(left.read_text())["traceback"]


def stops(code):
    """End the process."""
    raise SystemExit(code)


def test_an_exit_is_an_exit_and_no_exception(run):
    """The function's own exit code is the job's: 75 asks to go on from a checkpoint."""
    _, left, done = run(stops, 75)
    assert (done.returncode, left.exists()) == (75, False)


def gives_arrays():
    """Return what has a ``tolist``."""
    import array  # noqa: PLC0415 - as functions on a cluster must

    return {"numbers": array.array("i", [1, 2])}


def gives_sets():
    """Return what JSON has no word for."""
    return {1, 2}


def test_results_are_json(run):
    """Arrays become lists; what has no place in JSON fails with the remedy."""
    assert run(gives_arrays)[0] == {"numbers": [1, 2]}
    _, left, done = run(gives_sets)
    assert done.returncode == RAISED
    assert "returned a set that can't be written as JSON" in json.loads(left.read_text())["message"]


def test_arguments_that_cannot_be_read_there_say_so(run, tmp_path, monkeypatch):
    """A type of a module that only the worker has."""
    (tmp_path / "only_here.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # noqa: PLC0415 - made above

    value = only_here.Thing()
    function_files(echo, [value], {})
    (tmp_path / "only_here.py").unlink()
    _, left, _ = run(echo, value)
    message = json.loads(left.read_text())["message"]
    assert "the arguments can't be read by" in message
    assert "No module named 'only_here'" in message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Asset("x://y"), "value: 'Asset' is defined in airflow.*which is not on the cluster; pass plain data"),
        ({"deep": [Asset("x://y")]}, "value: 'Asset' is defined in"),
        (lambda: 1, "value: a function can't be sent to the cluster"),
        ("x" * (MAX_BYTES + 1), "op_kwargs: the arguments of 'echo' are .* bytes long.*UploadOperator"),
    ],
)
def test_arguments_that_cannot_travel_are_refused(value, message):
    """By name, on the worker."""
    with pytest.raises(JobSpecError, match=message):
        function_files(echo, [value], {})


def yields():
    """Yield."""
    yield 1


async def waits():
    """Wait."""


def uses_what_is_around():
    """Return a function that can't go alone."""
    around = 5

    def inner():
        return around

    return inner


def asks_for_ti(ti):
    """Ask for what can't go."""
    return ti


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (yields, "'yields' yields; only plain functions"),
        (waits, "'waits' is async"),
        (lambda: 1, "must be a function made with def"),
        (print, "'print' must be a function made with def"),
        (uses_what_is_around(), r"uses variables of the function around it \(around\); pass them as arguments"),
        (asks_for_ti, "asks for 'ti', which lives in Airflow"),
    ],
)
def test_functions_that_cannot_go_alone_are_refused_when_the_dag_is_parsed(function, message):
    """With what to do."""
    with pytest.raises(JobSpecError, match=message):
        check_function(function)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"command": "true"}, "command: is what the function is"),
        ({"script": "true"}, "script: is what the function is"),
        ({"start_from_trigger": True}, "start_from_trigger: is not for functions"),
        ({"python": []}, "python: .* must be a program"),
        ({"memory": "much"}, "memory: 'much' is no memory size"),
        ({"on_timeout": Resubmit(), "time_limit": "1"}, "signal_seconds"),
    ],
)
def test_fields_that_cannot_be_right_are_refused_when_the_dag_is_parsed(given, message):
    """By the operator's own checks."""
    with pytest.raises(JobSpecError, match=message):
        SlurmDecoratedOperator(task_id="t", python_callable=echo, op_args=[1], **given)


def test_the_operator_renders_arguments_and_the_jobs_fields():
    """All that SlurmJobOperator renders, and what is the function's."""
    fields = set(SlurmDecoratedOperator.template_fields) - set(SlurmJobOperator.template_fields)
    assert fields == {"op_args", "op_kwargs", "python"}
    assert SlurmDecoratedOperator.custom_operator_name == "@task.slurm"


def wants(run_id, params, logical_date=None, x=1):
    """Ask Airflow for values."""
    return run_id, params, logical_date, x


def test_airflows_own_values_are_filled_in_where_they_are_asked_for():
    """Those that were given are left alone."""
    at = datetime(2026, 11, 21, tzinfo=UTC)
    context = {"run_id": "r", "params": {"a": 1}, "logical_date": at, "ti": object()}
    assert context_arguments(wants, [], {}, context) == {"run_id": "r", "params": {"a": 1}, "logical_date": at}
    assert context_arguments(wants, ["given"], {"params": {}}, context) == {"logical_date": at}


def test_what_runs_on_the_cluster_is_written_for_old_pythons():
    """Clusters have Python 3.6; and it needs nothing beside the standard library."""
    tree = ast.parse(Path(run_function.__file__).read_text(encoding="utf-8"), feature_version=(3, 6))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names | {"__future__"}
    assert run_function.RAISED == RAISED


@pytest.mark.parametrize(
    ("left", "found"),
    [
        (b"", None),
        (b"{}", None),
        (b"no JSON \xff", None),
        (b"[" * 100_000, None),
        (b'["no"]', None),
        (b'{"type": 1, "message": "", "traceback": ""}', None),
        (b'{"type": "E", "message": "m", "traceback": "t"}', Raised(type_name="E", message="m", traceback="t")),
    ],
)
def test_exceptions_are_read_back_with_care(left, found):
    """The job's directory is the job's: anything may be in it."""

    def answer(command):
        assert b"exception.json" in command.stdin
        text = f"headnode:begin\n{base64.b64encode(left).decode()}\nheadnode:end:0\n"
        return Answer(stdout=text.encode(), stderr=b"", exit_status=0)

    assert drive_sync(read_exception("/jobs/1"), answer) == found
