"""``headnode site probe`` and ``headnode site check`` on a real cluster: what it has, and whether jobs get it."""

import json
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from headnode.cli import app
from headnode.hooks.site_check import CheckInterrupted, check_site
from headnode.hooks.slurm import SlurmHook
from headnode.sites.catalogue import Catalogue
from headnode.sites.certification import Wanted, plan
from headnode.sites.launchers import LAUNCHERS
from headnode.sites.verdicts import Verdict

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
HEADNODE = Path(sys.executable).parent / "headnode"
# As Lmod does it, but for the modules; one of them complains and ends well, as Tcl's older versions do.
MODULE = """\
unset BASH_ENV  # of another Lmod, which would define its own module command
export LMOD_VERSION=8.7.32
module() {
  case "$*" in
    "--terse avail") printf '/apps/modules:\\nPyTorch/2.1.2\\nOpenMPI/4.1.5\\napptainer/1.2.5\\n' >&2;;
    "load good/1.0") export LOADEDMODULES=good/1.0;;
    "load broken/1.0") echo "lua: module 'posix' not found" >&2;;
    "load quiet/1.0") export LOADEDMODULES=other/1.0; echo "ERROR: Unable to locate a modulefile for 'quiet/1.0'" >&2;;
    *) echo "Lmod has detected the following error: The following module(s) are unknown: ${*:2}" >&2; return 1;;
  esac
}
export -f module
export SCRATCH=/scratch/$(id -un)
"""
SOFTWARE = {
    "mpi": {"modules": ["load good/1.0"], "source": "probe"},
    "optuna": {"same_as": "mpi", "source": "probe"},
    "heat": {"modules": ["load missing/9.9"], "source": "probe"},
    "tensorflow": {"modules": ["load quiet/1.0"], "source": "probe"},
    "horovod": {"modules": ["load broken/1.0"], "source": "probe"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of the user's own systems."""
    return tmp_path_factory.mktemp("sites")


@pytest.fixture(scope="module")
def environment(slurm_cluster, tmp_path_factory, folder):
    """Set a connection and the folder of systems in the environment, and modules in the cluster's login shells."""
    extra = {"work_directory": str(tmp_path_factory.mktemp("work")), "poll_seconds": 0.2, "poll_max_seconds": 0.5}
    profile = slurm_cluster.directory / "home" / ".bash_profile"
    profile.write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_PRIVATE", slurm_cluster.airflow_connection_json("slurm", **extra))
        patch.setenv("AIRFLOW__HEADNODE__SITES_FOLDER", str(folder))
        patch.setenv("COLUMNS", "160")
        yield
    profile.unlink()
    slurm_cluster.run("scancel", f"--user={slurm_cluster.user}", check=False)


def run(*words):
    """Run the command in this process."""
    return CliRunner().invoke(app, ["site", *words])


@pytest.fixture(scope="module")
def probed(environment, folder):  # noqa: ARG001 - the connection is in the environment
    """Return the system that a probe has written into the folder, and the text of the file."""
    done = run("probe", "private", "--write")
    assert done.exit_code == 0, done.output + done.stderr
    path = folder / "private.yaml"
    assert done.stdout == f"{path} is written; complete what is null\n"
    return Catalogue([folder]).system("private"), path.read_text()


def test_a_probe_writes_what_the_cluster_has(probed, slurm_cluster):
    """The file is one of the catalogue, and its numbers are those of the cluster's own configuration."""
    system, text = probed
    size = slurm_cluster._settings.size
    assert set(system.partitions) == {"batch", "gpu"}
    for name, partition in system.partitions.items():
        assert partition.nodes == len(size.node_names if name == "batch" else size.gpu_node_names)
        assert partition.cores == partition.usable_cores == size.cpus_per_node
        assert partition.usable_memory == f"{size.memory_mb_per_node}M"
        assert partition.max_time == timedelta(days=1)
        assert (partition.threads_per_core, partition.exclusive, partition.max_nodes) == (1, False, None)
    assert system.partitions["gpu"].gpus == size.gpus_per_gpu_node
    assert system.partitions["batch"].gpus == 0
    note = system.partitions["batch"].note
    assert "its nodes differ (2 of 16 cores, 8000 MiB; 2 of 16 cores, 8000 MiB, 2 GPUs)" in note
    assert (system.default_partition, system.gpu_partition) == ("batch", "gpu")
    assert system.gpu_request.form == "gres"
    assert (system.mandatory.account, system.mandatory.qos) == (False, False)
    assert system.module_system == "lmod"
    assert system.srun.version == slurm_cluster.run("sinfo", "--version").stdout.split()[1]
    assert system.login.hosts == ("127.0.0.1",)
    assert system.paths.scratch == "$SCRATCH=/scratch/<user>"
    assert system.internet.compute is None
    assert any(note.text.endswith("pytorch (not tried): PyTorch/2.1.2") for note in system.notes)
    for place, block in system.blocks():
        assert block.source == ("probe",) or not block.model_fields_set, place
    assert system.sources["probe"].kind == "measured"
    assert "compute: null  # not learned: no job was run" in text


def test_a_probe_prints_and_keeps_what_is_there(probed, folder):
    """The same facts as JSON; a file that somebody may have completed is not written over."""
    done = run("probe", "private", "--json")
    assert json.loads(done.stdout)["facts"]["partitions"] == yaml.safe_load(probed[1])["partitions"]
    done = run("probe", "private", "--write")
    assert done.exit_code == 2
    assert f"{folder}/private.yaml is there already; --force replaces it" in done.stderr


@pytest.fixture(scope="module")
def described(probed, folder):
    """Return the system's name, in whose file somebody has written what its modules are."""
    facts = yaml.safe_load(probed[1])
    (folder / "described.yaml").write_text(yaml.safe_dump(facts | {"name": "described", "software": SOFTWARE}))
    return "described"


def queue(slurm_cluster):
    """Return the ids of the jobs that are not over."""
    return slurm_cluster.run("squeue", "-h", "-o", "%i").stdout.split()


@pytest.fixture(scope="module")
def certificate(described, slurm_cluster):
    """Return what a check of everything says as JSON; it leaves no job behind."""
    done = run("check", described, "--conn-id", "private", "--json")
    assert done.exit_code == 1, done.output + done.stderr
    assert queue(slurm_cluster) == []
    return json.loads(done.stdout)


def test_modules_that_load_and_those_that_do_not(certificate):
    """One that is not there, and one of which the module command only complains; the log says what."""
    checks = {each["name"]: each for each in certificate["checks"] if each["kind"] == "modules"}
    assert {name: each["verdict"] for name, each in checks.items()} == {
        "mpi": "passed",
        "optuna": "passed",
        "heat": "failed",
        "tensorflow": "failed",
        "horovod": "failed",
    }
    assert checks["heat"]["log"][-1].endswith("The following module(s) are unknown: missing/9.9")
    assert checks["horovod"]["log"][-1] == "no module is loaded (LOADEDMODULES is empty)"
    assert checks["tensorflow"]["log"] == ["ERROR: Unable to locate a modulefile for 'quiet/1.0'"]


def test_launchers_say_hello_from_two_nodes(certificate):
    """With GPUs one process for each; a framework that is not installed is no failure, modules that don't load are."""
    checks = {each["name"]: each for each in certificate["checks"] if each["kind"] == "launcher"}
    verdicts = {name: each["verdict"] for name, each in checks.items()}
    assert set(verdicts) == set(LAUNCHERS)
    for name in ("horovod", "optuna", "deephyper", "mpi"):
        assert (verdicts[name], checks[name]["nodes"]) == ("passed", 2)
        assert checks[name]["detail"].startswith("4 processes on 2 nodes said hello")
    assert checks["tensorflow"]["detail"].startswith("2 processes on 2 nodes said hello; python3 finds no tensorflow")
    assert (verdicts["python"], checks["python"]["nodes"]) == ("passed", 1)
    for name in ("torchrun", "deepspeed", "ray", "ray-tune"):
        assert (verdicts[name], checks[name]["log"]) == ("not there", [])
    assert checks["torchrun"]["detail"] == "python3 finds no torch"
    assert verdicts["heat"] == "failed"
    assert checks["heat"]["detail"].startswith("its modules do not load: job ")
    assert checks["heat"]["log"][-1].endswith("The following module(s) are unknown: missing/9.9")
    assert (certificate["ok"], certificate["site"], certificate["host"]) == (False, "described", "127.0.0.1")


def test_the_table(described):
    """With everything well the command ends with 0."""
    done = run("check", described, "--conn-id", "private", "--only", "python,torchrun")
    assert done.exit_code == 0, done.output + done.stderr
    assert re.search(r"passed +python +[0-9]+ +1 process on 1 node said hello", done.stdout)
    assert re.search(r"not there +torchrun +[0-9]+ +python3 finds no torch", done.stdout)
    assert done.stdout.rstrip().endswith("described: certified (1 passed, 1 not there)")


@pytest.fixture
def closed(slurm_cluster):
    """Let jobs wait in the queue."""
    for name in ("batch", "gpu"):
        slurm_cluster.run("scontrol", "update", f"PartitionName={name}", "State=DOWN")
    yield
    for name in ("batch", "gpu"):
        slurm_cluster.run("scontrol", "update", f"PartitionName={name}", "State=UP")


@pytest.mark.parametrize(("jobs", "number"), [(1, signal.SIGINT), (4, signal.SIGTERM)], ids=["submitting", "waiting"])
@pytest.mark.usefixtures("closed")
def test_an_interrupted_check_leaves_nothing_in_the_queue(described, slurm_cluster, jobs, number):
    """Ctrl-C, or the end of a CI's patience; the jobs are named."""
    only = "mpi,horovod,optuna,python"
    command = [str(HEADNODE), "site", "check", described, "--conn-id", "private", "--only", only]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while len(submitted := queue(slurm_cluster)) < jobs:
            assert time.monotonic() < deadline, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    match = re.search(r"interrupted; its jobs on 127\.0\.0\.1 are cancelled \(([0-9 ]+)\); none is left", said)
    assert match is not None, said
    assert set(submitted) <= set(match[1].split())
    assert queue(slurm_cluster) == []


@pytest.mark.parametrize("because", ["interrupted", "late"])
@pytest.mark.usefixtures("closed")
def test_jobs_are_cancelled_over_a_connection_that_breaks(described, folder, slurm_cluster, because):
    """An interrupt in the middle of a packet leaves a part of it; what follows breaks it, and another one is made."""
    hook = SlurmHook("private")
    told = []

    def say(text):
        told.append(text)
        if "pending" in text and because == "interrupted":
            raise KeyboardInterrupt
        if "cancelling" in text:
            hook.transport.client().get_transport().sock.send(b"\0")

    catalogue = Catalogue([folder])
    trials, _ = plan(catalogue.system(described), catalogue, Wanted(only=frozenset({"python"})))
    if because == "interrupted":
        with pytest.raises(CheckInterrupted, match="are cancelled"):
            check_site(hook, trials, timeout=timedelta(minutes=1), on_progress=say)
    else:
        (result,) = check_site(hook, trials, timeout=timedelta(seconds=1), on_progress=say)
        assert (result.verdict, result.detail[-16:]) == (Verdict.FAILED, "and is cancelled")
    hook.transport.close()
    assert any("the SSH connection broke" in line and "Trying again" in line for line in told)
    assert queue(slurm_cluster) == []


@pytest.mark.usefixtures("closed")
def test_jobs_that_wait_for_too_long(described, folder, slurm_cluster):
    """They are cancelled, and have failed."""
    catalogue = Catalogue([folder])
    trials, _ = plan(catalogue.system(described), catalogue, Wanted(only=frozenset({"python"})))
    hook = SlurmHook("private")
    (result,) = check_site(hook, trials, timeout=timedelta(seconds=1))
    hook.transport.close()
    assert (result.verdict, result.detail) == (Verdict.FAILED, "it was PENDING after 0:00:01, and is cancelled")
    assert queue(slurm_cluster) == []


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["check", "describd"], 2, "there is no system 'describd'; did you mean described?"),
        (["check", "described", "--only", "torchrn"], 2, "there is no check 'torchrn'; did you mean torchrun?"),
        (["check", "described", "--env", "X"], 2, "'X' must be NAME=VALUE"),
        (["probe", "private", "--name", "My System"], 2, "'My System' must be of small letters, digits and hyphens"),
        (["probe", "private", "--write", "--output", "x"], 2, "give one of them"),
        (["probe", "broken"], 1, "127.0.0.1:1 (connection 'broken') can't be reached"),
        (["probe", "shown"], 1, "Host key: "),
    ],
)
def test_what_cannot_be_done(slurm_cluster, monkeypatch, words, status, text):
    """Each is said in a sentence, in the words of ``headnode check`` where it is about the connection."""
    connection = json.loads(slurm_cluster.airflow_connection_json("slurm"))
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", json.dumps(connection | {"port": 1}))
    unknown = {"key_file": connection["extra"]["key_file"], "known_hosts": "/dev/null"}
    monkeypatch.setenv("AIRFLOW_CONN_SHOWN", json.dumps(connection | {"extra": unknown}))
    done = run(*words)
    assert done.exit_code == status, done.output + done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
