"""Blocks of module lines in start scripts: what is in them is brought up to date, and nothing else changes."""

import contextlib
import copy
import re
import subprocess

import pytest
from broken_answers import BUDGET
from hypothesis import example, given
from hypothesis import strategies as st

from headnode.sites.module_lines import merge_lines, module_command
from headnode.sites.modules_block import (
    ModulesBlock,
    ModulesBlockError,
    new_block,
    parse_modules_block,
    rename_block,
    render_modules_block,
    update_block,
)

STACKS = {
    "pytorch": ["module purge", "module load Stages/2025", "module load GCC OpenMPI CUDA/12 Python"],
    "ray": ["module use /p/modules", "module load Stages/2025", "module load Python Ray/2.40", "export RAY_X=1"],
    "heat": ["module load GCC OpenMPI CUDA/12 Python HDF5"],
    "optuna": ["module load Stages/2025", "module load $EXTRA/optuna", "export RAY_X=1"],
}
SCRIPT = """\
#!/bin/bash
#SBATCH --nodes=4
# MODULES BEGIN juwels-booster pytorch
module purge
module load Stages/2025
module load GCC OpenMPI CUDA/12 Python
# MODULES END
srun python3 train.py
"""


def merged(software):
    """Return the lines of some of STACKS."""
    return merge_lines({name: STACKS[name] for name in software}).lines


def evaluated(text, *, add=(), remove=()):
    """Return a file whose blocks are up to date with STACKS, and all that is said of them."""
    result, notes = "", []
    for part in parse_modules_block(text):
        if isinstance(part, ModulesBlock):
            renamed = rename_block(part, add=add, remove=remove)
            updated = update_block(renamed, merged(renamed.software), former=merged(part.software))
            result, notes = result + render_modules_block(updated.block), [*notes, *updated.notes]
        else:
            result += part
    return result, notes


def block_of(text):
    """Return the first block."""
    return next(part for part in parse_modules_block(text) if isinstance(part, ModulesBlock))


def body(*lines, software="pytorch"):
    """Return a script whose block holds the lines."""
    return "\n".join(["#!/bin/sh", f"# MODULES BEGIN juwels-booster {software}", *lines, "# MODULES END", "end", ""])


def test_one_that_is_up_to_date_stays():
    """To the byte."""
    assert evaluated(SCRIPT) == (SCRIPT, [])


def test_an_outdated_line_is_replaced_and_said():
    """With its number in the file."""
    old = SCRIPT.replace("CUDA/12", "CUDA/11")
    text, (note,) = evaluated(old)
    assert text == SCRIPT
    assert note.startswith("line 6: `module load GCC OpenMPI CUDA/11 Python` goes")


def test_software_comes_and_goes():
    """Its modules that are loaded anyway are not repeated; folders and clearing come before what is loaded."""
    both, notes = evaluated(SCRIPT, add=["ray"])
    assert both == SCRIPT.replace("pytorch\n", "pytorch ray\n").replace(
        "module load Stages/2025\nmodule load GCC OpenMPI CUDA/12 Python\n",
        "module use /p/modules\nmodule load Stages/2025\nmodule load GCC OpenMPI CUDA/12 Python\n"
        "module load Ray/2.40\nexport RAY_X=1\n",
    )
    assert not notes
    assert evaluated(both, remove=["ray"]) == (SCRIPT, [])
    assert evaluated(both, add=["ray"]) == (both, [])


def test_the_first_goes():
    """The other keeps its modules, also those that the first had loaded for it."""
    text, _ = evaluated(SCRIPT, add=["ray"])
    alone, _ = evaluated(text, remove=["pytorch"])
    assert list(block_of(alone).lines) == [f"{line}\n" for line in STACKS["ray"]]


def test_the_last_can_not_go():
    """A block is for something."""
    with pytest.raises(ModulesBlockError, match=r"^line 3: no software would be left"):
        evaluated(SCRIPT, remove=["pytorch"])


def test_lines_of_the_author_stay_where_they_were():
    """Comments, variables, an environment, and modules within an `if`, a loop, a function, a here-document."""
    own = [
        "# what the site says",
        "module load Stages/2024",
        "export MINE=1",
        'if [ -d "$MINE" ]; then',
        "  module load Mine; fi",
        "for each in A B; do",
        "module load $each",
        "done",
        "more() {",
        "  module load More",
        "}",
        "cat <<-'EOF'",
        "module load don't",
        "EOF",
        "module avail 2>&1 | grep Mine",
        "source venv/bin/activate",
        "",
    ]
    text, notes = evaluated(body(*own))
    assert len(notes) == 1
    lines = list(map(str.strip, block_of(text).lines))
    assert lines == [own[0].strip(), *STACKS["pytorch"], *map(str.strip, own[2:])]
    assert evaluated(text) == (text, [])
    block = block_of(text)
    assert update_block(block, merged(block.software)).block == block
    assert evaluated(evaluated(text, add=["ray", "heat"])[0], remove=["heat", "ray"])[0] == text


def test_the_author_writes_the_same_otherwise():
    """Lmod's short form, comments, blanks and lines that go on in the next are as good."""
    text = body(
        "ml purge  # afresh",
        "\tml Stages/2025",
        "ml load GCC \\",
        "        OpenMPI CUDA/12 Python",
    )
    assert evaluated(text) == (text, [])


def test_an_own_environment_comes_after_modules_that_are_new():
    """It was made with them."""
    text, _ = evaluated(body("source venv/bin/activate"))
    assert [line.split()[0] for line in block_of(text).lines] == ["module", "module", "module", "source"]
    text, _ = evaluated(text, add=["ray"])
    assert block_of(text).lines[-1] == "source venv/bin/activate\n"


def test_variables_of_what_is_removed_go():
    """Those of the catalogue, not the author's."""
    text, _ = evaluated(body("export MINE=1", "export RAY_X=1", software="pytorch ray"), remove=["ray"])
    assert "MINE" in text
    assert "RAY_X" not in text


def test_the_form_of_lamec_is_read():
    """Its spelling of names stays, where a block is only brought up to date."""
    text = SCRIPT.replace("# MODULES BEGIN juwels-booster pytorch", "#MODULES BEGIN JUWELS Pytorch-DDP").replace(
        "# MODULES END", "#MODULES END"
    )
    block = block_of(text)
    assert (block.system, block.software, block.line) == ("juwels", ("pytorch",), 3)
    assert evaluated(text) == (text, [])
    assert block_of(evaluated(text, add=["ray"])[0]).begin == "#MODULES BEGIN JUWELS Pytorch-DDP ray\n"
    assert rename_block(block, system="lumi").begin == "#MODULES BEGIN lumi Pytorch-DDP\n"
    assert evaluated(evaluated(text, add=["ray"])[0], remove=["ray"]) == (text, [])


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a\n# MODULES BEGIN juwels pytorch\nmodule load A\n", 2, "without an END"),
        ("# MODULES END\n", 1, "an END without a BEGIN"),
        ("# MODULES BEGIN a b\n# MODULES END\n\n# MODULES END\n", 4, "an END without a BEGIN"),
        ("# MODULES BEGIN a b\n\n#MODULES BEGIN a b\n# MODULES END\n", 3, "within the one of line 1"),
        ("\n# MODULES BEGIN juwels\n# MODULES END\n", 2, "names its system and software"),
        ("# MODULES BEGIN\n# MODULES END\n", 1, "names its system and software"),
    ],
)
def test_a_block_that_is_broken(text, line, said):
    """Each with its line."""
    with pytest.raises(ModulesBlockError, match=said) as caught:
        parse_modules_block(text)
    assert caught.value.line == line
    assert copy.copy(caught.value).line == line  # as pickle does


@pytest.mark.parametrize("line", ["if true; then", "echo 'open", "cat <<EOF", "go_on \\", "(", "while read -r a; do"])
def test_what_is_open_at_the_end_of_a_block(line):
    """Nobody could tell what belongs to it."""
    text = body("module load A", line)
    with pytest.raises(ModulesBlockError, match="isn't closed") as caught:
        evaluated(text)
    assert caught.value.line == 4


def test_what_only_looks_like_a_mark():
    """Is text."""
    text = "# MODULES BEGINNING a b\n## MODULES BEGIN a b\necho # MODULES END\n# modules end\n# MODULES ENDS\n"
    assert parse_modules_block(text) == [text]
    assert parse_modules_block("") == []


def test_several_blocks_and_dos_line_breaks():
    """Each for itself; new lines end as their block's first one does, and are indented alike."""
    first = SCRIPT.replace("\n", "\r\n")
    second = "\t# MODULES BEGIN lumi heat\r\n\t# MODULES END"
    text, _ = evaluated(first + second)
    assert text == f"{first}\t# MODULES BEGIN lumi heat\r\n\t{STACKS['heat'][0]}\r\n\t# MODULES END"


@pytest.mark.parametrize(
    ("stacks", "said"),
    [
        ({"a": ["module load CUDA/11"], "b": ["module load CUDA/12"]}, ["a wants CUDA/11, b wants CUDA/12"]),
        ({"a": ["module load CUDA"], "b": ["ml CUDA/12"]}, ["a wants CUDA, b wants CUDA/12"]),
        ({"a": ["module load MPI-settings/CUDA"], "b": ["module load MPI-settings/UCX"]}, [
            "a wants MPI-settings/CUDA, b wants MPI-settings/UCX"
        ]),
        ({"a": ["module load lang/Python/3.10"], "b": ["module load lang/R/4.2"]}, []),
        ({"a": ["module load gcc/latest openmpi/5/gcc/latest"], "b": ["module load openmpi/4/gcc/latest"]}, [
            "a wants openmpi/5/gcc/latest, b wants openmpi/4/gcc/latest"
        ]),
        ({"a": ["module load A/1 A/2"], "b": ["export X=1"], "c": ["export X=2"]}, ["b wants X=1, c wants X=2"]),
    ],
)  # fmt: skip
def test_stacks_that_do_not_agree(stacks, said):
    """In words, and never in silence; nothing is left out for it."""
    result = merge_lines(stacks)
    assert list(result.conflicts) == said
    assert len(result.lines) == sum(map(len, stacks.values()))


def test_a_module_that_was_taken_away_is_loaded_again():
    """What is loaded is known only while nobody unloads it."""
    stacks = {"a": ["module load A B", "module unload A"], "b": ["module load A B"]}
    assert list(merge_lines(stacks).lines) == ["module load A B", "module unload A", "module load A"]


def test_bash_does_the_same_with_what_was_merged():
    """Run with a `module` that keeps an account: what is loaded at the end is what both load, in order."""
    account = 'module() { case $1 in purge) loaded=;; load) shift; loaded="$loaded $*";; esac; }\n'
    run = lambda lines: subprocess.run(  # noqa: E731
        ["bash", "-c", account + "\n".join(lines) + "\necho $loaded"], capture_output=True, text=True, check=True
    ).stdout.split()  # fmt: skip
    once = run(merged(["pytorch", "ray", "heat"]))
    assert once == list(dict.fromkeys(run(STACKS["pytorch"]) + run(STACKS["ray"]) + run(STACKS["heat"])))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("module load A B", ("load", "A", "B")),
        ("  ml A", ("load", "A")),
        ("ml load A", ("load", "A")),
        ("module add A", ("load", "A")),
        ("module --force purge", ("purge", "--force")),
        ("module load 'A' # why", ("load", "A")),
        ("ml A -B", ("load and unload", "A", "-B")),
        ("ml", ("",)),
    ],
)
def test_a_command_of_modules(line, words):
    """By verb and words."""
    command = module_command(line)
    assert (command.verb, *command.words) == words


@pytest.mark.parametrize(
    "line", ["modules load A", "module load A && x", "module load $(x)", "# module load A", "'", ""]
)
def test_no_command_of_modules(line):
    """Or more than one."""
    assert module_command(line) is None


names = st.lists(st.sampled_from(sorted(STACKS)), min_size=1, max_size=4, unique=True)
OWN = ["# mine\n", "\n", "export MINE=1\n", "source x\n", "if a; then\n  module load Q\nfi\n", "module list | cat\n"]
MARK = re.compile(r"[ \t]*#[ \t]*MODULES[ \t]+(?:BEGIN|END)")
texts = st.text(
    st.characters(exclude_characters="") | st.sampled_from(list("\n\r\t# MODULESBEGIN\udc80\x0b\u2028\0")), max_size=60
).map(lambda text: MARK.sub("", text))


@given(
    around=st.lists(texts, min_size=3, max_size=3),
    first=names,
    second=names,
    own=st.lists(st.sampled_from(OWN), max_size=4),
    more=names,
)
@BUDGET
def test_bytes_outside_of_blocks_never_change(around, first, second, own, more):
    """Whatever they are, and whatever is done."""
    before, between, after = (text if text.endswith("\n") or not text else f"{text}\n" for text in around)
    after = around[2]
    blocks = [
        render_modules_block(new_block("juwels-booster", software, lines))
        for software, lines in ((first, ["module load Old"]), (second, []))
    ]
    blocks[1] = blocks[1].replace("# MODULES END", "".join(own) + "# MODULES END")
    text, _ = evaluated(f"{before}{blocks[0]}{between}{blocks[1]}{after}", add=more)
    assert [part for part in parse_modules_block(text) if isinstance(part, str)] == [
        part for part in (before, between, after) if part
    ]


@given(software=names, more=names, places=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(OWN)), max_size=4))
@BUDGET
def test_made_evaluated_added_removed(software, more, places):
    """What was made is up to date; what is up to date stays so; what is added and removed again leaves no trace."""
    block = new_block("juwels-booster", software, merged(software))
    text = render_modules_block(block)
    assert evaluated(text) == (text, [])
    lines = list(block.lines)
    for place, own in places:
        lines.insert(place, own)
    text = "".join([block.begin, *lines, block.end])
    assert evaluated(text) == (text, [])
    new = [name for name in more if name not in software]
    added, notes = evaluated(text, add=new)
    assert not notes
    assert evaluated(added) == (added, [])
    assert evaluated(added, remove=new) == (text, [])


@given(software=names, lines=st.lists(st.sampled_from([*OWN, "module load Old\n", "ml X\n", "ml purge\n"]), max_size=6))
@BUDGET
def test_once_is_enough(software, lines):
    """A second look finds nothing to do, and no line of the author's is lost."""
    begin = f"# MODULES BEGIN x {' '.join(software)}\n"
    text, _ = evaluated("".join([begin, *lines, "# MODULES END\n"]))
    assert evaluated(text) == (text, [])
    mine = "".join(line for line in lines if line in OWN)
    kept = [line for line in text.splitlines(keepends=True) if line in mine]
    assert "".join(kept) == mine


SHELL = [
    "if a; then", "fi", "else", "for x in a b; do", "done", "while :; do", "case $x in", "a) module load C;;", "esac",
    "f() {", "}", "( cd x", ")", "cat <<EOF", "EOF", "cat <<'E F'", "E F", "cat <<-EOF", "\tEOF", "echo 'a", "b'",
    "module load A", "module load Old", "ml X \\", "  Y", "# it's", "# x \\", "# <<EOF", "x=$((1<<x))", "echo \\'",
    "[ -d x ] && module load Z", "exec 3<<<'a'", "if ( a ); then", "a | while read x; do", "done < f", "y=(a b)",
]  # fmt: skip


def bash_reads(lines):
    """Whether they are whole commands."""
    done = subprocess.run(["bash", "-n"], input="".join(lines).encode(), capture_output=True, check=False, timeout=60)
    return done.returncode == 0 and not done.stderr


@given(st.lists(st.lists(st.sampled_from(SHELL), min_size=1, max_size=4), min_size=8, max_size=8))
@example([["module load Old", "if a; then", "module load Old", "fi"], ["cat <<EOF", "module load Old", "EOF", "Old"]])
@BUDGET
def test_bash_reads_what_is_left(drawn):
    """Of whatever bash has read before: no line goes out of the middle of a command."""
    for lines in drawn:
        text = body(*lines)
        if lines[-1].endswith("\\") or not bash_reads(block_of(text).lines):
            continue
        with contextlib.suppress(ModulesBlockError):  # what can't be told is refused
            text, _ = evaluated(text)
            assert bash_reads(block_of(text).lines), lines
            assert evaluated(text) == (text, [])


@given(
    st.lists(
        st.sampled_from(
            ["# MODULES BEGIN a b\n", "#MODULES END\n", "\t# MODULES END", "x\n", "'\n", "if\r\n", "\udc80"]
        )
        | st.text(max_size=5)
    ).map("".join)
)
@BUDGET
def test_any_text_is_read_or_refused(text):
    """Its parts together are the text."""
    try:
        parts = parse_modules_block(text)
    except ModulesBlockError as error:
        parts, wrong = [text], error.line
    else:
        wrong = 1
    assert 1 <= wrong <= text.count("\n") + 1
    assert "".join(part if isinstance(part, str) else render_modules_block(part) for part in parts) == text
    for part in parts:
        if isinstance(part, ModulesBlock):
            with contextlib.suppress(ModulesBlockError):
                assert "module load A" in render_modules_block(update_block(part, ["module load A"]).block)
