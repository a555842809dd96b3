"""Every renderer gets hostile values: its reader finds the same again, and no shell or sbatch finds more than it."""

import ast
import shlex
import subprocess
import uuid
from datetime import timedelta
from pathlib import Path

import broken_answers as said
import pytest
from hostile_values import CANARY, hostile_values
from hypothesis import given
from hypothesis import strategies as st
from reading import directives, functions_named

import headnode
import headnode_ui
from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import shell
from headnode.cluster.secrets import render_writing
from headnode.cluster.staging.openssh import render_config, render_known_host, why_not
from headnode.cluster.staging.progress import render_bytes, render_seconds
from headnode.cluster.submission_step import parse_replies, render_step
from headnode.errors import JobSpecError
from headnode.sites.modules_block import new_block, parse_modules_block, render_modules_block
from headnode.slurm.accounting import parse_memory
from headnode.slurm.arrays import expand_elements, render_elements
from headnode.slurm.dependencies import Dependencies, DependOn, parse_dependencies, render_dependency
from headnode.slurm.element_arguments import READ_ARGUMENTS, arguments_file, pack_lines, parse_arguments, unpack_lines
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.policy import FailurePolicy
from headnode.slurm.record import JobRecord, Labels
from headnode.slurm.script import render_command, render_directive, render_exports, render_script
from headnode.slurm.secrets import render_secrets
from headnode.slurm.standalone import OUTPUT, render_standalone_script
from headnode.slurm.time_limits import parse_time_limit, render_time_limit
from headnode.slurm.visible import visible, visible_block
from headnode.ssh.settings import SSHSettings
from headnode.tuning.on_cluster.telling import render_params, render_value

FOLDER = "/nonexistent/headnode"
HOSTILE = hostile_values(FOLDER)
SENDABLE = [value for value in HOSTILE if "\0" not in value and len(value) < 40_000 and not any(
    "\ud800" <= character <= "\udfff" for character in value
)]  # fmt: skip
texts = st.sampled_from(SENDABLE) | st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40
)
lines_of_text = texts.filter(lambda text: text.isprintable() and text.strip() and len(text) < 200)
names = st.from_regex(r"X_[A-Za-z0-9_]{0,9}", fullmatch=True)


def bash(text, *, cwd="/", env=None):
    """Run shell text and return what it printed; it must say nothing else."""
    done = subprocess.run(
        ["bash", "-s"], input=text.encode(), capture_output=True, check=False, timeout=60, cwd=cwd, env=env
    )
    assert (done.returncode, done.stderr) == (0, b""), (done.stderr, text[:2000])
    return done.stdout


def words(output):
    """Return the words, each of which ends with NUL."""
    return output.decode().split("\0")[:-1]


@given(st.lists(texts, min_size=1, max_size=30))
@said.BUDGET
def test_a_list_becomes_one_command(values):
    """Its words arrive as they were, from the first on, which is no assignment and no word of the grammar."""
    output = bash(render_command(["printf", "%s\\0", *values]))
    assert words(output) == values


@pytest.mark.parametrize(
    "first", ["A=1", "if", "for", "{", "!", "[[", "case", "function", "then", "A+=1", "a[0]=1", "~", "=x", "in"]
)
def test_the_first_word_is_the_name_of_a_command(first):
    """Neither an assignment nor the begin of a compound command; there is no such program."""
    done = subprocess.run(
        ["bash", "-c", render_command([first, "x"])], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 127
    assert f"{first}: " in done.stderr


def test_all_hostile_values_become_words_and_variables():
    """All at once: in one command, and in the environment of one script."""
    assert len(SENDABLE) > 300
    variables = {f"X_{number}": value for number, value in enumerate(SENDABLE) if len(value) < 10_000}
    command = ["bash", "-c", 'for name in "$@"; do printf "%s\\0" "${!name}"; done', "bash", *variables]
    spec = parse_jobspec({"job_name": "x", "command": command, "env": variables})
    script = render_script(spec)
    assert len(directives(script)) == 1
    assert (
        subprocess.run(["bash", "-n"], input=script.encode(), capture_output=True, check=True, timeout=60).stderr == b""
    )


@given(
    name=lines_of_text,
    value=lines_of_text,
    variables=st.dictionaries(names, texts, max_size=3),
    command=st.lists(texts, min_size=1, max_size=3),
)
@said.BUDGET
def test_a_script_has_its_own_directives_and_no_other(name, value, variables, command):
    """Whatever comes in values, commands and variables, in a plain job and in one with components."""
    fields = {
        "job_name": name,
        "command": command,
        "env": variables,
        "sbatch_options": {"constraint": value},
        "components": [{"nodes": 1, "sbatch_options": {"constraint": value}}],
    }
    spec = parse_jobspec(fields)
    assert directives(render_script(spec, checkpoint=True)) == [
        render_directive("job-name", name),
        render_directive("constraint", value),
        "#SBATCH hetjob",
        render_directive("nodes", "1"),
        render_directive("constraint", value),
    ]


@given(comments=st.lists(texts, max_size=3), value=lines_of_text, variables=st.dictionaries(names, texts, max_size=3))
@said.BUDGET
def test_a_script_to_submit_by_hand_has_its_own_directives_and_no_other(comments, value, variables):
    """Its comments hold no options and run nothing; its variables are what they were."""
    fields = {"job_name": "x", "command": ["true"], "env": variables, "sbatch_options": {"constraint": value}}
    script = render_standalone_script(parse_jobspec(fields), comments)
    options = [("job-name", "x"), ("output", OUTPUT), ("constraint", value)]
    assert directives(script) == [render_directive(*option) for option in options]
    assert "\n".join(render_exports(variables)) in script
    shown = "".join(f'printf "%s\\0" "${name}"\n' for name in variables)
    assert words(bash(script + shown)) == list(variables.values())


@given(
    st.sampled_from(["job_name", "partition", "account", "qos", "memory", "time_limit", "nodes"]),
    st.sampled_from(HOSTILE) | st.text(max_size=9),
)
@said.BUDGET
def test_a_field_is_one_directive_or_refused(field, value):
    """In one line, which holds one option."""
    try:
        spec = parse_jobspec({"job_name": "x", "command": ["true"], field: value})
    except JobSpecError as error:
        refused = error
    else:
        refused = None
    if refused is not None:
        assert refused.field == field
        assert len(str(refused)) < 1000
        return
    found = directives(render_script(spec))
    assert len(found) == (1 if field == "job_name" else 2)


@pytest.mark.parametrize("value", [value for value in SENDABLE if len(value) < 10_000][::7])
def test_directives_are_quoted_as_shells_do(value):
    """What sbatch unquotes is what a POSIX shell's words are, for values of one line."""
    try:
        spec = parse_jobspec({"job_name": "x", "command": ["true"], "sbatch_options": {"constraint": value}})
    except JobSpecError:
        return
    line = render_directive("constraint", spec.sbatch_options["constraint"])
    assert shlex.split(line.removeprefix("#SBATCH ")) == [f"--constraint={value}"]


@given(st.sets(st.integers(0, 3000), max_size=60))
@said.BUDGET
def test_elements_are_read_again(elements):
    """parse(render(x)) is x."""
    assert expand_elements(render_elements(elements)) == (elements or None)


@given(
    st.timedeltas(timedelta(seconds=1), timedelta(days=9999)).map(
        lambda limit: timedelta(seconds=-(-limit // timedelta(seconds=1)))
    )
)
@said.BUDGET
def test_time_limits_are_read_again(limit):
    """parse(render(x)) is x, in whole seconds."""
    assert parse_time_limit(render_time_limit(limit)) == limit


@given(
    st.dictionaries(
        st.sampled_from(["afterok", "afterany"]),
        st.lists(texts.filter(str.strip), min_size=1, max_size=3, unique=True).map(tuple),
        max_size=1,
    ),
    st.booleans(),
)
@said.BUDGET
def test_dependencies_are_read_again(tasks, singleton):
    """parse(to_json(x)) is x, whatever the tasks are called; what sbatch is given holds jobs' ids alone."""
    asked = Dependencies(tasks=tasks, singleton=singleton)
    assert parse_dependencies(asked.to_json()) == asked
    rendered = render_dependency([(kind, DependOn(("12", "3"))) for kind in tasks], singleton=singleton)
    assert set(rendered) <= set("afterokny:,0123456789singleton")


@given(arguments=st.lists(texts | st.lists(texts, max_size=4), min_size=1, max_size=5))
@said.BUDGET
def test_arguments_arrive_in_their_elements(arguments, tmp_path_factory):
    """Each element reads its own line, and gets its own words."""
    lines = parse_arguments(arguments)
    assert unpack_lines(pack_lines(lines)) == lines
    folder = tmp_path_factory.mktemp("job")
    (folder / "arguments").write_bytes(arguments_file(lines, range(len(lines)), 0))
    for number, expected in enumerate(arguments):
        variables = f"HEADNODE_DIRECTORY={folder} SLURM_ARRAY_TASK_ID={number}"
        output = bash(f'{variables}\n{READ_ARGUMENTS}\nfor word; do printf "%s\\0" "$word"; done')
        assert words(output) == ([expected] if isinstance(expected, str) else expected)


@given(st.dictionaries(names, texts.filter(lambda text: len(text) < 9000), min_size=1, max_size=9))
@said.BUDGET
def test_secrets_are_read_again(values):
    """The file sets exactly these variables."""
    shown = "".join(f'printf "%s\\0" "${name}"\n' for name in sorted(values))
    output = bash(f"{render_secrets(values).decode()}\n{shown}")
    assert words(output) == [values[name] for name in sorted(values)]


@given(
    work=texts.filter(lambda text: not set(text) & set("\n\r\0%\\")),
    run=texts,
    task=texts,
    options=st.lists(texts, max_size=3),
    script=texts,
)
@said.BUDGET
def test_the_step_of_a_submission_runs_nothing_else(work, run, task, options, script):
    """Its variables hold what they were given; names of directories can't lead out of the work directory."""
    labels = Labels(dag_id=task, run_id=run, task_id=task)
    place = JobPlace(work_directory=f"/{work}", deployment_id="d", labels=labels, owner=str(uuid.UUID(int=7)))
    step = render_step(
        place, script=script, resolved=0, code_sha256=None, options=options, files={"a": b"x"}, is_array=False,
        adopt_owners=(), secrets=None,
    )  # fmt: skip
    head, _, _ = step.partition("write_files() {")
    output = bash(f'HOME=/\n{head}\nprintf "%s\\0" "$root" "$task" "$script" "${{options[@]}}"')
    root, folder, *rest = words(output)
    assert root == f"/{work}/d"
    assert folder == f"{root}/tasks/{place.task_name}"
    assert "/" not in place.task_name
    assert rest == [script, *options]
    assert render_writing(None)
    assert parse_replies("") == {}
    command = shell(step, purpose="x").stdin
    assert subprocess.run(["bash", "-n"], input=command, capture_output=True, check=True, timeout=60).stderr == b""


@given(st.sampled_from(["host", "username", "host_proxy_cmd", "key_file"]), texts)
@said.BUDGET
def test_ssh_is_configured_for_one_host(field, value):
    """A value of the connection is no further line of ssh's configuration, or rsync is not used at all."""
    settings = SSHSettings(**{"conn_id": "c", "host": "h", "username": "u", field: value})
    if why_not(settings) is not None:
        return
    plain = SSHSettings(**{"conn_id": "c", "host": "h", "username": "u", field: "x"})
    config = render_config(settings, known_hosts="/k", identity=settings.key_file)
    assert config.count("\n") == render_config(plain, known_hosts="/k", identity=plain.key_file).count("\n")
    assert render_known_host(settings) is None


@given(st.floats(0, 1e18), st.floats(0, 1e9))
@said.BUDGET
def test_sizes_and_times_for_people(count, seconds):
    """The size can be read again, roughly."""
    number, unit = render_bytes(count).split(" ")
    text = number + unit.removesuffix("iB").removesuffix("B")
    assert abs(parse_memory(text) - count) <= max(1.0, count * 0.06)
    assert set(render_seconds(seconds)) <= set("0123456789:")


@given(texts)
@said.BUDGET
def test_a_line_that_is_shown_is_one_line(text):
    """For whoever cuts texts into lines, and for a terminal."""
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(character) < 32 and character != "\t" for character in shown)
    assert all(line.startswith("  ") for line in visible_block(text).splitlines())


@given(texts, st.floats() | st.integers() | texts)
@said.BUDGET
def test_a_trial_is_one_line(name, value):
    """Whatever its parameters are called, and whatever their values are."""
    for shown in (render_params({name: value}), render_value(value)):
        assert len(shown.splitlines()) <= 1
        assert len(shown) <= 200


@given(texts, texts)
@said.BUDGET
def test_records_and_policies_are_read_again(name, reason):
    """What is stored of a job comes back, in JSON's types."""
    labels = Labels(dag_id=name, run_id=reason, task_id=name)
    record = JobRecord(
        key="k", conn_id=name, host=name, labels=labels, job_id="1", job_name=name, directory="/w", log_path="/w/o",
        script_sha256="0", requested={"constraint": name}, submissions=[], reason=reason,
    )  # fmt: skip
    assert JobRecord.model_validate(record.to_xcom()) == record
    assert FailurePolicy.from_json(FailurePolicy().to_json()) == FailurePolicy()


@given(st.lists(lines_of_text, max_size=3), texts)
@said.BUDGET
def test_blocks_of_modules_are_read_again(lines, after):
    """parse(render(x)) is x, whatever its lines are."""
    block = new_block("system", ["software"], [f"module load {line}" for line in lines])
    assert parse_modules_block(render_modules_block(block))[0] == block
    text = render_modules_block(block) + after.replace("MODULES", "")
    assert text.startswith(render_modules_block(parse_modules_block(text)[0]))


def test_every_renderer_is_fuzzed():
    """One that is new has no fuzz test yet, so that this fails until it has one here or in another such file."""
    named = set()
    for file in Path(__file__).parent.glob("test_fuzz_*.py"):
        named |= {node.id for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Name)}
    found = functions_named("render_", headnode, headnode_ui)
    assert len(found) > 10
    assert found - named == set()


def test_nothing_was_run():
    """The values of all of these tests would have made files."""
    assert not Path(FOLDER).exists()
    assert CANARY in "".join(HOSTILE)
