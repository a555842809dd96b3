"""Names of directories on the cluster: safe for any dag, run and task, and different for different tasks."""

import re
import subprocess

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headnode.cluster.place import JobPlace
from headnode.slurm.record import Labels

identifiers = st.text(st.characters(exclude_categories=("Cs",)), max_size=250)
labels = st.builds(
    Labels, dag_id=identifiers, run_id=identifiers, task_id=identifiers, map_index=st.integers(-1, 10**6)
)


def place(of: Labels, **changes) -> JobPlace:
    """Return the place of a task's first submission."""
    fields = {"work_directory": "~/.headnode", "deployment_id": "d-1", "owner": "0198-uuid", **changes}
    return JobPlace(labels=of, **fields)


@given(labels)
def test_names_are_safe(of: Labels):
    """One component of a path, of plain characters, that neither hides nor looks like an option, within NAME_MAX."""
    name = place(of).task_name
    assert re.fullmatch(r"[A-Za-z0-9._-]{17,255}", name)
    assert not name.startswith((".", "-"))


@given(labels, labels)
def test_different_tasks_have_different_names(one: Labels, other: Labels):
    """Whatever is cut or replaced for readability."""
    assume(one != other)
    assert place(one).task_name != place(other).task_name


@given(labels, st.integers(1, 99))
def test_all_tries_of_a_task_share_a_name(of: Labels, try_number: int):
    """The try is told apart by its key below the task's directory."""
    again = of.model_copy(update={"try_number": try_number})
    assert place(of).task_name == place(again, owner="other", number=2).task_name


def test_names_can_be_read():
    """By people who look for their task."""
    of = Labels(dag_id="land cover", run_id="r", task_id="train", map_index=3)
    assert re.fullmatch(r"land_cover\.train\.3\.[0-9a-f]{16}", place(of).task_name)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "$(id)", "a\n", "x" * 65, "'", "ü"])
def test_ids_that_would_lead_elsewhere_are_refused(name: str):
    """They come from settings and from Airflow's database, and go into paths."""
    of = Labels(dag_id="d", run_id="r", task_id="t")
    for field in ("deployment_id", "owner"):
        with pytest.raises(ValueError, match="letters, digits and dashes"):
            place(of, **{field: name})


@given(of=labels, directory=st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40))
@settings(max_examples=40, deadline=None)
def test_variables_hold_what_was_given(of: Labels, directory: str):
    """In bash, for any work directory."""
    here = place(of, work_directory=f"/{directory}")
    body = here.shell_variables() + '\nprintf "%s\\0" "$root" "$task" "$job" "$key" "$owner"'
    done = subprocess.run(["bash", "-s"], input=body.encode(), capture_output=True, check=True, timeout=30)
    root = f"/{directory}/d-1"
    task = f"{root}/tasks/{here.task_name}"
    expected = [root, task, f"{task}/{here.key}", here.key, "0198-uuid"]
    assert done.stdout.decode().split("\0")[:-1] == expected
    assert done.stderr == b""


def test_a_tilde_is_the_home_of_the_login():
    """Not of the user who runs Airflow."""
    here = place(Labels(dag_id="d", run_id="r", task_id="t"), work_directory="~/my jobs")
    body = here.shell_variables() + '\nprintf %s "$root"'
    done = subprocess.run(
        ["bash", "-s"], input=body.encode(), capture_output=True, check=True, timeout=30, env={"HOME": "/home/me"}
    )
    assert done.stdout == b"/home/me/my jobs/d-1"
