"""Launchers on a real Slurm: who is started where, with which GPUs, and what a signal and a death do."""

import re
import textwrap
import time

import pytest

from headnode.sites.catalogue import Catalogue
from headnode.sites.generator import generate_script

SITE = """\
name: private
title: Private cluster
operator: this test
partitions:
  gpu: {nodes: 2, cores: 16, usable_cores: 16, sockets: 1, gpus: 2, gpu_vendor: nvidia, memory_gb: 8}
default_partition: gpu
gpu_partition: gpu
gpu_request: {form: gres}
mandatory: {account: false}
module_system: none
"""
TELLS = """\
import os
names = ("SLURM_PROCID", "RANK", "LOCAL_RANK", "WORLD_SIZE", "CUDA_VISIBLE_DEVICES", "OPTUNA_STUDY", "TF_PORT_BASE")
text = " ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ)
print(f"node={os.environ['SLURM_NODEID']} cpus={os.environ['SLURM_CPUS_PER_TASK']} {text}\\n", end="", flush=True)
"""
pytestmark = pytest.mark.cluster


@pytest.fixture
def run_script(slurm_cluster, tmp_path):
    """Return the function that runs a generated script in a folder with ``files``, and returns its output."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    (folder / "private.yaml").write_text(SITE)

    def generate_and_run(software, files, *, succeeds=True, **given):
        defaults = {"command": ["program.py"], "nodes": 2, "memory": "500M", "env": {"MASTER_ADDR": "127.0.0.1"}}
        generated = generate_script(
            "private", software, catalogue=Catalogue([folder]), time_limit="00:05:00", **defaults | given
        )
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / "job.sh").write_text(generated.text)
        job = slurm_cluster.run("sbatch", "--parsable", f"--chdir={tmp_path}", str(tmp_path / "job.sh")).stdout.strip()
        record = ""
        while not re.search("JobState=(COMPLETED|FAILED) ", record):
            assert "JobState=TIMEOUT" not in record
            time.sleep(0.1)
            record = slurm_cluster.run("scontrol", "--oneliner", "show", "job", job).stdout
        output = "".join(path.read_text() for path in tmp_path.glob("*.out"))
        assert ("JobState=COMPLETED" in record) is succeeds, output
        return output

    return generate_and_run


def told(output):
    """Return what each task told of itself, by rank."""
    lines = [dict(word.split("=", 1) for word in line.split()) for line in output.splitlines() if "node=" in line]
    return sorted(lines, key=lambda line: int(line.get("SLURM_PROCID", 0)))


def test_a_task_for_each_gpu_knows_its_rank_and_sees_all_gpus(run_script):
    """DeepSpeed's tasks pick their own by LOCAL_RANK."""
    tasks = told(run_script("deepspeed", {"program.py": TELLS}, launch={"tasks": "gpu"}))
    ranks = [(task["RANK"], task["LOCAL_RANK"], task["WORLD_SIZE"], task["node"]) for task in tasks]
    assert ranks == [("0", "0", "4", "0"), ("1", "1", "4", "0"), ("2", "0", "4", "1"), ("3", "1", "4", "1")]
    assert {task["CUDA_VISIBLE_DEVICES"] for task in tasks} == {"0,1"}
    assert {task["cpus"] for task in tasks} == {"8"}


def test_each_worker_of_a_study_has_a_gpu_of_its_own(run_script):
    """And goes on when another one dies."""
    program = TELLS + textwrap.dedent("""\
        import sys, time
        if os.environ["SLURM_PROCID"] == "0":
            sys.exit(3)
        time.sleep(2)
        print(f"done={os.environ['SLURM_PROCID']}\\n", end="", flush=True)
    """)
    output = run_script("optuna", {"program.py": program}, succeeds=False, launch={"study": "loss"})
    tasks = told(output)
    assert [task["OPTUNA_STUDY"] for task in tasks] == ["loss"] * 4
    assert all(re.fullmatch("[01]", task["CUDA_VISIBLE_DEVICES"]) for task in tasks)
    assert len({(task["node"], task["CUDA_VISIBLE_DEVICES"]) for task in tasks}) == 4
    assert sorted(re.findall(r"done=(\d)", output)) == ["1", "2", "3"]


def test_tensorflow_has_one_worker_on_each_node(run_script):
    """With a port of the job's own."""
    tasks = told(run_script("tensorflow", {"program.py": TELLS}))
    assert [task["node"] for task in tasks] == ["0", "1"]
    assert {task["CUDA_VISIBLE_DEVICES"] for task in tasks} == {"0,1"}
    assert {task["cpus"] for task in tasks} == {"16"}
    (port,) = {int(task["TF_PORT_BASE"]) for task in tasks}
    assert 20000 <= port < 40000


def test_a_python_program_is_one_process(run_script):
    """Of the batch script itself, on one node."""
    output = run_script("python", {"program.py": "import os; print('step', os.environ.get('SLURM_STEP_ID'))"}, nodes=1)
    assert "step None" in output


#: torchrun's place is taken by a program that, as torchrun does, knows nothing of USR1 and waits for what it started.
STARTER = """\
import subprocess, sys
program = next(word for word in sys.argv[1:] if word.endswith(".py"))
sys.exit(subprocess.run([sys.executable, program], check=False).returncode)
"""
WARNED = """\
import os, signal, sys
def warned(*_):
    print(f"warned={os.environ['SLURM_NODEID']}\\n", end="", flush=True)
    sys.exit(0)
signal.signal(signal.SIGUSR1, warned)
open(f"ready.{os.environ['SLURM_NODEID']}", "w").close()
while True:
    signal.pause()
"""


def test_the_warning_before_the_end_reaches_the_program_alone(run_script):
    """Slurm sends it to every process of the step; what starts the program must outlive it."""
    files = {
        "program.py": WARNED,
        "torch/distributed/run.py": STARTER,
        "torch/__init__.py": "",
        "torch/distributed/__init__.py": "",
    }
    warn = '( until [ -e ready.0 ] && [ -e ready.1 ]; do sleep 0.1; done; scancel --signal=USR1 "$SLURM_JOB_ID" ) &'
    output = run_script("pytorch", files, setup=warn, env={"MASTER_ADDR": "127.0.0.1", "PYTHONPATH": "."})
    assert sorted(re.findall(r"warned=(\d)", output)) == ["0", "1"]


def test_a_program_that_does_not_care_for_the_warning_goes_on(run_script):
    """Rather than die of it minutes before its time is up."""
    files = {
        "program.py": "import os, time; open('ready.' + os.environ['SLURM_NODEID'], 'w'); time.sleep(3); print('done')",
        "torch/distributed/run.py": STARTER,
        "torch/__init__.py": "",
        "torch/distributed/__init__.py": "",
    }
    warn = '( until [ -e ready.0 ] && [ -e ready.1 ]; do sleep 0.1; done; scancel --signal=USR1 "$SLURM_JOB_ID" ) &'
    output = run_script("pytorch", files, setup=warn, env={"MASTER_ADDR": "127.0.0.1", "PYTHONPATH": "."})
    assert output.count("done") == 2


def test_ray_that_does_not_start_is_no_success(run_script):
    """``ray symmetric-run`` ends with 0 where its head fails; then no driver has run."""
    files = {"program.py": "print('never')", "bin/ray": "#!/bin/sh\necho 'Failed to start Ray' >&2\nexit 0\n"}
    setup = 'chmod +x bin/ray; export PATH="$PWD/bin:$PATH"'
    output = run_script("ray", files, setup=setup, succeeds=False)
    assert "never" not in output
