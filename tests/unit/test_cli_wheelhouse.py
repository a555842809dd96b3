"""``headnode wheelhouse`` as it is typed: what pip is asked for, what is fetched, and what it ends with."""

import json

import pytest
from typer.testing import CliRunner
from wheels import write_wheel

from headnode.cli import app
from headnode.errors import JobSpecError
from headnode.sites.wheels import download_options


@pytest.fixture(autouse=True)
def _index(monkeypatch, tmp_path):
    """Let a folder of wheels be all that pip finds."""
    write_wheel(tmp_path / "index", "alpha", code="NAME = 'alpha'\n")
    write_wheel(tmp_path / "index", "beta", requires=["alpha"])
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.delenv("AIRFLOW__HEADNODE__SITES_FOLDER", raising=False)
    (tmp_path / "jobs.lock").write_text("beta==1.0\n")


def run(*words):
    """Run the command and return what it ended with, what it printed and what it said."""
    done = CliRunner().invoke(app, ["wheelhouse", *map(str, words)])
    return done.exit_code, done.stdout, done.stderr


def test_wheels_are_fetched(tmp_path):
    """With what they need; a second call finds them."""
    words = (tmp_path / "jobs.lock", tmp_path / "a" / "wheels", "--python", "3.9", "--site", "juwels-booster")
    code, out, _ = run(*words)
    assert (code, out) == (
        0,
        f"2 wheels, 0.0 MB: VirtualEnv('{tmp_path}/jobs.lock', wheelhouse='{tmp_path}/a/wheels')\n",
    )
    code, out, _ = run(*words, "--json")
    assert code == 0
    assert json.loads(out)["wheels"] == ["alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"]


def test_what_pip_is_asked_for():
    """Wheels alone, for all C libraries up to that one, by their new names and their old ones."""
    options = download_options(python="3.11", architecture="aarch64", glibc="2.18")
    assert options == [
        "--only-binary=:all:",
        "--python-version=3.11",
        "--implementation=cp",
        "--platform=manylinux_2_18_aarch64",
        "--platform=manylinux_2_17_aarch64",
        "--platform=manylinux2014_aarch64",
        "--platform=linux_aarch64",
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"python": "3"}, "python"),
        ({"python": "3.11 --index-url x"}, "python"),
        ({"architecture": "ppc64le"}, "architecture"),
        ({"glibc": "2.4"}, "glibc"),
        ({"glibc": "x"}, "glibc"),
    ],
)
def test_machines_that_there_are_not(given, said):
    """The error names what can't be right."""
    with pytest.raises(JobSpecError) as raised:
        download_options(**{"python": "3.11", "architecture": "x86_64", "glibc": "2.28", **given})
    assert raised.value.field == said


def test_what_can_not_be_fetched(tmp_path):
    """A package that has no wheel, no lock file, no processor: one line says what to do."""
    (tmp_path / "more.lock").write_text("gamma==1.0\n")
    code, out, said = run(tmp_path / "more.lock", tmp_path / "w", "--python", "3.9", "--architecture", "x86_64")
    assert (code, out) == (2, "")
    assert said.strip().split("\n")[-1].startswith("headnode: pip download ended with 1; what it says is above.")
    code, _, said = run(tmp_path / "no.lock", tmp_path / "w", "--python", "3.9", "--architecture", "x86_64")
    assert (code, said) == (2, f"headnode: lock: {tmp_path}/no.lock is no file\n")
    code, _, said = run(tmp_path / "jobs.lock", tmp_path / "w", "--python", "3.9")
    assert (code, said.startswith("headnode: architecture: give --architecture, or --site")) == (2, True)
