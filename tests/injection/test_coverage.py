"""Which values are given to which fields: every field that is rendered, or reaches a cluster, is one of them."""

import importlib
import inspect
import json
import pkgutil
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from airflow.sdk import BaseOperator
from reading import ON_CLUSTER

import headnode
from headnode.slurm.record import JobRecord, Labels, StateChange, Submission
from headnode.triggers.preparation import SPEC_FIELDS
from headnode_ui.app import _message_page, _templates
from headnode_ui.view import job_view

#: Where a field is given hostile values, or why it is not.
DIRECTIVE = "test_jobs: test_a_value_makes_no_line_of_its_own"
WORD = "test_jobs: test_words_and_variables_arrive_byte_for_byte, tests/provider/test_hostile_params.py"
LOOKED_AT = "test_paths: test_what_sensors_look_at"
MOVED = "test_paths: test_destinations_and_sources_are_one_path"
AUTHOR = "the author's own shell text, as design and README say"
COVERED = {
    **dict.fromkeys(
        (
            "job_name", "partition", "account", "qos", "time_limit", "memory", "nodes", "ntasks", "ntasks_per_node",
            "cpus_per_task", "gpus_per_node", "sbatch_options", "components", "secret_env",
        ),
        DIRECTIVE,
    ),
    **dict.fromkeys(("site", "launch", "environment"), "test_sites: test_a_value_is_refused_or_is_a_word"),
    **dict.fromkeys(
        ("objective", "trials", "workers", "direction", "sampler", "pruner", "seed", "max_failures"),
        "below: test_studies_are_refused_or_data",
    ),
    "metric": "data, in a file of the job's directory",
    "command": WORD,
    "env": WORD,
    "script": AUTHOR,
    "setup": AUTHOR,
    "arguments": "test_jobs: test_arguments_of_elements_arrive_byte_for_byte",
    "array": "below: test_arrays_are_lists_of_numbers",
    "code": "test_paths: test_folders_of_code_are_paths, test_names_of_files_arrive_as_they_are",
    "slurm_conn_id": "Airflow's id of a connection: it is looked up in Airflow, and reaches no cluster",
    "op_args": "pickled: data, in a file of the job's directory",
    "op_kwargs": "pickled: data, in a file of the job's directory",
    "python": WORD,  # words of a command
    "source": MOVED,
    "destination": MOVED,
    "path": LOOKED_AT,
    "job_id": LOOKED_AT,
    "user": LOOKED_AT,
    "free_nodes": LOOKED_AT,
    "free_gpus": LOOKED_AT,
    "gpu_type": "compared with what sinfo has said; it is in no command",
    "templates_dict": "none of ours",
}  # fmt: skip


def _template_fields():
    """Return the template fields of all operators and sensors."""
    found = set()
    for module in pkgutil.walk_packages(headnode.__path__, "headnode."):
        if ".testing" in module.name or module.name.endswith("run_function") or module.name in ON_CLUSTER:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(value) and issubclass(value, BaseOperator) and value.__module__.startswith("headnode."):
                found |= set(value.template_fields)
    return found


def test_every_field_is_given_hostile_values(values):
    """A new field fails here until it is tested; the numbers are those that the suite itself counts."""
    fields = _template_fields() | set(SPEC_FIELDS)
    assert fields - COVERED.keys() == set()
    tested = {field for field in fields if COVERED[field].startswith(("test_", "below"))}
    assert len(values) >= 200
    assert len(tested) >= 25
    print(f"{len(values)} values, {len(tested)} fields, {len(values) * len(tested)} combinations")  # noqa: T201 - for people


def test_arrays_are_lists_of_numbers(values):
    """Everything else is refused by name."""
    from headnode.errors import JobSpecError  # noqa: PLC0415
    from headnode.slurm.elements import parse_array  # noqa: PLC0415

    for value in values:
        try:
            elements, _ = parse_array(value)
        except JobSpecError as refusal:
            problem = refusal
        else:
            assert all(isinstance(element, int) for element in elements)
            continue
        assert problem.field == "array"


def test_studies_are_refused_or_data(values):
    """A name that is none is refused; what may be any text travels as JSON, in a file of the job's directory."""
    from headnode.errors import JobSpecError  # noqa: PLC0415
    from headnode.tuning.description import describe_study  # noqa: PLC0415
    from headnode.tuning.packing import STUDY_NAME, study_files  # noqa: PLC0415

    good = {"objective": "m:f", "trials": 1, "workers": 1, "direction": "minimize", "sampler": "tpe", "pruner": "none"}
    good |= {"seed": None, "max_failures": 1, "lost_seconds": 60}
    for value in values:
        for field in ("objective", "trials", "workers", "direction", "sampler", "pruner", "seed", "max_failures"):
            try:
                study = describe_study(good | {field: value})
            except JobSpecError as refusal:
                problem = refusal
            else:
                problem = None
            if problem is not None:
                assert problem.field == field
                continue
            # Digits, and words that a shell takes as they are.
            assert re.fullmatch(r"[\w./:-]+", value.strip()), (field, value)
            assert study == describe_study(good | {field: value.strip()})
        study = describe_study(good | {"sampler": {"kind": "grid", "space": {value: [value]}}})
        assert json.loads(study_files(study)[STUDY_NAME])["grid"] == [{value: value}]


class _Page(HTMLParser):
    """What a browser would make of a page: its tags with the names of their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note a tag."""
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        assert not any(name.startswith("on") for name, _ in attrs)
        assert not any((value or "").strip().lower().startswith(("javascript:", "data:")) for _, value in attrs)

    def handle_data(self, data):
        """Add a text."""
        self.text += data


def _page(value):
    """Return the job page on which ``value`` is everything that a person or a cluster may have written."""
    from datetime import UTC, datetime  # noqa: PLC0415

    begin = datetime(2026, 11, 21, tzinfo=UTC)
    record = JobRecord(
        key=value, conn_id=value, host=value, labels=Labels(dag_id=value, run_id=value, task_id=value), job_id="1",
        job_name=value, directory=value, log_path=value, error_log_path=value, script_sha256="0",
        requested={"constraint": value}, reason=value, nodes=value, state="RUNNING",
        submissions=[Submission(number=1, job_id="1", at=begin, reason=value, dependency=value, nodes=value)],
        history=[StateChange(at=begin, state="PENDING", reason=value)],
    )  # fmt: skip
    job = job_view(record, now=begin)
    return _Page(_templates.get_template("job.html").render(nonce="n", job=job, back="/"))


def test_pages_show_texts_as_texts(values):
    """No value makes a tag or an attribute of its own, nor a link that runs something."""
    plain = _page("plain text")
    plain_message = _Page(_message_page(404, "plain text", "plain text").body.decode())
    for value in values:
        if any("\ud800" <= character <= "\udfff" for character in value) or len(value) > 10_000:
            continue
        page = _page(value)
        # "None" and the like are left out of a page.
        assert not Counter(page.tags) - Counter(plain.tags), value
        message = _Page(_message_page(404, value, value).body.decode())
        assert message.tags == plain_message.tags, value
        if value.isprintable():
            assert value in page.text
            assert value in message.text


def test_pages_are_tested_for_what_would_do_harm(values):
    """The values hold markup."""
    assert any("<script>" in value for value in values)
    with pytest.raises(AssertionError):
        _Page("<img src=x onerror=alert(1)>")
