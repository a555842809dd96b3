"""``headnode sites`` as it is typed: what it prints, and what it ends with."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from headnode.cli import app
from headnode.sites.catalogue import Catalogue

MINE = """\
name: mine
title: My [bold]cluster\x1b[2J
operator: My group
sources: {sinfo: {what: sinfo, date: 2026-11-02, kind: measured, url: "https://example.org/"}}
partitions:
  gpu: {cores: 16, gpus: 2, max_time: 1-00, is_partition: false, constraint: a100, source: sinfo}
notes: ["a remark"]
"""


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    for name in ("AIRFLOW_CONFIG", "AIRFLOW__HEADNODE__SITES_FOLDER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a system of the user's own."""
    folder = tmp_path / "sites"
    folder.mkdir()
    (folder / "mine.yaml").write_text(MINE.replace("\x1b", "\\e").replace("title: ", 'title: "').replace("[2J", '[2J"'))
    return folder


def headnode(*words):
    """Run the command; return its exit code, what it prints and what it says beside."""
    done = CliRunner().invoke(app, ["sites", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_all_systems_are_listed():
    """With their GPUs and what is unknown."""
    code, printed, said = headnode()
    assert (code, said) == (0, "")
    rows = {line.split()[0]: " ".join(line.split()) for line in printed.splitlines() if line.strip()}
    assert set(Catalogue().names()) <= set(rows)
    assert rows["vega"].startswith("vega Vega 5 4 x A100 40GB deepspeed, ")
    assert rows["meluxina"] == "meluxina MeluXina unknown unknown unknown partitions, modules, internet"


def test_the_list_for_programs():
    """One object, with null for what is unknown."""
    code, printed, _ = headnode("--json")
    answer = json.loads(printed)
    assert (code, answer["unreadable"]) == (0, [])
    systems = {system["name"]: system for system in answer["systems"]}
    assert list(systems) == Catalogue().names()
    assert systems["juwels-booster"]["gpus"] == "4 x A100 40GB"
    assert systems["juwels-booster"]["aliases"] == ["juwels", "juwels-boost"]
    assert systems["meluxina"]["gpus"] is None


def test_a_system_is_shown_with_sources_and_dates():
    """By an alias too; what is unknown is said to be."""
    code, printed, said = headnode("show", "juwels")
    assert (code, said) == (0, "")
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[0] == "JUWELS Booster"
    booster = lines[lines.index("partitions.booster") :]
    assert "max_nodes 384 lamec" in booster
    assert "max_time 1-00:00:00 course-2023" in booster
    assert "unknown usable_memory, default_time, max_jobs, max_running_jobs, internet" in booster
    assert "unknown mpi, version" in lines[lines.index("srun") :]
    assert (
        "lamec LAMEC, johannesnordal/tol105m@574a2ce, scripts/JUWELS 2024-09-06 community"
        in lines[lines.index("sources") :]
    )


@pytest.mark.parametrize("name", Catalogue().names())
def test_each_system_can_be_shown(name):
    """As text and for programs, where times are as Slurm writes them."""
    code, printed, _ = headnode("show", name)
    assert (code, "unknown" in printed) == (0, True)
    code, printed, _ = headnode("show", name, "--json")
    answer = json.loads(printed)
    assert (code, answer["name"]) == (0, name)
    for partition in answer["partitions"].values():
        assert partition["max_time"] is None or ":" in partition["max_time"]


@pytest.mark.parametrize("option", ["before", "after"])
def test_an_own_system_is_shown_as_it_is(folder, option):
    """Nothing of a file acts on the terminal, neither control characters nor what rich takes for a style."""
    words = ["--sites-folder", folder]
    code, printed, _ = headnode(*words, "show", "mine") if option == "before" else headnode("show", "mine", *words)
    assert code == 0
    assert printed.splitlines()[0].rstrip() == "My [bold]cluster\\x1b[2J"
    assert "- a remark" in printed
    assert "is_partition  no " in printed
    assert "https://example.org/" in printed


def test_folders_of_airflows_configuration(folder, tmp_path, monkeypatch):
    """The environment variable first, then airflow.cfg; the option wins over both."""
    monkeypatch.setenv("AIRFLOW__HEADNODE__SITES_FOLDER", str(folder))
    assert "mine" in headnode()[1]
    assert headnode("--sites-folder", "", "show", "mine")[0] == 2
    monkeypatch.delenv("AIRFLOW__HEADNODE__SITES_FOLDER")
    assert headnode("show", "mine")[0] == 2
    home = tmp_path / "airflow"
    home.mkdir()
    (home / "airflow.cfg").write_text(f"[core]\nx = %(y)s\n[headnode]\nsites_folder = {folder}\n")
    assert headnode("show", "mine")[0] == 0


def test_a_file_that_can_not_be_right_is_named_and_hides_no_other(folder):
    """And the command ends with 1."""
    (folder / "broken.yaml").write_text("name: broken\ntitel: x\n")
    code, printed, said = headnode("--sites-folder", folder)
    assert code == 1
    assert "mine " in printed
    assert said.startswith(
        f"note: {folder}/broken.yaml, line 1: operator: is missing; line 1: title: is missing; line 2: titel: "
    )
    code, printed, _ = headnode("--sites-folder", folder, "--json")
    assert (code, len(json.loads(printed)["unreadable"])) == (1, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "juwels-boster"), "headnode: site: there is no system 'juwels-boster'; did you mean juwels-booster "),
        (("show", "x\x1b[2J"), "headnode: site: there is no system 'x\\x1b[2J'; there are alps, "),
        (("--sites-folder", "/nowhere"), "headnode: site: sites_folder names '/nowhere', which is no folder"),
    ],
)
def test_what_can_not_be_shown(words, message):
    """One line that says why, and 2."""
    code, printed, said = headnode(*words)
    assert (code, printed) == (2, "")
    assert said.startswith(message)
    assert said.count("\n") == 1


def test_neither_airflow_nor_ssh_is_loaded():
    """They take seconds, and the catalogue needs neither."""
    program = (
        "import sys\nfrom headnode.cli import app\n"
        "try:\n    app(['sites', 'show', 'lumi'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "found = {'airflow', 'asyncssh', 'paramiko', 'sqlalchemy'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
