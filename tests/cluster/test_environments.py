"""Virtual environments built by jobs: once, from wheels that were uploaded, without a network, whoever is killed."""

import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from wheels import write_wheel

from headnode.cluster.login_run import LoginRun, RunSeen, follow_run, remove_run, start_run, stop_run
from headnode.cluster.submission import SubmitRequest, submit
from headnode.errors import TransferStopped
from headnode.hooks.login_build import build_on_login_host
from headnode.hooks.staging import Options
from headnode.hooks.transfer import Stop
from headnode.hooks.wheelhouse import stage_wheelhouses
from headnode.sites.catalogue import Catalogue
from headnode.sites.environments import Apptainer, Commands, Modules, VirtualEnv
from headnode.sites.facade import arrange
from headnode.sites.launchers.mpi import Mpi
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.script import render_script

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

OPTIONS = Options(token="tests000", first_retry_seconds=0.1)
# The script runs once more from its begin, where there is no network, not even the machine's own.
CUT_OFF = Commands('[ -n "${CUT_OFF:-}" ] || CUT_OFF=yes exec unshare --map-root-user --net bash -l "$0"')
# A uv that waits in the middle of a build, until it is let go.
SLOW_UV = """#!/bin/sh
"{uv}" "$@" || exit
if [ "$1" = venv ]; then
  touch "{folder}/began"
  while [ ! -e "{folder}/go" ]; do sleep 0.1; done
fi
"""
# Only with the image's name as one word does it find where the command begins.
STAND_IN = """#!/bin/bash
printf '%s\\n' "$*" "$APPTAINER_BINDPATH" > "{folder}/asked.$SLURM_PROCID"
until [ "$1" = "$PROJECT/torch 2.sif" ]; do shift; done
shift
exec "$@"
"""


@pytest.fixture
def environments(tmp_path):
    """Return the folder on the cluster in which environments are."""
    return tmp_path / "environments"


@pytest.fixture
def wheelhouse(tmp_path):
    """Return a folder of wheels on the worker, of which one needs the other, with a lock file beside it."""
    folder = tmp_path / "local" / "wheels"
    write_wheel(folder, "alpha", code="NAME = 'alpha'\n")
    write_wheel(folder, "beta", code="from alpha import NAME\n", requires=["alpha"])
    (folder.parent / "jobs.lock").write_text("alpha==1.0\nbeta==1.0\n")
    return folder


@pytest.fixture
def start(ask, new_place):
    """Return a function that submits a job in an environment, and returns its directory."""

    def run(environment, *command, **fields):
        job = {"job_name": "test", "command": list(command) or None, "memory": "10M", **fields}
        spec = parse_jobspec(arrange({**job, "environment": environment}, Catalogue()))
        request = SubmitRequest(place=new_place(), script=render_script(spec), files=environment.files())
        submitted = ask(submit(request))
        return submitted.job_id, Path(submitted.directory)

    return run


@pytest.fixture
def modules(tmp_path, slurm_cluster):
    """Return a folder of modules for Lmod: one in two versions, which brings a package that is not the right one.

    Login shells on the cluster have Lmod meanwhile.
    """
    profile = slurm_cluster.directory / "home" / ".bash_profile"
    profile.write_text(". /usr/share/lmod/lmod/init/bash\n")
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "beta.py").write_text("raise SystemExit('the beta of a module')\n")
    for version in ("1.0", "2.0"):
        file = tmp_path / "modules" / "tool" / f"{version}.lua"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'setenv("TOOL", "{version}")\nprepend_path("PYTHONPATH", "{packages}")\n')
    yield tmp_path / "modules"
    profile.unlink()


def wait_for(condition, what):
    """Return the first true value, within bounds."""
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


def end_of(job):
    """Wait for the job's end, and return its exit code, its output and its log of errors."""
    _, directory = job
    end = directory / "end"
    wait_for(lambda: end.exists() and end.read_text(), f"the end of the job in {directory}")
    return (
        int(end.read_text().split()[0]),
        (directory / "output.log").read_text(),
        (directory / "error.log").read_text(),
    )


def builds_in(environments):
    """Return the folders that were built in."""
    return [each for each in environments.glob("venv-*/b.??????") if each.is_dir()]


LOOK = """
import importlib.util, os, socket, sys
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5).close()
    print("a network")
except OSError:
    print("no network")
if importlib.util.find_spec("beta"):
    import beta
    print(beta.NAME, beta.__file__, "with tool", os.environ["TOOL"])
"""


@pytest.fixture
def conn_id(environments, slurm_cluster, monkeypatch):
    """Return the id of an Airflow connection in whose work directory the environments are."""
    connection = slurm_cluster.airflow_connection_json("slurm", work_directory=str(environments.parent))
    monkeypatch.setenv("AIRFLOW_CONN_ENVIRONMENTS", connection)
    return "environments"


@pytest.fixture
def uploaded(wheelhouse, environments, conn_id, caplog):
    """Return an environment whose wheels were put on the cluster, twice: the second time they were there."""
    caplog.set_level("INFO", logger="headnode")
    built = VirtualEnv("jobs.lock", wheelhouse="wheels").resolved(wheelhouse.parent)
    for _ in range(2):
        stage_wheelhouses(built, conn_id=conn_id, options=OPTIONS)
    assert [record.getMessage() for record in caplog.records].count(f"sending the wheelhouse {wheelhouse}") == 1
    assert {each.name for each in (environments / built.wheels).iterdir()} == {x.name for x in wheelhouse.iterdir()}
    return built


def test_two_jobs_share_what_is_built_without_a_network(uploaded, modules, environments, start, slurm_cluster):
    """One builds, from the wheels that were uploaded, the other waits; both run in what was built, cut off."""
    look = ("python3", "-c", LOOK, str(slurm_cluster.port))
    cut_off = CUT_OFF + Modules(commands=[f"use {modules}", "tool/1.0"]) + uploaded
    jobs = [start(each, *look) for each in (cut_off, cut_off, Commands("true"))]
    *ends, plain = (end_of(job) for job in jobs)
    (build,) = builds_in(environments)
    (packages,) = (build / "lib").glob("python3*/site-packages")
    found = f"no network\nalpha {packages}/beta.py with tool 1.0\n"
    assert [(code, output) for code, output, _ in ends] == [(0, found)] * 2, ends
    assert plain[:2] == (0, "a network\n")
    said = "".join(errors for _, _, errors in ends)
    assert len(re.findall("headnode: building venv-", said)) == 1
    assert len(re.findall(r"headnode: venv-.* was built in [0-9]+ s", said)) == 1


def test_modules_are_loaded_in_order_or_the_job_says_why_not(modules, start):
    """By a real module system; a shell that has not read where it is defined says how to begin."""
    loaded = Modules(commands=[f"use {modules}", "tool/1.0", "swap tool/1.0 tool/2.0"], purge=True)
    missing = Modules(commands=[f"use {modules}", "load tool/3.0", "load tool"])
    jobs = (
        start(loaded, "sh", "-c", 'echo "$TOOL"'),
        start(missing, "echo", "never"),
        start(loaded, script="#!/bin/bash\necho never\n"),
    )
    good, unknown, no_login = map(end_of, jobs)
    assert good[:2] == (0, "2.0\n"), good
    assert unknown[:2] == (1, "")
    assert "tool/3.0" in unknown[2]
    assert no_login[:2] == (1, "")
    assert "has no command 'module' in this shell; a script must begin with '#!/bin/bash -l'" in no_login[2]


@pytest.fixture
def slow_uv(tmp_path):
    """Return what brings a uv that makes a file when an environment was begun, and then waits for another one."""
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(SLOW_UV.format(uv=Path(sys.executable).with_name("uv"), folder=tmp_path))
    uv.chmod(0o755)
    return Commands(f'export PATH="{uv.parent}:$PATH"')


def builders(tmp_path):
    """Return the processes that build an environment of this test."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(word.endswith("/build_venv.sh") for word in process.info["cmdline"] or [])
        and any(str(tmp_path) in word for word in process.info["cmdline"])
    ]


def test_a_killed_build_is_finished_by_the_next(wheelhouse, environments, start, slow_uv, tmp_path):
    """The next job takes away what the killed one left, and builds."""
    (environments / "wheels").mkdir(parents=True)
    for each in wheelhouse.iterdir():
        (environments / "wheels" / each.name).write_bytes(each.read_bytes())
    built = slow_uv + VirtualEnv("jobs.lock").resolved(wheelhouse.parent).model_copy(update={"wheels": "wheels"})

    killed = start(built, "true")
    wait_for((tmp_path / "began").exists, "the build's begin")
    for process in builders(tmp_path):
        process.kill()
    (left,) = builds_in(environments)
    assert end_of(killed)[:2] == (1, "")
    (tmp_path / "go").touch()

    code, output, said = end_of(start(built, "python3", "-c", "import beta; print(beta.NAME)"))
    assert (code, output) == (0, "alpha\n"), said
    assert f"headnode: removing {left.name}, which was not finished" in said
    (whole,) = builds_in(environments)
    assert whole != left


def test_a_script_on_the_login_host_outlives_who_started_it(ask, tmp_path):
    """Who asks again finds it, reads its log where it left off, and can end it with all that it has started."""
    run = LoginRun(work_directory=str(tmp_path), name="a1b2c3d4")
    script = (
        'cat "$HEADNODE_DIRECTORY/word"; while [ ! -e go ]; do sleep 0.1; done; echo 7 > "$HEADNODE_RESULT"; exit 3'
    )
    assert ask(start_run(run, script=script, files={"word": b"one\ntwo\n"}))
    wait_for(lambda: ask(follow_run(run, offset=4)).log == b"two\n", "the log")
    assert not ask(start_run(run, script=script, files={}))
    assert ask(follow_run(run, offset=0)) == RunSeen(exit_code=None, result="", log=b"one\ntwo\n")
    (tmp_path / "environments" / "on-login-host" / "runs" / run.name / "go").touch()
    wait_for(lambda: ask(follow_run(run, offset=8)) == RunSeen(exit_code=3, result="7\n", log=b""), "its end")

    assert ask(start_run(run, script="echo $$; sleep 300 & wait", files={}))
    process = int(wait_for(lambda: ask(follow_run(run, offset=0)).log, "the log"))
    ask(stop_run(run))
    wait_for(lambda: ask(follow_run(run, offset=0)).exit_code == -1, "its end")
    assert not psutil.pid_exists(process)
    ask(remove_run(run))
    assert list((tmp_path / "environments" / "on-login-host" / "runs").iterdir()) == []


def test_a_build_on_the_login_host_ends_with_its_task(wheelhouse, environments, conn_id, slow_uv, tmp_path):
    """A task that is ended leaves neither processes nor half an environment."""
    built = slow_uv + VirtualEnv("jobs.lock").resolved(wheelhouse.parent)
    options = replace(OPTIONS, stop=Stop())
    with ThreadPoolExecutor() as pool:
        build = pool.submit(
            build_on_login_host, built, conn_id=conn_id, site=None, partition=None, poll_seconds=0.2, options=options
        )
        wait_for((tmp_path / "began").exists, "the build's begin")
        assert builders(tmp_path)
        options.stop.set()
        with pytest.raises(TransferStopped):
            build.result(60)
    wait_for(lambda: not builders(tmp_path), "the builder's end")
    assert builds_in(environments) == []


def test_a_container_goes_around_each_task(start, tmp_path):
    """Within srun, and with the job's directory shown; what stands in for Apptainer writes down what it is asked."""
    (tmp_path / "bin").mkdir()
    runtime = tmp_path / "bin" / "apptainer"
    runtime.write_text(STAND_IN.format(folder=tmp_path))
    runtime.chmod(0o755)
    path = Commands(f'export PATH="{tmp_path}/bin:$PATH"')
    container = Apptainer("$PROJECT/torch 2.sif", bind="/data:/mnt", gpu_vendor="nvidia")
    words = ("sh", "-c", 'echo "$1" "in $SLURM_NODEID"', "sh", "a  $b")
    job = start(path + container, *words, launch=Mpi(nodes=2, ranks_per_node=1), env={"PROJECT": "/p"})
    code, output, said = end_of(job)
    assert (code, sorted(output.splitlines())) == (0, ["a  $b in 0", "a  $b in 1"]), said
    asked = "exec --nv --bind /data:/mnt /p/torch 2.sif sh -c"
    for rank in range(2):
        asked_there, shown = (tmp_path / f"asked.{rank}").read_text().splitlines()
        assert asked_there.startswith(asked)
        assert job[1].is_relative_to(shown)

    code, output, said = end_of(start(container, "true"))
    assert (code, output) == (1, "")
    assert "headnode: apptainer is not in PATH on" in said
