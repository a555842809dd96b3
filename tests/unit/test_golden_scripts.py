"""Every start script is as it was when somebody read it, and real programs find nothing wrong with it.

``python tests/texts/golden_scripts.py`` writes them anew after a change; then read what ``git diff`` shows.
"""

import re
import subprocess

import golden_scripts
import pytest

from headnode.sites.facade import arrange
from headnode.sites.launchers import LAUNCHERS
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.script import render_script

SCRIPTS = golden_scripts.golden_scripts()
PATHS = sorted(path for path in SCRIPTS if path.endswith(".sh"))
_ON_EACH_NODE = re.compile(r"bash -c '\n(.*?)\n' headnode", re.DOTALL)


@pytest.mark.parametrize("path", sorted(SCRIPTS))
def test_a_script_is_as_it_was_read(path):
    """Compared with the file of its name."""
    assert SCRIPTS[path] == (golden_scripts.FOLDER / path).read_text(encoding="utf-8")


def test_no_file_is_left_of_a_script_that_is_gone():
    """Nor is any missing."""
    files = {path.relative_to(golden_scripts.FOLDER).as_posix() for path in golden_scripts.FOLDER.rglob("*.*")}
    assert files == set(SCRIPTS)


def test_what_is_known_of_the_stated_programs_is_there():
    """The facts have modules for these; a script that vanished from here would be no longer tested anywhere."""
    jsc = ("juwels-booster", "jureca-dc", "deep")
    expected = {f"{system}/{software}.sh" for system in jsc for software in ("pytorch", "deepspeed", "horovod", "heat")}
    assert expected | {"lumi/pytorch.sh", "lumi/heat.sh", "marenostrum5/pytorch.sh", "leonardo/pytorch.sh"} <= set(
        PATHS
    )


def shellcheck(*words, text=None):
    """Run shellcheck at its strictest level that is on by default, and return what it says."""
    done = subprocess.run(
        ["shellcheck", "--norc", "--severity=style", "--shell=bash", *words],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_bash_reads_every_script():
    """``bash -n``."""
    for path in PATHS:
        done = subprocess.run(
            ["bash", "-n"], input=SCRIPTS[path].encode(), capture_output=True, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, b""), path


def test_shellcheck_finds_nothing(tmp_path):
    """Neither in the scripts nor in what they have each node run, which in its quotes is no more than a text."""
    for path in PATHS:
        name = path.replace("/", "--")
        (tmp_path / name).write_text(SCRIPTS[path], encoding="utf-8")
        for number, text in enumerate(_ON_EACH_NODE.findall(SCRIPTS[path])):
            (tmp_path / f"{number}-{name}").write_text(f"{text}\n", encoding="utf-8")
    files = sorted(tmp_path.iterdir())
    assert len(files) > len(PATHS)
    assert shellcheck(*files) == ""


@pytest.mark.parametrize("checkpoint", [False, True])
def test_shellcheck_finds_nothing_in_the_script_of_a_task(checkpoint, tmp_path):
    """Which has headnode's own lines before and after the same launch."""
    for kind in LAUNCHERS:
        fields = {
            "job_name": "x",
            "command": golden_scripts.COMMAND,
            "site": "juwels-booster",
            "account": "a",
            "launch": {"kind": kind},
            "environment": {"kind": "modules", "software": "pytorch"},
        }
        spec = parse_jobspec(arrange(fields, golden_scripts.CATALOGUE))
        (tmp_path / f"{kind}.sh").write_text(render_script(spec, checkpoint=checkpoint), encoding="utf-8")
    # SC2317: it does not see that a trap calls the function which notes the script's end.
    assert shellcheck("--exclude=SC2317", *sorted(tmp_path.iterdir())) == ""


def test_shellcheck_would_find_something():
    """It is the real one, and no file of settings silences it."""
    assert "SC2086" in shellcheck("-", text="echo $HOME/*\n")


def test_a_single_rule_is_silenced_and_why_is_said():
    """The quotes around what each node runs are single on purpose."""
    silenced = {line for script in SCRIPTS.values() for line in script.split("\n") if "shellcheck disable" in line}
    assert silenced == {"# shellcheck disable=SC2016  # each node fills in its own variables"}
