"""The arguments of an array's elements, on their way to the jobs."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headnode.errors import JobSpecError
from headnode.slurm.element_arguments import (
    MAX_ARGUMENTS_BYTES,
    MAX_ELEMENT_BYTES,
    READ_ARGUMENTS,
    arguments_file,
    pack_lines,
    parse_arguments,
    unpack_lines,
)
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.script import render_script

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
HOSTILE = ["", " ", "\n", "a\n\nb\n", "'", '"', "\\", "$(touch /tmp/x) `id` $HOME", "*", "-n", "--", "é\t\r", "#"]


def words_seen(shell, directory, index):
    """Run the fragment as an element with this index does, and return the words that it has."""
    script = f"HEADNODE_DIRECTORY={directory} HEADNODE_ELEMENT=7 SLURM_ARRAY_TASK_ID={index}\n{READ_ARGUMENTS}\n"
    done = subprocess.run(
        [shell, "-c", script + '[ $# = 0 ] || printf "%s\\0" "$@"\n'], capture_output=True, check=False, timeout=30
    )
    return done.returncode, done.stdout.decode().split("\0")[:-1], done.stderr.decode()


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_hostile_words_arrive_as_they_are(tmp_path, shell):
    """Whatever a shell would make of them."""
    lines = parse_arguments([HOSTILE, "one", 5, 2.5, []])
    (tmp_path / "arguments").write_bytes(arguments_file(lines, range(5), 0))
    assert words_seen(shell, tmp_path, 0) == (0, HOSTILE, "")
    assert [words_seen(shell, tmp_path, index)[1] for index in range(1, 5)] == [["one"], ["5"], ["2.5"], []]


@settings(max_examples=20)
@given(st.lists(st.lists(WORDS, max_size=4), min_size=1, max_size=4))
def test_words_arrive_as_they_are(tmp_path_factory, elements):
    """Of every element its own."""
    directory = tmp_path_factory.mktemp("job")
    (directory / "arguments").write_bytes(arguments_file(parse_arguments(elements), range(len(elements)), 0))
    for index, words in enumerate(elements):
        assert words_seen("bash", directory, index) == (0, words, "")


def test_an_element_without_its_line_does_not_run(tmp_path):
    """Arguments that are not there are no empty arguments."""
    lines = parse_arguments(["a", "b", "c"])
    (tmp_path / "arguments").write_bytes(arguments_file(lines, [2], 0))
    assert words_seen("bash", tmp_path, 2)[1] == ["c"]
    for index in (0, 1, 3):
        status, _, said = words_seen("bash", tmp_path, index)
        assert (status, said) == (66, "headnode: the arguments of element 7 can't be read\n")


def test_a_part_of_the_array_holds_its_own_lines_only():
    """By their indexes in that job."""
    lines = parse_arguments(["a", "b", "c", "d", "e"])
    assert arguments_file(lines, [3, 4], 2) == b"\n-- d\n-- e\n"


@given(st.lists(WORDS, min_size=1))
def test_packed_lines_come_back(words):
    """As they were."""
    lines = parse_arguments(words)
    assert unpack_lines(pack_lines(lines)) == lines


@pytest.mark.parametrize("text", ['["a", "b c"]', "['a', 'b c']", "('a', 'b c')"])
def test_a_template_s_text_is_read_as_the_list_that_it_stands_for(text):
    """As JSON, or as Python prints it."""
    assert parse_arguments(text) == ["-- a", "-- 'b c'"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "empty"),
        ("", "which is no list"),
        ("abc", "which is no list"),
        ("__import__('os')", "which is no list"),
        ("7", "must be a list"),
        ({"a": 1}, "must be a list"),
        (b"ab", "must be a list"),
        ([{"tile": 1}], r"element 0 is a dict; write a list of words"),
        (["a", ["b", {"tile": 1}]], r"element 1 is a dict"),
        ([None], "element 0 holds None"),
        ([True], "element 0 holds True"),
        ([["a", ["b"]]], r"element 0 holds \['b'\]"),
        (["a\0"], "NUL"),
        (["\ud800"], "half a character"),
        (["a" * MAX_ELEMENT_BYTES], "of element 0 are longer than"),
        (["a" * 1000] * (MAX_ARGUMENTS_BYTES // 1000), "write them into a file on the cluster"),
    ],
)
def test_what_can_t_be_right_is_refused_with_the_element(value, message):
    """So that one finds it among thousands."""
    with pytest.raises(JobSpecError, match=rf"^arguments: .*{message}"):
        parse_arguments(value)


def test_a_command_given_as_a_list_gets_the_words_of_its_element():
    """After its own; with checkpoints, too. Shell text has them as "$@"."""
    listed = parse_jobspec({"job_name": "j", "command": ["run", "a b"]})
    text = parse_jobspec({"job_name": "j", "command": "run $1"})
    assert READ_ARGUMENTS + "\n\nrun 'a b' \"$@\"\n" in render_script(listed, takes_arguments=True)
    assert "\nrun 'a b' \"$@\" <&0 &\n" in render_script(listed, checkpoint=True, takes_arguments=True)
    assert READ_ARGUMENTS + "\n\nrun $1\n" in render_script(text, takes_arguments=True)
    assert READ_ARGUMENTS not in render_script(listed)
