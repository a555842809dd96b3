"""References to secrets, and the files that take the values into jobs, as real shells read and write them."""

import re
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import shell
from headnode.cluster.secrets import JobSecrets, discard_secrets, render_writing
from headnode.cluster.submission import SubmitRequest
from headnode.errors import JobSpecError
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.record import Labels
from headnode.slurm.secrets import (
    MAX_FILE_BYTES,
    MAX_VARIABLE_BYTES,
    SecretReference,
    check_secret_env,
    parse_reference,
    read_secrets,
    render_secrets,
)

JOB = {"job_name": "j", "command": "true"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("variable:wandb_key", SecretReference(kind="variable", name="wandb_key")),
        ("variable:team/key one", SecretReference(kind="variable", name="team/key one")),
        ("connection:db.password", SecretReference(kind="connection", name="db", field="password")),
        ("connection:my.db.login", SecretReference(kind="connection", name="my.db", field="login")),
        ("connection:db.uri", SecretReference(kind="connection", name="db", field="uri")),
        ("connection:s3.extra.key", SecretReference(kind="connection", name="s3", field="extra", key="key")),
        ("connection:s3.extra.password", SecretReference(kind="connection", name="s3", field="extra", key="password")),
        ("connection:s3.extra.a.b", SecretReference(kind="connection", name="s3", field="extra", key="a.b")),
    ],
)
def test_references(text, wanted):
    """Of a variable, of a connection's field, and of a key in its extra."""
    assert parse_reference(text) == wanted


NO_REFERENCES = [
    "hunter2-the-secret-itself",
    "variable:",
    "variable:two\nlines",
    "connection:db",
    "connection:db.schema",
    "connection:.password",
    "connection:s3.extra.",
    "Variable:name",
    "",
]


@pytest.mark.parametrize("value", [*NO_REFERENCES, "{{ var.value.hunter2 }}", 7, None, b"hunter2", ["hunter2"]])
def test_what_is_no_reference_is_not_shown(value):
    """It may be the secret itself, put there by mistake; a template must say what it refers to, too."""
    with pytest.raises(
        ValueError, match=r"^the value of 'TOKEN' is no reference to a secret; write 'variable:"
    ) as caught:
        check_secret_env({"TOKEN": value}, is_template=lambda text: "{{" in text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "A-B", "1A", "A\nB", "A=B", "ü", 7])
def test_names_are_those_of_variables(name):
    """Nothing else can be exported."""
    with pytest.raises(ValueError, match="is no name of an environment variable"):
        check_secret_env({name: "variable:x"})


def test_templates_are_checked_when_they_are_rendered():
    """What is known before is that they refer to something."""
    given = {"TOKEN": "variable:{{ params.team }}", "OTHER": "connection:{{ params.db }}.{{ params.field }}"}
    assert check_secret_env(given, is_template=lambda text: "{{" in text) == given


@pytest.mark.parametrize("value", ["variable:x", ["variable:x"], 7])
def test_secret_env_is_a_dict(value):
    """As ``env`` is."""
    with pytest.raises(JobSpecError, match="secret_env: must be a dict"):
        parse_jobspec({**JOB, "secret_env": value})


def test_what_does_not_go_with_secrets():
    """Two values of one variable, and a second start of the same job."""
    secret_env = {"TOKEN": "variable:x"}
    with pytest.raises(JobSpecError, match="'TOKEN' is given in env too"):
        parse_jobspec({**JOB, "secret_env": secret_env, "env": {"TOKEN": "y"}})
    with pytest.raises(JobSpecError, match="'requeue' can't be used with secret_env"):
        parse_jobspec({**JOB, "secret_env": secret_env, "sbatch_options": {"requeue": True}})


def test_errors_in_other_fields_do_not_show_the_values_of_env():
    """They may be secrets by mistake; a traceback shows the error that an error came from, too."""
    for value in ("hunter2", ["hunter2"], "hunter2\0"):
        with pytest.raises(JobSpecError) as caught:
            parse_jobspec({**JOB, "env": {"TOKEN": value}, "nodes": "x"})
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


SENDABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


@given(st.dictionaries(st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,8}\Z").map("X_".__add__), SENDABLE, min_size=1, max_size=4))
@example({"X": "\r\n'\"'$(id)`id`\\\n\n"})
@example({"X": "\U0010ffff\x85\u2028"})
def test_every_value_arrives_as_it_is(values):
    """Quotes, newlines at the end, carriage returns and any character but NUL."""
    program = b'. /dev/stdin; [ "$headnode_whole" = yes ] && exec env -0'
    done = subprocess.run(
        ["/bin/sh", "-c", program], input=render_secrets(values), capture_output=True, check=True, timeout=30, env={}
    )
    found = dict(entry.split(b"=", 1) for entry in done.stdout.split(b"\0") if entry.startswith(b"X"))
    assert {name.decode(): value.decode() for name, value in found.items()} == values


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"A": "hunter2\0"}, "the value of A holds a NUL character or half a character"),
        ({"A": "hunter2\ud800"}, "the value of A holds a NUL character or half a character"),
        ({"A": "hunter2" * MAX_VARIABLE_BYTES}, "the value of A is longer than 127 KiB"),
        (dict.fromkeys("ABCDEFGHIJKL", "hunter2" * 15_000), "the values are more than 1024 KiB in all"),
    ],
)
def test_values_that_no_environment_holds(values, problem):
    """The message does not show them."""
    with pytest.raises(ValueError, match=re.escape(problem)) as caught:
        render_secrets(values)
    assert "hunter2" not in str(caught.value)
    assert MAX_FILE_BYTES >= MAX_VARIABLE_BYTES


def test_representations_hold_no_secret():
    """What a traceback or a log may show of a request and of its command."""
    secrets = JobSecrets(content=render_secrets({"TOKEN": "hunter2"}))
    labels = Labels(dag_id="d", run_id="r", task_id="t")
    place = JobPlace(work_directory="~/w", deployment_id="d", labels=labels, owner="o")
    assert "hunter2" not in repr(SubmitRequest(place=place, script="", secrets=secrets))
    assert "hunter2" not in repr(shell("hunter2", purpose="testing"))


def write(tmp_path, secrets, *, before="", umask="077"):
    """Let bash write the files as the submission does, and return what it said on standard error."""
    body = "\n".join([f"root={tmp_path} key=k-1\numask {umask}", before, *render_writing(secrets), "write_secrets"])
    (tmp_path / "trace.sh").write_text("set -xv\n")
    done = subprocess.run(
        ["/bin/bash", "-s"],
        input=shell(body, purpose="testing").stdin,
        capture_output=True,
        check=True,
        timeout=60,
        env={"BASH_ENV": str(tmp_path / "trace.sh"), "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout.endswith(b"headnode:end:0\n")
    return done.stderr.decode()


def test_a_shell_that_shows_what_it_runs_does_not_show_them(tmp_path):
    """Where the login's BASH_ENV has bash trace all: what it says on standard error would be in error messages."""
    assert "hunter2" not in write(tmp_path, JobSecrets(content=render_secrets({"TOKEN": "hunter2"})))
    assert "hunter2" in (tmp_path / "secrets" / "k-1" / "job").read_text()


def test_nobody_else_may_read_the_files(tmp_path):
    """Whatever the directory was before."""
    (tmp_path / "secrets" / "k-1").mkdir(parents=True, mode=0o777)
    (tmp_path / "secrets" / "k-1" / "3").write_text("of an attempt that came to nothing")
    write(tmp_path, JobSecrets(content=render_secrets({"TOKEN": "x"}), indexes="0-1,7"), umask="000")
    folder = tmp_path / "secrets" / "k-1"
    assert {each.name: each.stat().st_mode & 0o777 for each in folder.iterdir()} == dict.fromkeys("017", 0o600)
    assert folder.stat().st_mode & 0o777 == (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_very_many_elements_have_a_file_each(tmp_path):
    """Written by the shell itself: the value travels once, and no program is started for an element."""
    write(tmp_path, JobSecrets(content=render_secrets({"TOKEN": "x"}), indexes="0-9999"))
    assert sum(1 for _ in (tmp_path / "secrets" / "k-1").iterdir()) == 10_000


@pytest.mark.parametrize("indexes", ["0-9%2", "0;id", "a", "0-9:2", "$(id)", "1 2"])
def test_indexes_are_numbers(indexes):
    """They are put into shell text."""
    with pytest.raises(ValueError, match="must be indexes such as 0-4,7"):
        JobSecrets(indexes=indexes)


def test_names_of_keys_are_quoted():
    """As all that is put into shell text."""
    labels = Labels(dag_id="d", run_id="r", task_id="t")
    place = JobPlace(work_directory="~/w", deployment_id="d", labels=labels, owner="o")
    command = next(discard_secrets(place, ["a b"]))
    assert b"rm -rf \"$root\"/secrets/'a b'" in command.stdin


def test_the_prologue_shows_names_alone():
    """They are what the message says is missing."""
    assert "(A, B) are not in" in read_secrets({"B": "variable:b", "A": "variable:a"})
    assert "variable:" not in read_secrets({"B": "variable:b"})
