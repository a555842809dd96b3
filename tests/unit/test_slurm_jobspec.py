"""A job description: whatever can't be right is refused by the name of its field."""

import unicodedata
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import JobSpecError
from headnode.slurm.jobspec import OWNED_OPTIONS, JobSpec, parse_jobspec


def spec(**fields: Any) -> JobSpec:
    """Return the description of a job that says hello, changed by ``fields``."""
    return parse_jobspec({"job_name": "hello", "command": ["echo", "hello"], **fields})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("job_name", "two\nlines"),
        ("job_name", "carriage\rreturn"),
        ("job_name", "null\0byte"),
        ("job_name", "line\u2028separator"),
        ("job_name", "next\x85line"),
        ("job_name", ""),
        ("job_name", "   "),
        ("job_name", "x" * 201),
        ("job_name", 7),
        ("job_name", "half a character \ud800"),
        ("time_limit", "soon"),
        ("time_limit", "0"),
        ("time_limit", timedelta(0)),
        ("time_limit", timedelta(seconds=-1)),
        ("time_limit", 60),
        ("partition", "two words"),
        ("partition", "batch\n#SBATCH --account=theirs"),
        ("partition", ""),
        ("account", " padded"),
        ("qos", "tab\there"),
        ("nodes", 0),
        ("nodes", -1),
        ("nodes", "two"),
        ("nodes", 1.5),
        ("nodes", True),
        ("nodes", "1-4"),
        ("ntasks", "0"),
        ("ntasks_per_node", "1e3"),
        ("cpus_per_task", "4 5"),
        ("gpus_per_node", -1),
        ("gpus_per_node", "a100:2"),
        ("memory", "8 G"),
        ("memory", "8GB"),
        ("memory", "-1G"),
        ("memory", "1.5G"),
        ("memory", ""),
        ("memory", 8),
        ("memory", "٣G"),
        ("env", {"1X": "digit first"}),
        ("env", {"A B": "blank"}),
        ("env", {"": "nothing"}),
        ("env", {"A;rm -rf /": "shell"}),
        ("env", {"A": None}),
        ("env", {"A": ["list"]}),
        ("env", {"A": "null\0byte"}),
        ("env", {7: "number"}),
        ("env", "A=1"),
        ("command", []),
        ("command", ""),
        ("command", ["echo", 7]),
        ("command", ["echo", "null\0byte"]),
        ("command", "echo null\0byte"),
        ("setup", "echo null\0byte"),
        ("sbatch_options", ["constraint"]),
        ("sbatch_options", {"--constraint": "x"}),
        ("sbatch_options", {1: "x"}),
        ("sbatch_options", {"C": "x"}),
        ("sbatch_options", {"p": "x"}),
        ("sbatch_options", {"con straint": "x"}),
        ("sbatch_options", {"constraint=x --wrap": "y"}),
        ("sbatch_options", {"constraint": "x\n#SBATCH --account=theirs"}),
        ("sbatch_options", {"constraint": False}),
        ("sbatch_options", {"constraint": 1.5}),
        ("sbatch_options", {"constraint": ["x"]}),
        ("colour", "blue"),
    ],
)
def test_what_cannot_be_right_is_refused_by_its_name(field: str, value: Any):
    """The error knows the field and begins with it."""
    with pytest.raises(JobSpecError) as caught:
        spec(**{field: value})
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize("option", sorted(OWNED_OPTIONS))
def test_options_that_headnode_sets_are_refused(option: str):
    """Written out or cut, as getopt_long would take it."""
    for name in (option, option[:-1]):
        with pytest.raises(JobSpecError, match="set by headnode itself") as caught:
            spec(sbatch_options={name: "x"})
        assert caught.value.field == "sbatch_options"


@pytest.mark.parametrize(
    ("field", "value", "option"),
    [
        ("partition", "batch", "partition"),
        ("account", "mine", "account"),
        ("qos", "high", "qos"),
        ("time_limit", "1:00:00", "time"),
        ("nodes", 1, "nodes"),
        ("ntasks", 1, "ntasks"),
        ("ntasks_per_node", 1, "ntasks-per-node"),
        ("cpus_per_task", 1, "cpus-per-task"),
        ("gpus_per_node", 1, "gpus-per-node"),
        ("memory", "1G", "mem"),
    ],
)
def test_a_field_and_its_option_are_one_too_many(field: str, value: Any, option: str):
    """Two answers to one question are refused; either alone passes."""
    with pytest.raises(JobSpecError, match=f"already given as {field}="):
        spec(**{field: value}, sbatch_options={option: "1"})
    given_as_option = spec(sbatch_options={option: "1"})
    given_as_field = spec(**{field: value})
    assert [name for name, _ in given_as_option.directives()] == [option]
    assert [name for name, _ in given_as_field.directives()] == [option]


@pytest.mark.parametrize(
    ("fields", "given"),
    [({}, "neither"), ({"command": None, "script": None}, "neither"), ({"command": "x", "script": "y"}, "both")],
)
def test_exactly_one_of_command_and_script(fields: dict[str, Any], given: str):
    """Neither is no job, both are two."""
    with pytest.raises(JobSpecError, match=given) as caught:
        parse_jobspec({"job_name": "x", **fields})
    assert caught.value.field == "command"


def test_gpus_are_asked_for_once():
    """Slurm 26.05 ends with an error on both forms."""
    with pytest.raises(JobSpecError, match="give one of them"):
        spec(gpus_per_node=1, sbatch_options={"gres": "gpu:1"})
    assert spec(gpus_per_node=1, sbatch_options={"gres": "nvme:1"}).gpus_per_node == 1
    assert spec(gpus_per_node=0, sbatch_options={"gres": "gpu:1"}).directives() == [("gres", "gpu:1")]


def test_templates_render_to_text():
    """Numbers as text are as good as numbers."""
    rendered = spec(nodes="2", ntasks=" 8 ", gpus_per_node="1", time_limit="90", env={"N": 4, "X": 0.5})
    assert (rendered.nodes, rendered.ntasks, rendered.gpus_per_node) == (2, 8, 1)
    assert rendered.time_limit == timedelta(minutes=90)
    assert rendered.env == {"N": "4", "X": "0.5"}


def test_directives_in_a_fixed_order():
    """Fields first, options by name; an option that is True or None has no value."""
    full = spec(
        partition="gpu",
        account="me",
        qos="low",
        time_limit=timedelta(days=1, hours=2),
        nodes=2,
        ntasks=8,
        ntasks_per_node=4,
        cpus_per_task=16,
        gpus_per_node=2,
        memory="64G",
        sbatch_options={"requeue": True, "constraint": "a100", "exclusive": None, "nice": 10},
    )
    assert full.directives() == [
        ("partition", "gpu"),
        ("account", "me"),
        ("qos", "low"),
        ("time", "1-02:00:00"),
        ("nodes", "2"),
        ("ntasks", "8"),
        ("ntasks-per-node", "4"),
        ("cpus-per-task", "16"),
        ("gpus-per-node", "2"),
        ("mem", "64G"),
        ("constraint", "a100"),
        ("exclusive", None),
        ("nice", "10"),
        ("requeue", None),
    ]
    assert full.requested()["exclusive"] is True


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.text()))
            for name in JobSpec.model_fields
        },
    )
)
def test_any_value_is_taken_or_refused(fields: dict[str, Any]):
    """Nothing but JobSpecError comes out; what is taken has no control character in a directive."""
    try:
        taken = parse_jobspec(fields)
    except JobSpecError:
        return
    texts = [taken.job_name, *(value or "" for _, value in taken.directives())]
    assert all(unicodedata.category(character) != "Cc" for character in "".join(texts))


def test_components_make_a_heterogeneous_job():
    """Each has its own resources, and the whole job's partition, account, QOS and time limit where it gives none."""
    whole = spec(
        partition="cpu",
        account="me",
        time_limit="60",
        memory="4G",
        components=[{"partition": "gpu", "gpus_per_node": "2", "sbatch_options": {"time": "30"}}, {"ntasks": 8}],
    )
    assert whole.component_directives() == [
        [("partition", "gpu"), ("account", "me"), ("gpus-per-node", "2"), ("time", "30")],
        [("partition", "cpu"), ("account", "me"), ("time", "01:00:00"), ("ntasks", "8")],
    ]
    assert whole.requested()["components"][0] == {
        "partition": "gpu",
        "account": "me",
        "gpus-per-node": "2",
        "time": "30",
    }
    assert whole.requested()["mem"] == "4G"
    assert "components" not in spec().requested()


@pytest.mark.parametrize(
    ("components", "words"),
    [
        ({"nodes": 1}, "must be a list of dicts"),
        (["nodes"], "must be a list of dicts"),
        ([{}, {"nodes": 0}], "component 2: nodes: "),
        ([{"colour": "blue"}], "component 1: colour: "),
        ([{"job_name": "x"}], "component 1: job_name: "),
        ([{"partition": "a\n#SBATCH --account=theirs"}], "component 1: partition: "),
        ([{"sbatch_options": {"output": "x"}}], "component 1: sbatch_options: 'output' is set by headnode itself"),
        ([{"sbatch_options": ["x"]}], "component 1: sbatch_options: must be a dict"),
        ([{"memory": "1G", "sbatch_options": {"mem": "1G"}}], "component 1: sbatch_options: 'mem' is already given"),
        ([{"sbatch_options": {"array": "0-3"}}], "component 1: 'array' is for the whole job"),
    ],
)
def test_a_component_that_cannot_be_right_is_refused_by_its_number(components: Any, words: str):
    """By the same checks as the job itself."""
    with pytest.raises(JobSpecError, match=words) as caught:
        spec(components=components)
    assert caught.value.field == "components"


def test_an_array_has_no_components():
    """Slurm refuses it, only later."""
    with pytest.raises(JobSpecError, match="no arrays of heterogeneous jobs"):
        spec(components=[{}], sbatch_options={"array": "0-3"})


@pytest.mark.parametrize(
    "name", ["RANDOM", "OPTIND", "UID", "_", "LINENO", "HEADNODE_RESULT", "headnode_end", "SLURM_JOB_ID"]
)
def test_variables_of_the_shell_and_of_the_script_are_refused(name):
    """Values of RANDOM or OPTIND are arithmetic to bash, in which it runs commands."""
    for field in ("env", "secret_env"):
        with pytest.raises(JobSpecError, match=f"'{name}' is (a variable of the shell|set by headnode)"):
            parse_jobspec({"job_name": "x", "command": ["true"], field: {name: "variable:a[$(id)]"}})


def test_a_very_long_value_is_refused_in_few_words():
    """The message goes into logs and pages."""
    with pytest.raises(JobSpecError, match=r"partition: .{500}\.\.\.$"):
        parse_jobspec({"job_name": "x", "command": ["true"], "partition": "x y" * 10_000})
