"""Which jobs certify a site, and what their logs mean."""

import subprocess

import pytest
from broken_answers import encoded

from headnode.errors import JobSpecError
from headnode.hooks.jobs import JobFields
from headnode.sites.catalogue import Catalogue
from headnode.sites.certification import Wanted, check_only, plan
from headnode.sites.launchers import LAUNCHERS
from headnode.sites.system import System
from headnode.sites.verdicts import Trial, Verdict, certifies, judge
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.script import render_script

SYSTEM = """\
name: here
title: Here
operator: Us
partitions:
  cpu: {nodes: 4, cores: 16, gpus: 0, max_time: "00:05:00"}
  gpu: {nodes: 2, cores: 16, gpus: 2}
  single: {nodes: 1, cores: 16, gpus: 0, max_nodes: 1}
  unknown: {nodes: 8}
default_partition: cpu
gpu_partition: gpu
gpu_request: {form: gres}
software:
  mpi: {modules: [load OpenMPI]}
  mpi4py: {same_as: mpi}
  pytorch: {modules: [load PyTorch], partitions: [gpu]}
"""
LAUNCHED = Trial(kind="launcher", names=(("torchrun",),), fields={}, nodes=2, tasks=2, has_stack=True)
STACKS = Trial(kind="modules", names=(("mpi", "mpi4py"), ("pytorch",)), fields={})
HELLO = "headnode:entered\nheadnode:hello 0 n1\nheadnode:hello 1 n2\n"


@pytest.fixture
def planned(tmp_path):
    """Return a function that plans the checks of a system."""
    (tmp_path / "here.yaml").write_text(SYSTEM)
    catalogue = Catalogue([tmp_path])

    def make(**wanted):
        return plan(catalogue.system("here"), catalogue, Wanted(**wanted))

    return make


def test_one_job_for_each_launcher_and_one_for_the_modules_of_a_partition(planned):
    """Each is where it belongs, asks for its nodes, and for no more time than there is."""
    trials, skipped = planned(account="climate", qos="gold", env={"MASTER_ADDR": "here"})
    assert skipped == []
    launchers = {trial.title: trial for trial in trials if trial.kind == "launcher"}
    assert set(launchers) == set(LAUNCHERS)
    assert {trial.fields["account"] for trial in trials} == {"climate"}
    assert {trial.fields["qos"] for trial in trials} == {"gold"}
    assert {trial.fields["env"]["MASTER_ADDR"] for trial in trials} == {"here"}
    mpi, torchrun = launchers["mpi"], launchers["torchrun"]
    assert (mpi.fields["partition"], torchrun.fields["partition"]) == ("cpu", "gpu")
    assert (mpi.nodes, mpi.tasks, mpi.fields["ntasks_per_node"]) == (2, 4, 2)
    assert (torchrun.fields["nodes"], torchrun.tasks) == (2, 2)
    assert torchrun.fields["sbatch_options"]["gres"] == "gpu:2"
    assert launchers["python"].nodes == 1
    assert {trial.fields["time_limit"].total_seconds() for trial in trials} == {300, 600}
    modules = {trial.fields["partition"]: trial.names for trial in trials if trial.kind == "modules"}
    assert modules == {"cpu": (("mpi", "mpi4py"),), "gpu": (("pytorch",),)}
    gpus = {trial.fields["sbatch_options"].get("gres") for trial in trials if trial.kind == "modules"}
    assert gpus == {None, "gpu:1"}


def test_a_launcher_enters_its_modules_first(planned):
    """And then says which packages are not there; its hello follows the launcher's own words."""
    trials, _ = planned(only=frozenset({"torchrun", "horovod"}))
    torchrun, horovod = sorted(trials, key=lambda trial: trial.title, reverse=True)
    setup = torchrun.fields["setup"]
    assert setup.index("module load PyTorch") < setup.index("echo headnode:entered")
    assert setup.index("|| { echo headnode:absent torch; exit 0; }") < setup.index("MASTER_ADDR")
    assert "|| { echo headnode:absent horovod; }" in horovod.fields["setup"]
    assert "torch.distributed.run" in torchrun.fields["command"]
    assert torchrun.fields["command"].rstrip().endswith("""(uname -n)"'""")
    assert "launch_prefix" not in torchrun.fields


def test_what_cannot_be_tried_is_skipped_with_the_reason(planned):
    """A partition of one node, one of which too little is known, modules of another partition."""
    trials, skipped = planned(partition="single", only=frozenset({"modules", "mpi", "python"}))
    assert [trial.title for trial in trials] == ["modules", "python"]
    reasons = {each.name: each.detail for each in skipped}
    assert "2 nodes" in reasons["mpi"]
    assert "are those of the partitions gpu, not of 'single'" in reasons["pytorch"]
    _, skipped = planned(partition="unknown", only=frozenset({"horovod", "ray"}))
    assert {each.verdict for each in skipped} == {Verdict.SKIPPED}
    assert all("how many GPUs a node of unknown has is unknown" in each.detail for each in skipped)


def test_names_of_checks():
    """One that is none is refused, with the nearest."""
    assert check_only(["modules", "ray"]) == {"modules", "ray"}
    with pytest.raises(JobSpecError, match="there is no check 'torchrn'; did you mean torchrun"):
        check_only(["torchrn"])


@pytest.mark.parametrize(
    ("stdout", "failure", "verdict", "detail"),
    [
        (HELLO, None, Verdict.PASSED, "2 processes on 2 nodes said hello"),
        (HELLO * 2, None, Verdict.PASSED, "4 processes on 2 nodes said hello"),
        ("headnode:entered\nheadnode:absent torch\n", None, Verdict.NOT_THERE,
         "python3 finds no torch after its modules are loaded"),
        ("headnode:entered\nheadnode:hello 0 n1\n", None, Verdict.FAILED,
         "it ended well, but 1 process on 1 node said hello, where 2 on 2 were asked for"),
        (HELLO, "it ended as TIMEOUT", Verdict.FAILED, "it ended as TIMEOUT"),
        (HELLO + "headnode:hello 1 n2\n", None, Verdict.FAILED,
         "it ended well, but 3 processes on 2 nodes said hello, where 2 on 2 were asked for"),
        ("", None, Verdict.FAILED,
         "its modules do not load: it ended well, but 0 processes on 0 nodes said hello, where 2 on 2 were asked for"),
        ("no such module\n", "it failed", Verdict.FAILED, "its modules do not load: it failed"),
    ],
)  # fmt: skip
def test_what_a_launcher_shows(stdout, failure, verdict, detail):
    """Only hellos from each node are success."""
    (result,) = judge(LAUNCHED, stdout=stdout, stderr="oh\n", failure=failure, job_id="7")
    assert (result.name, result.verdict, result.detail, result.job_id) == ("torchrun", verdict, detail, "7")
    assert (result.log[-1:] == ("oh",)) == (verdict is Verdict.FAILED)


def test_a_package_that_a_hello_does_not_need():
    """The launcher has passed; that its framework is missing is said."""
    trial = Trial(kind="launcher", names=(("horovod",),), fields={}, nodes=2, tasks=2)
    (result,) = judge(trial, stdout=f"headnode:absent horovod\n{HELLO}", stderr="", failure=None, job_id="7")
    assert result.verdict is Verdict.PASSED
    assert result.detail == "2 processes on 2 nodes said hello; python3 finds no horovod"


@pytest.mark.parametrize(
    "complaint",
    [
        "Lmod has detected the following error: The following module(s) are unknown",
        "ModuleCmd_Load.c(213):ERROR:105: Unable to locate a modulefile for 'x'",
        "ERROR: Unable to locate a modulefile for 'x'",
    ],
)
def test_what_modules_show(complaint):
    """A complaint is a failure also where the command ended with 0; the last lines say it."""
    stdout = f"headnode:stack 0 0 {encoded('loading')}\nheadnode:stack 1 0 {encoded(complaint)}\n"
    first, other, last = judge(STACKS, stdout=stdout, stderr="", failure=None, job_id="7")
    assert [(each.name, each.verdict) for each in (first, other)] == [
        ("mpi", Verdict.PASSED), ("mpi4py", Verdict.PASSED),
    ]  # fmt: skip
    assert (last.name, last.verdict, last.log) == ("pytorch", Verdict.FAILED, (complaint,))


def test_modules_that_were_not_tried():
    """The job broke off: what it has not said is no success."""
    stdout = f"headnode:stack 0 1 {encoded('no')}\n"
    results = judge(STACKS, stdout=stdout, stderr="slurmstepd: killed\n", failure="it ended as TIMEOUT", job_id="7")
    assert {each.verdict for each in results} == {Verdict.FAILED}
    assert (results[-1].detail, results[-1].log[-1]) == ("it ended as TIMEOUT", "slurmstepd: killed")


@pytest.mark.parametrize(
    ("verdicts", "certified"),
    [
        ([Verdict.PASSED, Verdict.NOT_THERE, Verdict.SKIPPED], True),
        ([Verdict.PASSED, Verdict.FAILED], False),
        ([Verdict.NOT_THERE, Verdict.SKIPPED], False),
        ([], False),
    ],
)
def test_what_certifies_a_site(verdicts, certified):
    """What could not be tried is no success."""
    assert certifies([LAUNCHED.results(verdict, "x")[0] for verdict in verdicts]) is certified


def test_every_system_of_the_catalogue_has_a_plan():
    """What can't be planned there is skipped with a reason, and nothing else happens."""
    catalogue = Catalogue()
    for name in catalogue.names():
        system = catalogue.system(name)
        assert isinstance(system, System)
        trials, skipped = plan(system, catalogue, Wanted(account="account", qos="normal"))
        names = {each for trial in trials for group in trial.names for each in group} | {each.name for each in skipped}
        assert names >= {*LAUNCHERS, *system.software}
        assert all(each.detail for each in skipped)
        scripts = []
        for trial in trials:
            fields = {field: value for field, value in trial.fields.items() if value is not None}
            assert set(fields) <= set(JobFields.__annotations__)  # else SlurmHook.submit would refuse them
            scripts.append(render_script(parse_jobspec(fields)))
        text = "\n".join(f"({script}\n)" for script in scripts)
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), name
