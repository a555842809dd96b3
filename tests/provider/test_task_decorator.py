"""``@task.slurm``: functions that run as jobs, and jobs that tasks submit by the hook."""

import re
from pathlib import Path

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

ROOT = Path(__file__).parents[2]
HOSTILE = "\"; touch {place}; $(touch {place}) `touch {place}` 'q' \\ \n* ~ é 日本"


@pytest.fixture(scope="module")
def note(tmp_path_factory):
    """Return a text that does harm where it is not quoted, and the file that would show it."""
    harm = tmp_path_factory.mktemp("harm") / "owned"
    return HOSTILE.format(place=harm), harm


@pytest.fixture(scope="module")
def functions(start, note):
    """Return a run of ``functions`` that has ended, and beside it one of the example."""
    example = start("monte_carlo", samples=1000)
    run = start("functions", note=note[0])
    assert run.wait() == "failed"  # one of its tasks must fail
    assert example.wait() == "success"
    return run, example


def test_all_end_as_they_should(functions):
    """Only the function fails that raises."""
    states = functions[0].states()
    assert {task_id for task_id, state in states.items() if state != "success"} == {"fails"}


def test_arguments_arrive_as_they_are(functions, note):
    """Literals, templates, tuples, and Airflow's own; the result comes back as JSON."""
    run = functions[0]
    text, harm = note
    hostile = HOSTILE.format(place="/tmp/owned")  # noqa: S108 - nothing is to be there
    given = [text, hostile, True, run.run_id, text, f"it's {text}", "it is", "__main__"]
    assert run.xcom("arguments") == given
    assert not harm.exists()
    assert not Path("/tmp/owned").exists()  # noqa: S108


def test_what_a_function_prints_is_in_the_log(functions):
    """As with any job; the script does not show the arguments."""
    log = functions[0].log("arguments")
    assert "| the function says é" in log
    assert "run_function.py" in log


def test_an_exception_comes_back_with_its_traceback(functions):
    """Its name, its message and its lines, in the task's error and in the log; the exit code is its own."""
    run = functions[0]
    log = run.log("fails")
    failed = log[log.index("JobFailed: ") :]
    assert "with exit code 70" in failed
    assert "its function raised ValueError: no use for " in failed
    assert 'raise ValueError(f"no use for {value}")' in failed
    assert re.search(r'function.py", line [0-9]+, in deeper\n', failed)
    assert "! Traceback (most recent call last):" in log
    assert "run_function.py" not in failed
    assert run.record("fails")["exit_code"] == 70


def test_functions_can_be_mapped_and_take_other_tasks_results(functions):
    """``partial``, ``expand``, ``multiple_outputs`` and references to XComs."""
    run = functions[0]
    assert [run.xcom("double", map_index=at) for at in range(3)] == [3, 5, 7]
    assert run.xcom("parts") == {"least": 3, "sum": 15}
    assert (run.xcom("parts", "least"), run.xcom("parts", "sum")) == (3, 15)
    assert run.xcom("add") == 18


def test_code_and_interpreter_can_be_chosen(functions):
    """The function imports from the folder beside the DAG's file."""
    assert functions[0].xcom("with_code") == "words"


def test_the_example_of_the_documentation(functions):
    """The text shows this very file, and it runs."""
    _, _, example = (ROOT / "tests/provider/dags/monte_carlo.py").read_text().partition("\n\n")
    assert f"```python\n{example}```\n" in (ROOT / "docs/python.md").read_text()
    assert 2.5 < functions[1].xcom("pi") < 3.8
    assert "points are inside" in functions[1].log("count", map_index=1)


def test_a_task_submits_by_the_hook(functions, sacct):
    """A retry begins anew and leaves nothing running; a key finds its job; a handle goes to another task."""
    run = functions[0]
    told = run.xcom("by_hook")
    assert told["results"] == [7, 8]
    assert run.xcom("look") == 7
    states = [job["State"].split()[0] for job in sacct("JobID", "State", name="functions.by_hook")]
    assert states == ["CANCELLED", "COMPLETED"]
    log = run.log("by_hook", try_number=2)
    assert f"job {told['job']['job_id']} submitted on 127.0.0.1" in log
    assert re.search(r"job [0-9]+ found again on 127.0.0.1", log)
    assert re.search(r"waiting: job [0-9]+ of an earlier try is cancelled and has still to end", log)
