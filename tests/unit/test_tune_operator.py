"""What ``TuneOperator`` refuses when the DAG is parsed, and what is sent to the cluster."""

import io
import json
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from airflow.sdk import DAG

from headnode import Resubmit, TuneOperator
from headnode.errors import JobSpecError
from headnode.slurm.script import render_script
from headnode.triggers.preparation import SPEC_FIELDS, describe_job
from headnode.tuning.on_cluster.setting import Study
from headnode.tuning.packing import study_files

ROOT = Path(__file__).parents[2]
GOOD = {"objective": "tune.py:objective", "trials": 24, "workers": 4, "direction": "maximize", "code": "jobs"}


@pytest.fixture
def dag(tmp_path):
    """Return a DAG whose file has a folder of code beside it."""
    (tmp_path / "jobs/deeper").mkdir(parents=True)
    (tmp_path / "jobs/tune.py").write_text("from elsewhere import imported\n\n\ndef objective(trial): ...\n")
    (tmp_path / "jobs/deeper/wrong.py").write_text("def objective(trial) ...\n")
    dag = DAG("d", schedule=None)
    dag.fileloc = str(tmp_path / "dag.py")
    return dag


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective": "tune.py"}, "objective: 'tune.py' must name a function in the code"),
        ({"objective": "tuen.py:objective"}, "there is no file 'tuen.py' in"),
        ({"objective": "tuen.py:objective"}, "did you mean tune.py?"),
        ({"objective": "tune.py:objektive"}, "objective: 'tune.py' has no 'objektive'; did you mean objective?"),
        ({"objective": "deeper/wrong.py:objective"}, "objective: 'deeper/wrong.py' can't be read by Python"),
        ({"code": None}, "code: give the folder that holds 'tune.py'"),
        ({"sampler": "tep"}, "sampler: there is no sampler 'tep'; did you mean tpe?"),
        ({"pruner": "{{ params.pruner }}", "sampler": "tep"}, "sampler: there is no sampler 'tep'"),
        ({"trials": 3}, "workers: 4 are more than the 3 trials"),
        ({"workers": 3, "nodes": 2}, "workers: 3 can't be shared out evenly over 2 nodes"),
        ({"nodes": "two"}, "nodes: 'two' is no whole number"),
        ({"command": ["true"]}, "command: is what the objective is, and can't be given"),
        ({"launch": {"kind": "torchrun"}}, "launch: is the workers' own; give workers="),
        ({"ntasks": 4}, "ntasks: is the number of workers; give workers="),
        ({"start_from_trigger": True}, "start_from_trigger: is not for studies"),
        ({"python": []}, "python: [] must be a program"),
        ({"on_timeout": Resubmit(signal_seconds=600), "time_limit": "5"}, "signal_seconds=600 is no less than"),
        ({"partition": "two words"}, "partition: 'two words' must be one word"),
    ],
)
def test_what_can_t_be_right_is_refused_with_field_and_task(dag, fields, message):
    """Before a run is made."""
    with dag, pytest.raises(JobSpecError) as refused:
        TuneOperator(task_id="tune", **(GOOD | fields))
    assert message in str(refused.value)
    assert "(task 'tune')" in str(refused.value)


def test_templates_are_taken_and_what_a_module_imports(dag):
    """What is rendered later is checked later."""
    with dag:
        task = TuneOperator(
            task_id="tune",
            objective="tune.py:imported",
            trials="{{ params.trials }}",
            workers="{{ params.workers }}",
            direction="{{ params.direction }}",
            sampler={"kind": "tpe", "n_startup_trials": "{{ params.first }}"},
            nodes="{{ params.nodes }}",
            code="jobs",
        )
        TuneOperator(task_id="other", **(GOOD | {"objective": "{{ params.objective }}"}))
        TuneOperator(task_id="installed", **(GOOD | {"objective": "package.module:objective", "code": None}))
    assert {"objective", "trials", "workers", "sampler", "pruner", "launch", "python"} <= set(task.template_fields)
    assert task.on_timeout == Resubmit()


def test_the_script_starts_all_workers_in_one_step(dag):
    """In what the study needs, and ends by its state."""
    with dag:
        task = TuneOperator(
            task_id="tune", **GOOD, nodes=2, cpus_per_task=3, gpus_per_node=4, time_limit="60", setup="module load x"
        )
    task.command, task.launch = ["tune.py:objective-0123", "python3"], task._workers(4)
    fields = {name: getattr(task, name) for name in SPEC_FIELDS}
    script = render_script(describe_job({**fields, "job_name": "d.tune"}, task._policy), checkpoint=True)
    for line in ("--nodes=2", "--no-kill", "--ntasks-per-node=2", "--cpus-per-task=3", "--signal=B:USR1@120"):
        assert f"\n#SBATCH {line}\n" in script
    (step,) = (line.strip() for line in script.splitlines() if "srun" in line)
    start = 'srun --kill-on-bad-exit=0 --wait=0 --no-kill --gpus-per-task=2 "$@" -u "$HEADNODE_DIRECTORY/tuning.pyz"'
    assert step == f'{start} work "$headnode_session" &'
    assert "headnode_tune tune.py:objective-0123 python3 <&0 &" in script
    assert "module load x" in script


def test_what_travels_is_the_same_for_the_same_study():
    """An archive with the worker, and the study as the worker reads it."""
    study = {
        "objective": "m:f",
        "trials": 2,
        "workers": 1,
        "maximize": True,
        "sampler": {"kind": "tpe"},
        "pruner": {"kind": "none"},
        "seed": None,
        "max_failures": 3,
        "lost_seconds": 60.0,
        "grid": [],
    }
    files = study_files(study)
    assert files == study_files(dict(reversed(study.items())))
    assert Study(**json.loads(files["study.json"])) == Study(**study)
    names = zipfile.ZipFile(io.BytesIO(files["tuning.pyz"])).namelist()
    assert "__main__.py" in names
    assert "headnode_tuning/worker.py" in names
    assert len(files["tuning.pyz"]) < 64 * 1024


def test_the_example_of_the_documentation_parses(tmp_path):
    """The DAG beside its objective; tests/jobs runs the objective."""
    dag, objective = re.findall(r"```python\n(.*?)```", (ROOT / "docs/tuning.md").read_text(), re.DOTALL)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/tune.py").write_text(objective)
    names = {"__name__": "example"}
    exec(compile(dag, tmp_path / "tuning.py", "exec"), names)  # noqa: S102 - ours
    assert names["tuned"].task_id == "tune"


def test_the_script_is_one_that_bash_reads():
    """Also without a warning before the time is up."""
    for on_timeout in (Resubmit(), None):
        with DAG("d", schedule=None):
            task = TuneOperator(task_id="tune", **(GOOD | {"code": None, "objective": "m:f"}), on_timeout=on_timeout)
        task.command, task.launch = ["m:f-0123", "python3"], task._workers(4)
        fields = {name: getattr(task, name) for name in SPEC_FIELDS}
        spec = describe_job({**fields, "job_name": "d.tune"}, task._policy)
        script = render_script(spec, checkpoint=on_timeout is not None)
        subprocess.run(["bash", "-n"], input=script, text=True, check=True, capture_output=True, timeout=60)
        assert "--no-kill\n" not in script
        assert ("headnode_signals" in script) == (on_timeout is not None)
