"""``headnode modules`` as it is typed: what it prints, what it writes, and what it ends with."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headnode.cli import app
from headnode.errors import JobSpecError
from headnode.sites.catalogue import Catalogue
from headnode.sites.generator import generate_script
from headnode.sites.module_stacks import check_file, find_stacks, make_block
from headnode.sites.modules_block import render_modules_block

HEADNODE = str(Path(sys.executable).with_name("headnode"))
SITE = """\
name: tiny
title: Tiny
operator: us
aliases: [tiny-one]
partitions: {gpu: {gpus: 4, source: here}}
sources: {here: {what: measured, date: "2026-11"}}
software:
  pytorch: {modules: [purge, load GCC/13 CUDA/12, Python/3.11], source: here}
  heat: {modules: [load GCC/12 HeAT], source: here, note: of old}
  ray: {modules: [use /opt/ray, load GCC/13 Ray], environment: {RAY_X: "1"}, source: here, partitions: [gpu]}
"""
PYTORCH = "module purge\nmodule load GCC/13 CUDA/12\nmodule load Python/3.11\n"
BLOCK = f"# MODULES BEGIN tiny pytorch\n{PYTORCH}# MODULES END\n"
SCRIPT = f"#!/bin/bash\n{BLOCK}srun x\n"
OLD = SCRIPT.replace("CUDA/12", "CUDA/11")


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    """Make a system of one's own known."""
    folder = tmp_path / "sites"
    folder.mkdir()
    (folder / "tiny.yaml").write_text(SITE)
    monkeypatch.setenv("AIRFLOW__HEADNODE__SITES_FOLDER", str(folder))
    monkeypatch.chdir(tmp_path)


def run(*words, **options):
    """Run the command in this process."""
    return CliRunner().invoke(app, ["modules", *words], **options)


def refused(result):
    """Return the one line that says why a command was not done."""
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    return line


def test_gen():
    """The block alone is printed, so that it can be appended to a file."""
    result = run("gen", "tiny", "pytorch")
    assert (result.exit_code, result.stdout, result.stderr) == (0, BLOCK, "")
    assert run("gen", "Tiny-One", "Pytorch-DDP").stdout == BLOCK


def test_gen_of_several_says_what_does_not_agree():
    """Beside the answer."""
    result = run("gen", "tiny", "pytorch", "heat", "ray", "pytorch")
    assert result.stdout.splitlines() == [
        "# MODULES BEGIN tiny pytorch heat ray",
        "module purge",
        "module use /opt/ray",
        "module load GCC/13 CUDA/12",
        "module load Python/3.11",
        "module load GCC/12 HeAT",
        "module load Ray",
        "export RAY_X=1",
        "# MODULES END",
    ]
    assert result.stderr.splitlines() == [
        "note: pytorch wants GCC/13, heat wants GCC/12; the later line counts, or is refused",
        "note: heat: of old",
        "note: ray: for the partitions gpu of tiny",
    ]


def test_gen_as_json():
    """With where the modules were read."""
    answer = json.loads(run("gen", "tiny", "pytorch", "heat", "--json").stdout)
    assert answer["system"] == "tiny"
    assert answer["software"] == ["pytorch", "heat"]
    assert answer["sources"] == dict.fromkeys(("pytorch", "heat"), "measured (2026-11, community)")
    assert len(answer["notes"]) == 2
    assert answer["block"].splitlines()[1:-1] == answer["lines"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gen", "tinny", "pytorch"], "headnode: site: there is no system 'tinny'; did you mean tiny"),
        (["gen", "tiny", "pytorhc"], "headnode: software: the modules of tiny for 'pytorhc' are unknown; did you mean"),
        (["gen", "tiny", "pytorch", "a\nb"], "headnode: software: the modules of tiny for 'a\\nb' are unknown"),
        (["eval", "none.sh"], "headnode: none.sh: No such file or directory"),
        (["eval", "sites"], "headnode: sites: Is a directory"),
        (["eval", "job.sh", "--system", "tinny"], "headnode: job.sh: site: there is no system 'tinny'"),
        (
            ["eval", "job.sh", "--add", "hat"],
            "headnode: job.sh: software: the modules of tiny for 'hat' are unknown; did",
        ),
        (["eval", "job.sh", "--remove", "ray"], "headnode: job.sh: remove: no block is for 'ray'; there are pytorch"),
        (["eval", "job.sh", "--remove", "pytorch"], "headnode: job.sh:2: no software would be left"),
    ],
)
def test_what_can_not_be_done(words, said, tmp_path):
    """One line, with the nearest names, and 2."""
    (tmp_path / "job.sh").write_text(SCRIPT)
    assert refused(run(*words)).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "job.sh:1: the file holds no block"),
        ("x\n# MODULES BEGIN tiny pytorch\n", "job.sh:2: a block without an END"),
        ("x\n\n# MODULES END\n", "job.sh:3: an END without a BEGIN"),
        ("# MODULES BEGIN tiny heat\n# MODULES BEGIN tiny ray\n# MODULES END\n", "job.sh:2: a block begins within"),
        ("# MODULES BEGIN tinny heat\n# MODULES END\n", "job.sh:1: there is no system 'tinny'; did you mean tiny"),
        (
            "\n# MODULES BEGIN tiny heet\n# MODULES END\n",
            "job.sh:2: the modules of tiny for 'heet' are unknown; did you",
        ),
        ("# MODULES BEGIN tiny heat\nif x; then\n# MODULES END\n", "job.sh:2: what begins here isn't closed"),
    ],
)
def test_a_file_that_is_broken(text, said, tmp_path):
    """With file and line, and nothing is written."""
    file = tmp_path / "job.sh"
    file.write_text(text)
    assert refused(run("eval", "job.sh", "--write")).startswith(f"headnode: {said}")
    assert file.read_text() == text


def test_eval_of_what_is_up_to_date(tmp_path):
    """Ends with 0, and touches nothing."""
    file = tmp_path / "job.sh"
    file.write_text(SCRIPT)
    before = file.stat()
    result = run("eval", "job.sh", "--write")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "job.sh: up to date\n")
    assert file.stat() == before


def test_eval_shows_and_writes(tmp_path):
    """A diff, which `patch` takes; with --write the file itself, after which there is nothing to do."""
    file = tmp_path / "job.sh"
    for text, wanted in (
        (OLD, SCRIPT),
        (f"\r\n{OLD.rstrip()}".replace("\n", "\r\n"), f"\r\n{SCRIPT.rstrip()}".replace("\n", "\r\n")),
    ):
        file.write_bytes(text.encode())
        result = run("eval", "job.sh")
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1] == "job.sh: out of date (--write brings it up to date)"
        assert "goes, which the catalogue does not have" in result.stderr
        assert file.read_bytes() == text.encode()
        copy = tmp_path / "copy.sh"
        copy.write_bytes(text.encode())
        shown = result.stdout
        subprocess.run(["patch", "--binary", str(copy)], input=result.stdout_bytes, check=True, capture_output=True)
        assert copy.read_bytes() == wanted.encode()
        result = run("eval", "job.sh", "--write")
        assert (result.exit_code, result.stdout) == (0, shown)
        assert result.stderr.splitlines()[-1] == "job.sh: written"
        assert file.read_bytes() == wanted.encode()
        assert run("eval", "job.sh").exit_code == 0


def test_bytes_of_any_kind_stay(tmp_path):
    """Latin-1, half characters, NULs, carriage returns, Unicode's line breaks, and the block's own tabs."""
    before = b"#!/bin/sh\r\n# J\xfclich \xff\xfe\0\x0b\x0c \xe2\x80\xa8 \xc2\x85\r\r\n\t"
    after = b"\n\xc3\x28\xed\xb2\x80 # MODULES END\xff"
    old = b"# MODULES BEGIN tiny heat\n\t# \xfc\n\t# MODULES END"
    file = tmp_path / "job.sh"
    file.write_bytes(before + old + after)
    assert run("eval", "job.sh", "--write").exit_code == 0
    new = b"# MODULES BEGIN tiny heat\n\tmodule load GCC/12 HeAT\n\t# \xfc\n\t# MODULES END"
    assert file.read_bytes() == before + new + after
    assert json.loads(run("eval", "job.sh", "--json", "--add", "ray").stdout)["text"].count("\udcff") == 2


def test_a_name_that_is_no_text(tmp_path):
    """Is shown so that a terminal does nothing with it, and found."""
    name = os.fsdecode(b"\xff\x1b[31m\n.sh")
    (tmp_path / name).write_text(OLD)
    result = run("eval", name)
    assert (result.exit_code, result.stderr.splitlines()[-1][:13]) == (1, "\\udcff\\n.sh: ")
    assert "\x1b" not in result.output
    assert json.loads(run("eval", name, "--json").stdout)["file"] == name


def test_a_link_stays_one_and_the_mode_stays(tmp_path):
    """What it leads to is replaced at once: whoever has the old file open reads it to its end."""
    real = tmp_path / "elsewhere" / "job.sh"
    real.parent.mkdir()
    real.write_text(OLD)
    real.chmod(0o4751)
    (tmp_path / "job.sh").symlink_to("middle")
    (tmp_path / "middle").symlink_to(real)
    with real.open() as reader:
        assert run("eval", "job.sh", "--write").exit_code == 0
        assert reader.read() == OLD
    assert real.read_text() == SCRIPT
    assert stat.S_IMODE(real.stat().st_mode) == 0o4751
    assert (tmp_path / "job.sh").is_symlink()
    assert (tmp_path / "middle").is_symlink()
    assert list(real.parent.iterdir()) == [real]


def test_what_is_no_file_is_not_written(tmp_path):
    """A pipe can be read, once."""
    os.mkfifo(tmp_path / "job.sh")
    with subprocess.Popen(["bash", "-c", "cat > job.sh"], stdin=subprocess.PIPE, cwd=tmp_path) as writer:
        writer.stdin.write(OLD.encode())
        writer.stdin.close()
        assert refused(run("eval", "job.sh", "--write")) == "headnode: job.sh: is no regular file"


def test_standard_input():
    """A filter with --write, else a diff."""
    result = run("eval", "-", input=SCRIPT)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "standard input: up to date\n")
    result = run("eval", "-", input=OLD)
    assert result.exit_code == 1
    assert "+module load GCC/13 CUDA/12\n" in result.stdout
    result = run("eval", "-", "--write", input=OLD)
    assert (result.exit_code, result.stdout) == (0, SCRIPT)
    assert refused(run("eval", "-", input="# MODULES END")) == (
        "headnode: standard input:1: an END without a BEGIN before it"
    )


def test_to_another_system_and_back(tmp_path):
    """The author's own lines move along."""
    own = "source venv/bin/activate\n# MODULES END"
    (tmp_path / "job.sh").write_text(SCRIPT.replace("# MODULES END", own))
    assert run("eval", "job.sh", "--system", "juwels", "--write").exit_code == 0
    moved = (tmp_path / "job.sh").read_text()
    assert "# MODULES BEGIN juwels-booster pytorch\nmodule load " in moved
    assert own in moved
    assert "module purge" not in moved
    assert run("eval", "job.sh", "--system", "juwels-booster").exit_code == 0
    assert run("eval", "job.sh", "--system", "tiny", "--write").exit_code == 0
    assert (tmp_path / "job.sh").read_text() == SCRIPT.replace("# MODULES END", own)


def test_from_a_system_that_is_gone(tmp_path):
    """Nothing of it needs to be known."""
    (tmp_path / "job.sh").write_text(OLD.replace("tiny", "gone"))
    assert run("eval", "job.sh", "--system", "tiny", "--write").exit_code == 0
    assert (tmp_path / "job.sh").read_text() == SCRIPT


def test_the_form_of_lamec_moves(tmp_path):
    """With its own spelling of names, and one line for all modules."""
    text = "#MODULES BEGIN DEEP Pytorch-DDP\nml GCC/13\n#MODULES END\n"
    (tmp_path / "job.sh").write_text(text)
    assert run("eval", "job.sh", "--system", "tiny", "--write").exit_code == 0
    assert (tmp_path / "job.sh").read_text() == f"#MODULES BEGIN tiny Pytorch-DDP\n{PYTORCH}#MODULES END\n"


def test_eval_as_json(tmp_path):
    """Each block with its line, its state and what it should hold."""
    (tmp_path / "job.sh").write_text(SCRIPT + OLD)
    result = run("eval", "job.sh", "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (1, "")
    assert {name: answer[name] for name in ("file", "up_to_date", "written", "text")} == {
        "file": "job.sh", "up_to_date": False, "written": False, "text": SCRIPT + SCRIPT,
    }  # fmt: skip
    first, second = answer["blocks"]
    assert (first["line"], first["up_to_date"], second["line"], second["up_to_date"]) == (2, True, 9, False)
    assert (first["system"], first["software"], first["lines"]) == ("tiny", ["pytorch"], PYTORCH.splitlines())
    assert answer["diff"].startswith("--- job.sh\n+++ job.sh\n@@ ")
    result = run("eval", "job.sh", "--json", "--write")
    assert (result.exit_code, json.loads(result.stdout)["written"]) == (0, True)
    assert (tmp_path / "job.sh").read_text() == SCRIPT + SCRIPT


def test_the_whole_catalogue_is_up_to_date_with_itself():
    """What gen prints and what scripts hold, eval finds in order, for every system and software with known modules."""
    catalogue, seen = Catalogue(), 0
    for name in catalogue.names():
        system = catalogue.system(name)
        stacks = {}
        for software in system.software:
            stacks[software] = found = find_stacks(system, [software])
            text = render_modules_block(make_block(found))
            assert check_file(text, catalogue).text == text
            seen += 1
        if stacks:
            text = render_modules_block(make_block(find_stacks(system, list(stacks))))
            assert check_file(text, catalogue).up_to_date
        for software in stacks:
            try:
                script = generate_script(name, software, command=["x"], catalogue=catalogue, account="a", qos="q").text
            except JobSpecError:
                continue  # whatever it is refused for; golden scripts tell
            assert "# MODULES BEGIN" not in script or check_file(script, catalogue).up_to_date, (name, software)
    assert seen > 20


def test_the_folder_of_systems_is_found_in_airflow_cfg(tmp_path, monkeypatch):
    """Without Airflow, and also where the file has what Airflow alone understands."""
    monkeypatch.delenv("AIRFLOW__HEADNODE__SITES_FOLDER")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("HERE", str(tmp_path))
    assert run("gen", "tiny", "pytorch").exit_code == 2
    (tmp_path / "airflow.cfg").write_text("[core]\na = %(b)s %d\n[headnode]\nsites_folder = $HERE/sites\n")
    assert run("gen", "tiny", "pytorch").stdout == BLOCK
    (tmp_path / "airflow.cfg").write_text("[headnode]\nsites_folder = /nonexistent\n")
    assert "sites_folder names '/nonexistent', which is no folder" in refused(run("gen", "tiny", "pytorch"))


def test_ctrl_c_is_quiet(tmp_path):
    """The real command, while it waits for its input."""
    os.mkfifo(tmp_path / "job.sh")
    command = [HEADNODE, "modules", "eval", "job.sh"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process,
        (tmp_path / "job.sh").open("wb"),  # comes back when the other end is open too
    ):
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 130


def test_a_reader_that_goes_away_is_no_error():
    """As with every filter."""
    done = subprocess.run(
        ["bash", "-c", f"{{ {HEADNODE} modules gen tiny pytorch; echo $? >&2; }} | true"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stderr == "1\n"
