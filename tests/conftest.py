"""Environments beside the one that the tests run in: with Airflow alone, and with the built wheel besides."""

import os
import subprocess
import sys
import sysconfig
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DISTRIBUTION = "airflow-provider-headnode"
# Each group has parts of its own (a cluster, an Airflow), so its tests stay together; the longest begin first.
LONGEST = ("provider a to l", "provider m to z", "chaos/airflow", "cluster", "chaos", "dags", "ssh", "ui")
GROUPS = (*LONGEST, "landcover", "frameworks", "airflow_launch", "injection", "docker", "unit")
EVERYTHING = os.environ.get("CI") == "true" or os.environ.get("HEADNODE_FULL") == "1"


def _group_of(path):
    """Return the group of a test's file, a path from the project's root: the folder that it is in, or half of it."""
    folder = Path(path).parent.relative_to("tests").as_posix()
    if folder == "provider":
        return "provider a to l" if Path(path).stem < "test_m" else "provider m to z"
    return folder if folder in GROUPS else folder.partition("/")[0]


def pytest_collection_modifyitems(items):
    """Let the groups that take longest begin first."""
    order = {name: at for at, name in enumerate(GROUPS)}
    items.sort(key=lambda item: order.get(_group_of(item.path.relative_to(ROOT)), -1))


def pytest_xdist_make_scheduler(config, log):
    """Give each group to one of the processes of a run in parallel (``-n``)."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - only where the run is in parallel

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return _group_of(nodeid.partition("::")[0])

    config.option.loadscopereorder = False
    return ByGroup(config, log)


def pytest_terminal_summary(terminalreporter):
    """Say how long each group took: the longest bounds a run in parallel."""
    seconds = Counter()
    for report in (each for reports in terminalreporter.stats.values() for each in reports):
        if hasattr(report, "duration") and hasattr(report, "nodeid"):
            seconds[_group_of(report.nodeid.partition("::")[0])] += report.duration
    if len(seconds) > 1:
        terminalreporter.section("seconds of each group")
        terminalreporter.write_line(", ".join(f"{group} {total:.0f}" for group, total in seconds.most_common()))


def _site_packages(python):
    """Return the folder of the environment's packages."""
    (folder,) = python.parents[1].glob("lib/python*/site-packages")
    return folder


def _environment(directory):
    """Make an empty virtual environment and return its Python."""
    command = [sys.executable, "-m", "venv", "--without-pip", directory]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return directory / "bin/python"


def _linked_environment(directory, packages):
    """Make a virtual environment that holds links to ``packages``, and return its Python."""
    python = _environment(directory)
    for package in packages:
        (_site_packages(python) / package.name).symlink_to(package.resolve())
    return python


def _install(python, *arguments):
    """Let pip install into the environment."""
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-warn-script-location"]
    done = subprocess.run([*pip, *arguments], capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def site_packages():
    """Return the function that gives the folder of an environment's packages."""
    return _site_packages


@pytest.fixture(scope="session")
def airflow_alone(tmp_path_factory):
    """Return the Python of an environment that has all that this one has, except for headnode."""
    site = Path(sysconfig.get_path("purelib"))
    own = {Path(file).parts[0] for file in distribution(DISTRIBUTION).files or []}
    assert own, "what the distribution installed is unknown, so it cannot be left out"
    return _linked_environment(tmp_path_factory.mktemp("alone"), [p for p in site.iterdir() if p.name not in own])


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Return the built wheel."""
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(place)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def airflow_with_wheel(tmp_path_factory, airflow_alone, wheel):
    """Return the Python of an environment into which pip has put the built wheel beside Airflow."""
    python = _linked_environment(tmp_path_factory.mktemp("with_wheel") / "env", _site_packages(airflow_alone).iterdir())
    _install(python, "--no-deps", wheel)
    return python


@pytest.fixture(scope="session")
def installed(request, tmp_path_factory, wheel):
    """Return the Python of an environment that was empty before pip installed the wheel.

    Where neither ``CI=true`` nor ``HEADNODE_FULL=1`` is set, links stand for what the wheel requires; that saves a
    minute.
    """
    if not EVERYTHING:
        return request.getfixturevalue("airflow_with_wheel")
    python = _environment(tmp_path_factory.mktemp("installed") / "env")
    _install(python, wheel)
    return python
