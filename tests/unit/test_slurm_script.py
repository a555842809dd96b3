"""The batch script: sbatch reads the expected options and no other, bash gets each word as it was given."""

import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headnode.errors import JobSpecError
from headnode.slurm.jobspec import JobSpec, parse_jobspec
from headnode.slurm.script import asks_for_array, expected_elements, render_command, render_directive, render_script

line_text = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=60)
any_text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=60)
words = line_text.filter(lambda text: not re.search(r"\s", text))
counts = st.integers(min_value=1, max_value=10**6)
option_names = st.sampled_from(["constraint", "nodelist", "mail-user", "reservation", "nice", "requeue", "exclusive"])
environments = st.dictionaries(st.from_regex(r"X_[A-Za-z0-9_]{0,9}", fullmatch=True), any_text, max_size=4)
jobs = st.fixed_dictionaries(
    {
        "job_name": line_text.filter(str.strip),
        "command": st.lists(any_text, min_size=1, max_size=5) | any_text.filter(bool),
    },
    optional={
        "env": environments,
        "partition": words,
        "account": words,
        "qos": words,
        "time_limit": st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=999)),
        "nodes": counts,
        "ntasks": counts,
        "cpus_per_task": counts,
        "memory": st.from_regex(r"[0-9]{1,4}[KMGT]?", fullmatch=True),
        "sbatch_options": st.dictionaries(option_names, line_text | st.just(""), max_size=3),
    },
)


def argument_of(text: str) -> str:
    """Read the first argument of a directive as sbatch does (src/sbatch/opt.c, ``_get_argument``)."""
    argument, quote, escaped = "", "", False
    for character in text.lstrip(" \t\n\v\f\r"):
        if escaped:
            argument, escaped = argument + character, False
        elif character == "\\":
            escaped = True
        elif quote:
            if character == quote:
                quote = ""
            else:
                argument += character
        elif character in "\"'":
            quote = character
        elif character in " \t\n\v\f\r#":
            break
        else:
            argument += character
    assert not quote, f"the quotes of {text!r} are not closed"
    return argument


def options_of(script: str) -> list[str]:
    """Return the options that sbatch finds: all before the first line that is a command."""
    found = []
    for line in script.split("\n"):
        if line.startswith("#SBATCH"):
            found.append(argument_of(line.removeprefix("#SBATCH")))
        elif line.strip(" \t\v\f\r") and not line.lstrip(" \t\v\f\r").startswith("#"):
            break
    return found


def run(script: str, place: Path, shell: str = "bash") -> bytes:
    """Run the script where a job would run, and return what it printed."""
    work = place / "work"
    work.mkdir(exist_ok=True)
    done = subprocess.run([shell, "-s"], input=script.encode(), capture_output=True, cwd=work, check=True, timeout=30)
    assert done.stderr == b""
    return done.stdout


@given(jobs)
@settings(max_examples=200)
def test_sbatch_reads_the_expected_options_and_no_other(fields):
    """Whatever values are given, the options are those of the description, in its order."""
    spec = parse_jobspec(fields)
    expected = [("job-name", spec.job_name), *spec.directives()]
    assert options_of(render_script(spec)) == [
        f"--{name}" if value is None else f"--{name}={value}" for name, value in expected
    ]


@given(jobs)
@settings(max_examples=30, deadline=None)
def test_the_prologue_is_valid_bash(fields):
    """With a command of known form the whole script passes bash's own check."""
    script = render_script(parse_jobspec({**fields, "command": ["true"]}))
    done = subprocess.run(["bash", "-n"], input=script.encode(), capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")


@given(arguments=st.lists(any_text, min_size=1, max_size=6), environment=environments)
@example(arguments=["$(touch pwned)", "`id`", "a\nb", "; exit 3", "'", '"', "\\", "", "*", "~"], environment={})
@example(arguments=["a\r\nb\r"], environment={"X_A": "1\r\n2", "X_B": "$HOME 'x'"})
@settings(max_examples=40, deadline=None)
def test_each_argument_arrives_as_it_was_given(arguments, environment, tmp_path_factory):
    """Neither a list's elements nor values of variables are read by the shell."""
    names = sorted(environment)
    spec = JobSpec(
        job_name="x", command=["env", "bash", "-c", 'printf "%s\\0" "$@"', "bash", *arguments], env=environment
    )
    place = tmp_path_factory.mktemp("job")
    assert run(render_script(spec), place).split(b"\0")[:-1] == [argument.encode() for argument in arguments]
    if names:
        spec = JobSpec(job_name="x", command=["printenv", "-0", *names], env=environment)
        values = run(render_script(spec), place).split(b"\0")[:-1]
        assert values == [environment[name].encode() for name in names]
    assert {path.name for path in place.rglob("*")} == {"work", "end"}


def test_carriage_returns_arrive_in_any_shell(tmp_path):
    """The quoting of them is not bash's alone."""
    script = render_script(JobSpec(job_name="x", script='#!/bin/sh\nprintf %s "$X"', env={"X": "\r1\r\n2'\r"}))
    assert run(script, tmp_path, "sh") == b"\r1\r\n2'\r"


@given(environment=environments, arguments=st.lists(any_text, min_size=1, max_size=4))
def test_values_never_make_dos_line_breaks(environment, arguments):
    """Slurm refuses a script with one, but a form in a browser sends them."""
    assert "\r\n" not in render_script(JobSpec(job_name="x", command=arguments, env=environment))


def test_what_a_job_finds_in_its_environment(tmp_path):
    """Its directory, its code, where to put the result, and the code on the path of Python."""
    spec = JobSpec(
        job_name="x", command='echo "$HEADNODE_DIRECTORY $HEADNODE_CODE $HEADNODE_RESULT $PYTHONPATH"', env={}
    )
    script = "unset PYTHONPATH SLURM_ARRAY_TASK_ID\n" + render_script(spec)
    assert run(script, tmp_path).decode().split() == [
        str(tmp_path),
        f"{tmp_path}/work",
        f"{tmp_path}/result.json",
        f"{tmp_path}/work",
    ]
    script = "export SLURM_ARRAY_TASK_ID=7\n" + render_script(spec)
    assert f"{tmp_path}/result.7.json" in run(script, tmp_path).decode()


def test_a_result_of_an_earlier_run_is_removed(tmp_path):
    """A requeued job begins anew: what its first run wrote is not its result."""
    (tmp_path / "result.json").write_text("1")
    run(render_script(JobSpec(job_name="x", command=["true"])), tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_a_whole_script():
    """The order of the parts: directives, prologue, variables, set-up, command."""
    spec = parse_jobspec(
        {
            "job_name": "my job",
            "command": ["python", "-m", "model", "--name", "it's"],
            "env": {"B": "2", "A": "one two"},
            "setup": "module load python\nsource venv/bin/activate\n",
            "partition": "gpu",
            "time_limit": "90",
        }
    )
    lines = render_script(spec).splitlines()
    assert lines[:4] == [
        "#!/bin/bash -l",
        '#SBATCH --job-name="my job"',
        "#SBATCH --partition=gpu",
        "#SBATCH --time=01:30:00",
    ]
    assert lines[-9:] == [
        "export A='one two'",
        "export B=2",
        "",
        "module load python",
        "source venv/bin/activate",
        "",
        """python -m model --name 'it'"'"'s'""",
        "",
        "exit $?",
    ]


AUTHOR_SCRIPT = """\
#!/bin/sh
# What it does
#SBATCH --array=0-3

#SBATCH --mem=1G
echo one
#SBATCH --mem=2G
echo two
"""


def test_an_authors_script_keeps_its_interpreter_and_directives():
    """Fields come before the author's directives, which so win, as with sbatch's own order of reading."""
    script = render_script(JobSpec(job_name="x", script=AUTHOR_SCRIPT, nodes=1))
    assert script.startswith("#!/bin/sh\n#SBATCH --job-name=x\n")
    assert options_of(script) == ["--job-name=x", "--nodes=1", "--array=0-3", "--mem=1G"]
    assert script.endswith("\necho one\n#SBATCH --mem=2G\necho two\n\nexit $?\n")


@pytest.mark.parametrize("script", ["echo hello", "\n\necho hello\n", "# a comment\necho hello"])
def test_a_script_without_interpreter_is_bash(script: str, tmp_path: Path):
    """Slurm wants a first line that names one."""
    rendered = render_script(JobSpec(job_name="x", script=script))
    assert rendered.startswith("#!/bin/bash -l\n#SBATCH --job-name=x\n")
    assert run(rendered, tmp_path) == b"hello\n"


@pytest.mark.parametrize("mark", ["\f", "\v", "\x1c", "\x85", "\u2028"])
def test_a_comment_with_an_odd_character_stays_a_comment(mark: str, tmp_path: Path):
    """Only a newline ends a line of shell text."""
    script = f"#!/bin/bash\n# page {mark}echo not a command\necho hello\n"
    assert run(render_script(JobSpec(job_name="x", script=script)), tmp_path) == b"hello\n"


@pytest.mark.parametrize(
    "shebang", ["#!/bin/bash", "#!/bin/sh -e", "#!/usr/bin/env bash", "#! /bin/zsh", "#!/usr/bin/ksh", "#!/bin/dash"]
)
def test_shells_are_taken(shebang: str):
    """Any shell whose words are those of the prologue."""
    assert render_script(JobSpec(job_name="x", script=f"{shebang}\ntrue")).startswith(f"{shebang}\n")


@pytest.mark.parametrize("shebang", ["#!/usr/bin/env python", "#!/usr/bin/python3", "#!/bin/csh", "#!/usr/bin/fish"])
def test_other_interpreters_are_refused(shebang: str):
    """Nothing can be put before their text; the message says what to do."""
    with pytest.raises(JobSpecError, match="only shell scripts can be given, start others with command=") as caught:
        render_script(JobSpec(job_name="x", script=f"{shebang}\npass"))
    assert caught.value.field == "script"


def test_dos_line_breaks_are_refused():
    """Before Slurm does, and with the remedy."""
    with pytest.raises(JobSpecError, match="save it with Unix line breaks"):
        render_script(JobSpec(job_name="x", script="#!/bin/bash\r\necho hello\r\n"))


def test_a_command_as_text_is_the_authors_own():
    """A pipe is a pipe."""
    assert render_command("sort < in | uniq > out\n") == "sort < in | uniq > out"
    assert render_command(["echo", "a|b"]) == "echo 'a|b'"


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "#SBATCH --x"),
        ("", '#SBATCH --x=""'),
        ("plain-1.2,3", "#SBATCH --x=plain-1.2,3"),
        ("two words", '#SBATCH --x="two words"'),
        ('say "hi"', r'#SBATCH --x="say \"hi\""'),
        ("a\\b", r'#SBATCH --x="a\\b"'),
        ("#1", '#SBATCH --x="#1"'),
        ("it's", '#SBATCH --x="it\'s"'),
    ],
)
def test_directives(value: str | None, line: str):
    """Only what needs quotes gets them."""
    assert render_directive("x", value) == line


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"command": "true"}, False),
        ({"command": "true", "sbatch_options": {"array": "0-3"}}, True),
        ({"script": "#!/bin/sh\n#SBATCH --array=0-3\ntrue"}, True),
        ({"script": "#!/bin/sh\n#SBATCH -a 0-3\ntrue"}, True),
        ({"script": "#!/bin/sh\n#SBATCH -a0-3\ntrue"}, True),
        ({"script": "#!/bin/sh\n# SBATCH --array=0-3\ntrue"}, False),
        ({"script": "#!/bin/sh\n#SBATCH --account=array\ntrue"}, False),
        ({"script": "#!/bin/sh\ntrue\n#SBATCH --array=0-3"}, False),
    ],
)
def test_whether_an_array_is_asked_for(fields: dict[str, object], *, asked: bool):
    """By an option or by a directive that sbatch reads."""
    assert asks_for_array(parse_jobspec({"job_name": "x", **fields})) is asked


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"command": "true"}, 1),
        ({"command": "true", "sbatch_options": {"array": "0-9%2"}}, 10),
        ({"script": "#!/bin/sh\n#SBATCH --array=0-3\n#SBATCH -a1,5\ntrue"}, 2),
        ({"script": "#!/bin/sh\n#SBATCH --array 0-3\ntrue"}, 4),
        ({"script": "#!/bin/sh\n#SBATCH --ntasks=1\n#SBATCH hetjob\n#SBATCH --ntasks=2\ntrue"}, None),
    ],
)
def test_how_many_elements_accounting_will_know(fields, count):
    """An array has as many as its indexes; of a heterogeneous job nothing is told."""
    assert expected_elements(parse_jobspec({"job_name": "x", **fields})) == count


def test_components_come_after_the_whole_jobs_directives():
    """Sbatch reads what follows ``hetjob`` as the next component's; the author's own lines are the first one's."""
    spec = parse_jobspec(
        {
            "job_name": "x",
            "script": "#!/bin/bash\n#SBATCH --nice=5\nsrun --het-group=0,1 hostname\n",
            "memory": "1G",
            "components": [{"partition": "gpu", "memory": "2G"}, {"nodes": 3}],
        }
    )
    lines = render_script(spec).splitlines()
    assert lines[1 : lines.index("")] == [
        "#SBATCH --job-name=x",
        "#SBATCH --mem=1G",
        "#SBATCH --nice=5",
        "#SBATCH hetjob",
        "#SBATCH --partition=gpu",
        "#SBATCH --mem=2G",
        "#SBATCH hetjob",
        "#SBATCH --nodes=3",
    ]
    assert expected_elements(spec) == 3
    assert not asks_for_array(spec)


@pytest.mark.parametrize("mark", ["#PBS -N other", "#BSUB -J other", "#SBATCH --hold", "#DW x", "#"])
def test_no_value_begins_a_line_with_a_mark_of_options(mark, tmp_path):
    """Those of #PBS and #BSUB count after commands, too; the value arrives as it was all the same."""
    value = f"a\n{mark}\n\r\n{mark}"
    spec = JobSpec(job_name="x", command=["printf", "%s", value], env={"X": value})
    script = render_script(spec)
    assert [line for line in script.split("\n") if line.startswith("#")] == ["#!/bin/bash -l", "#SBATCH --job-name=x"]
    assert run(script, tmp_path) == value.encode()
