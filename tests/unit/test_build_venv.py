"""The script that builds environments, run as jobs run it: with uv and with pip, beside builders that live or died."""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
from wheels import write_wheel

from headnode.sites.environments.virtual_env import BUILDER_NAME, VirtualEnv

UV = Path(sys.executable).parent
SHOW = "import alpha, sys; print(alpha.NAME, sys.prefix)"


@pytest.fixture
def place(tmp_path):
    """Return a folder with the builder, a lock file, wheels and a PATH in which uv is."""
    assert (UV / "uv").exists(), "uv is missing; `make test` installs it"
    write_wheel(tmp_path / "wheels", "alpha", code="NAME = 'alpha'\n")
    (tmp_path / "jobs.lock").write_text("alpha==1.0\n")
    builder = VirtualEnv("jobs.lock").resolved(tmp_path).files()[BUILDER_NAME]
    (tmp_path / BUILDER_NAME).write_bytes(builder)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").symlink_to(UV / "uv")
    return tmp_path


def build(place, *options, lock="jobs.lock", python="/usr/bin/python3", with_uv=True, **variables):
    """Run the builder; return what it ended with, the environment's path, and what it said."""
    path = f"{place / 'bin'}:/usr/bin:/bin" if with_uv else "/usr/bin:/bin"
    command = ["bash", place / BUILDER_NAME, place / lock, place / "e" / "venv-1", python, *options]
    done = subprocess.run(
        list(map(str, command)),
        env={"PATH": path, "HOME": str(place), "HEADNODE_BEAT_SECONDS": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout.strip(), done.stderr


def wheels(place):
    """Return the options that name the wheelhouse."""
    return ("--wheels", place / "wheels")


def folder_of(place):
    """Return the folder in which builds of the environment are."""
    return place / "e" / f"venv-1.{os.uname().machine}"


def test_uv_builds_where_it_is(place):
    """And what is there is found at once, without anything that it was built from."""
    code, path, said = build(place, *wheels(place))
    assert (code, path) == (0, str((folder_of(place) / "ready").resolve())), said
    assert "headnode: building venv-1" in said
    assert "with uv " in said
    shown = subprocess.run([f"{path}/bin/python3", "-c", SHOW], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout == f"alpha {path}\n"
    assert build(place, lock="no.lock", PATH="/usr/bin") == (0, path, "")


def test_pip_builds_where_there_is_no_uv(place):
    """Packages that the job's PYTHONPATH or the user's home has are not taken for installed ones."""
    elsewhere = place / "elsewhere"
    shutil.unpack_archive(place / "wheels" / "alpha-1.0-py3-none-any.whl", elsewhere, "zip")
    code, path, said = build(place, *wheels(place), with_uv=False, PYTHONPATH=str(elsewhere), PIP_USER="1")
    assert (code, "with pip" in said) == (0, True), said
    assert list(Path(path).glob("lib/python3*/site-packages/alpha.py"))


def test_packages_of_the_site_are_seen_where_that_is_wanted(place):
    """But not those of the job's own code."""
    code, path, said = build(place, "--system-site-packages", *wheels(place), HEADNODE_CODE=str(place))
    assert code == 0, said
    assert "include-system-site-packages = true" in (Path(path) / "pyvenv.cfg").read_text()


def test_a_build_on_another_host_is_waited_for_until_it_is_still(place):
    """No lock reaches over there for sure; what is touched no more for a while is dead, and taken away."""
    other = folder_of(place) / "b.others"
    other.mkdir(parents=True)
    (other / "half").touch()
    builder = folder_of(place) / "b.others.builder"
    builder.write_text("job 7 on another-host\n")
    alive_until = time.time() + 3 - 9  # nine beats of a second without a touch are too many
    os.utime(builder, (alive_until, alive_until))
    began = time.time()
    code, path, said = build(place, *wheels(place))
    assert code == 0, said
    assert time.time() - began > 2
    assert "waiting for venv-1" in said
    assert "job 7 on another-host" in said
    assert "removing b.others, which was not finished" in said
    assert not other.exists()
    assert not builder.exists()
    assert [str(each) for each in folder_of(place).glob("b.??????")] == [path]


def test_whoever_is_first_counts(place):
    """A builder that no lock held back uses what another has finished, and takes its own away."""
    first = build(place, *wheels(place))[1]
    link = folder_of(place) / "ready"
    link.unlink()
    python = place / "slow-python"
    # In the middle of the build the other one, which has never heard of this one, is ready.
    python.write_text(f'#!/bin/sh\nln -sT {Path(first).name} {link} 2>/dev/null\nexec /usr/bin/python3 "$@"\n')
    python.chmod(0o755)
    # So that it is not taken for a dead build.
    (folder_of(place) / f"{Path(first).name}.builder").write_text("job 7 on another-host\n")
    os.utime(folder_of(place) / f"{Path(first).name}.builder", (time.time() + 60,) * 2)
    script = (place / BUILDER_NAME).read_text().replace("if ! usable; then wait_for_others; fi", "")
    (place / BUILDER_NAME).write_text(script)
    code, path, said = build(place, *wheels(place), python=python)
    assert (code, path) == (0, first), said
    assert "was built by another job meanwhile" in said
    assert [str(each) for each in folder_of(place).glob("b.??????")] == [first]
    assert list(Path(first).glob("b.*")) == []  # where a link to a folder may lead


def test_an_environment_that_does_not_run_is_built_anew(place):
    """As after its Python was replaced by another version of it."""
    first = Path(build(place, *wheels(place))[1])
    (packages,) = first.glob("lib/python3*")
    packages.rename(first / "lib" / "python3.0")
    code, path, said = build(place, *wheels(place))
    assert (code, path != str(first)) == (0, True), said
    assert "is there and does not run any more" in said
    assert not first.exists()


@pytest.mark.parametrize("with_uv", [True, False])
def test_what_can_not_be_built_leaves_nothing(place, with_uv):
    """The log has the tool's own words, and what to do where there is no internet."""
    (place / "more.lock").write_text("gamma==1.0\n")
    offline = () if with_uv else ("--offline", "hill, the guide (2026, official)")
    code, path, said = build(place, *wheels(place), *offline, lock="more.lock", with_uv=with_uv)
    assert (code, path) == (1, "")
    assert "gamma" in said
    assert f"headnode: venv-1.{os.uname().machine} could not be built by {os.uname().nodename}: " in said
    assert f"{'uv pip' if with_uv else 'pip'} install ended with 1" in said
    assert ("there is no internet on" in said) != with_uv
    assert list(folder_of(place).glob("b.*")) == []


def test_what_is_missing(place):
    """The Python, or the wheelhouse."""
    code, _, said = build(place, python="python3.0")
    assert (code, "there is no python3.0 in PATH" in said) == (1, True)
    code, _, said = build(place, "--wheels", "/nowhere")
    assert (code, "its wheelhouse /nowhere is not there" in said) == (1, True)


def test_the_version_of_python_is_that_of_the_interpreter_that_is_named(place):
    """Not one that uv prefers."""
    code, path, said = build(place, *wheels(place), python=sys.executable)
    assert code == 0, said
    home = (Path(path) / "pyvenv.cfg").read_text()
    assert f"version_info = {sysconfig.get_python_version()}." in home
