"""Launchers as descriptions: their names, what they refuse, how they are stored; and commands that can't be started."""

import shlex
import subprocess

import pytest
from broken_answers import BUDGET
from hostile_values import hostile_values
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import JobSpecError
from headnode.sites import launchers
from headnode.sites.catalogue import Catalogue
from headnode.sites.facade import arrange
from headnode.sites.launchers import LAUNCHERS, kind_of, launcher_for, parse_launcher, software_named
from headnode.sites.launchers.commands import check_launchable, find_operator
from headnode.sites.launchers.launcher import Machine, to_json
from headnode.sites.system import SOFTWARE

MACHINE = Machine(cores=48, gpus=4, host_suffix="i", interfaces=("ib0",))


def test_every_program_has_a_launcher():
    """By its own name in the catalogue, and each launcher by the name of its class."""
    assert {software: launcher_for(software).__name__ for software in SOFTWARE} == {
        "deephyper": "DeepHyper",
        "deepspeed": "DeepSpeed",
        "heat": "Heat",
        "horovod": "Horovod",
        "mpi": "Mpi",
        "mpi4py": "Mpi",
        "optuna": "OptunaWorkers",
        "python": "Python",
        "pytorch": "Torchrun",
        "ray": "RayCluster",
        "ray-tune": "RayTune",
        "tensorflow": "TensorFlowMultiWorker",
    }
    for each in LAUNCHERS.values():
        assert getattr(launchers, each.__name__) is each
        assert each.__name__ in launchers.__all__
        assert each.software in SOFTWARE


@pytest.mark.parametrize(
    ("name", "software"),
    [
        ("ddp", "pytorch"),
        ("Pytorch-DDP", "pytorch"),
        ("PYTORCH", "pytorch"),
        ("Ray Tune", "ray-tune"),
        ("heat", "heat"),
    ],
)
def test_programs_have_other_names(name, software):
    """As LAMEC calls them, and as people do."""
    assert software_named(name) == software


@pytest.mark.parametrize(
    ("name", "hint"),
    [("pytorhc", "did you mean pytorch"), ("horovd", "did you mean horovod"), ("xyzzy", "there are deephyper")],
)
def test_of_an_unknown_program_the_nearest_are_told(name, hint):
    """Or all, where none is near."""
    with pytest.raises(JobSpecError, match=hint):
        launcher_for(name)


launches = st.one_of(
    *(
        st.fixed_dictionaries(
            {"kind": st.just(kind), "nodes": st.integers(1, 9)},
            optional={
                "gpus_per_node": st.integers(0, 8),
                "cpus_per_task": st.integers(1, 9),
                **({"ranks_per_node": st.integers(1, 9)} if "ranks_per_node" in each.model_fields else {}),
                **({"symmetric": st.booleans()} if "symmetric" in each.model_fields else {}),
                **({"scheduler": st.sampled_from(["asha", "bohb", "pbt"])} if kind == "ray-tune" else {}),
                **({"workers": st.integers(1, 99), "journal": st.just("/w/j")} if kind == "optuna" else {}),
            },
        )
        for kind, each in LAUNCHERS.items()
    )
)


@given(launches)
@BUDGET
def test_a_launcher_is_read_again(described):
    """parse(to_json(x)) is x, and what is stored says no more than was given."""
    launcher = parse_launcher(described)
    assert parse_launcher(to_json(launcher)) == launcher
    assert set(to_json(launcher)) <= set(described)
    assert parse_launcher(launcher) is launcher


@pytest.mark.parametrize(
    ("described", "problem"),
    [
        ({"kind": "rayy"}, "is no launcher; there are Torchrun, DeepSpeed"),
        ({"kind": []}, "is no launcher"),
        ("torchrun", "is no launcher"),
        ({"kind": "torchrun", "nodes": 0}, "nodes: "),
        ({"kind": "torchrun", "ranks_per_node": 2}, "ranks_per_node: "),
        ({"kind": "ray-tune", "scheduler": "hyperband"}, "scheduler: .*'asha', 'bohb' or 'pbt'"),
        ({"kind": "ray", "shared_nodes": True}, "goes with symmetric=False only"),
        ({"kind": "deepspeed", "tasks": "core"}, "tasks: "),
        ({"kind": "mpi", "mpi": "pmi2; touch x"}, "mpi: "),
        ({"kind": "heat", "ranks_per_node": "$(touch x)"}, "ranks_per_node: .*no whole number"),
        ({"kind": "optuna", "study": "two words"}, "study: .*one word"),
    ],
)
def test_a_launcher_that_cannot_be_is_refused(described, problem):
    """With the field and what is allowed."""
    with pytest.raises(JobSpecError, match=problem):
        parse_launcher(described)


@pytest.mark.parametrize(
    ("described", "machine", "problem"),
    [
        ({"kind": "mpi"}, Machine(), "give ranks_per_node="),
        ({"kind": "mpi", "ranks_per_node": 49}, Machine(cores=48), "49 tasks on a node whose usable cores are 48"),
        ({"kind": "deephyper"}, Machine(cores=12, gpus=1), "rank 0 only gives out the work"),
        ({"kind": "optuna", "workers": 5, "nodes": 2}, MACHINE, "can't be shared out evenly over 2 nodes"),
        ({"kind": "optuna", "workers": 1, "nodes": 2}, MACHINE, "can't be shared out evenly over 2 nodes"),
        ({"kind": "python", "nodes": 2}, MACHINE, "one process on one node, not 2"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(described, machine, problem):
    """Before anything is asked of Slurm."""
    launcher = parse_launcher(described)
    with pytest.raises(JobSpecError, match=problem):
        launcher.launch(machine, launcher.layout(machine), command=["x.py"])


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("cd x && train.py", "has '&&'"),
        ("train.py; rm x", "has ';'"),
        ("train.py | tee log", "has '|'"),
        ("train.py || true", r"has '\|\|'"),
        ("train.py &", "has '&'"),
        ("train.py\neval.py", "has a line break"),
        ("(train.py)", r"has '\('"),
        ("train.py --name 'x", "has a ' that is not closed"),
        ("A=1 train.py", "begins with 'A=1'.*env="),
        ("export A=1", "begins with 'export', a word of the shell"),
        ("cd /tmp", "begins with 'cd'.*setup="),
        (["source", "x"], "begins with 'source'"),
        (["A=1", "x"], "begins with 'A=1'"),
    ],
)
def test_more_than_one_program_is_refused(command, problem):
    """Since only the first would be started on the nodes."""
    with pytest.raises(JobSpecError, match=problem):
        check_launchable(command)


@pytest.mark.parametrize(
    "command",
    [
        "train.py --epochs 3",
        "train.py > log 2>&1",
        "train.py &> log",
        "train.py < input >> log",
        "python -c 'a; b && c | d'",
        'python -c "import x; x.y()"',
        "train.py --run $(date +%s; hostname)",
        "train.py --half $((1 + (2 & 3)))",
        "train.py --at `date; hostname`",
        r"train.py a\;b \& c\|d",
        "train.py ${A:-(;)}",
        ["train.py", "a;b", "&&", "|"],
        "train.py \\\n  --epochs 3",
        "",
    ],
)
def test_one_program_with_its_words_is_taken(command):
    """Whatever stands in quotes, and redirections."""
    check_launchable(command)


@given(st.text(st.sampled_from("a ;&|()'\"\\\n<>"), max_size=12).map(str.strip))
@BUDGET
def test_what_is_taken_is_one_command_for_bash_too(text):
    """It finds no second one, of which it would say that there is no program ``a``; restricted, it writes no files."""
    if find_operator(text) is None:
        done = subprocess.run(
            ["bash", "-r"],
            input=f"first() {{ :; }}\nfirst {text}\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "command not found" not in done.stderr


@pytest.mark.parametrize("kind", sorted(LAUNCHERS))
@pytest.mark.parametrize("wrapper", ["", "apptainer exec --nv 'an image.sif'"])
def test_the_words_of_a_command_arrive(kind, wrapper, tmp_path):
    """Through quotes, shells of the nodes and a container, with programs that print what they are given."""
    values = [value for value in hostile_values(str(tmp_path / "canary")) if "\0" not in value and len(value) < 200][
        ::9
    ]
    programs = tmp_path / "programs"
    programs.mkdir()
    text = '#!/bin/bash\nwhile [ $# -gt 0 ]; do case "$1" in bash|./program) exec "$@";; esac; shift; done\n'
    for name in ("srun", "ray", "python3", "apptainer", "scontrol", "getent", "env"):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "program").write_text('#!/bin/bash\nprintf "%s\\0" "$@" > arrived\n')
    (tmp_path / "program").chmod(0o755)
    machine = Machine(cores=48, gpus=4, host_suffix="i", interfaces=("ib0",), wrapper=wrapper)
    launcher = parse_launcher({"kind": kind})
    launch = launcher.launch(machine, launcher.layout(machine), command=["./program", *values])
    script = "\n".join([*launch.lines, f"{launch.prefix} {shlex.join(['./program', *values])}"])
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "SLURM_NODEID": "0"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "arrived").read_bytes().decode().split("\0")[:-1] == values
    assert not (tmp_path / "canary").exists()


def test_what_the_job_sets_itself_is_left_alone():
    """The variables of its env."""
    fields = {
        "job_name": "x", "command": ["x.py"], "site": "juwels-booster", "account": "a", "launch": {"kind": "torchrun"},
    }  # fmt: skip
    usual = arrange(fields, Catalogue())["setup"]
    own = arrange({**fields, "env": {"MASTER_ADDR": "h", "GLOO_SOCKET_IFNAME": "eth0"}}, Catalogue())["setup"]
    assert "MASTER_ADDR=" in usual
    assert "GLOO_SOCKET_IFNAME=" in usual
    assert "MASTER_ADDR" not in own
    assert "GLOO_SOCKET_IFNAME" not in own
    assert "MASTER_PORT=" in own
    assert "NCCL_SOCKET_IFNAME=" in own


def test_kinds_are_what_is_stored():
    """In tasks that are deferred while headnode is upgraded; a kind that changes its name is one that is lost."""
    assert sorted(LAUNCHERS) == [
        "deephyper", "deepspeed", "heat", "horovod", "mpi", "optuna", "python", "ray", "ray-tune", "tensorflow",
        "torchrun",
    ]  # fmt: skip
    assert all(kind_of(each) == kind for kind, each in LAUNCHERS.items())
