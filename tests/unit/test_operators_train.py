"""``TrainOperator``: what it refuses when the DAG is parsed, and what a job makes of the metrics that it printed."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from airflow.sdk import DAG

from headnode import Mpi, Resubmit, Torchrun, TrainOperator
from headnode.errors import JobSpecError
from headnode.operators.train import GATHERER
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.script import at_end, render_script

PROGRAM = ["train.py", "--epochs", "3"]


def _gather(tmp_path, logs, *, metric="loss", mode="min", own=None, earlier=()):
    """Return the result that the gatherer makes of the logs of a try's submissions, and what it says."""
    for owner, texts in (("earlier", earlier), ("task", logs)):
        for number, text in enumerate(texts, start=1):
            directory = tmp_path / f"{owner}-{number}"
            directory.mkdir()
            (directory / "output.log").write_bytes(text if isinstance(text, bytes) else text.encode())
    if earlier:
        (directory / "checkpoint_of").write_text("earlier\n")
    result = directory / "result.json"
    if own is not None:
        result.write_text(own)
    (directory / "metric.json").write_text(json.dumps({"metric": metric, "mode": mode}))
    command = [sys.executable, "-I", shutil.copy(GATHERER, directory)]
    env = {**os.environ, "HEADNODE_RESULT": str(result)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=env)
    assert done.stderr == ""
    return result.read_text(), done.stdout


def test_what_a_try_has_reported_is_its_result(tmp_path):
    """Of all submissions, in their order; the first of the best counts."""
    logs = [
        'begin\nMETRICS {"epoch": 1, "loss": 0.5}\n[rank0]: METRICS {"epoch": 2, "loss": 0.25}\n',
        'METRICS {"epoch": 3, "loss": 0.25, "lr": 1e-3} METRICS {"epoch": 4, "loss": 0.75}\nend\n',
    ]
    result, said = _gather(tmp_path, logs)
    second = {"submission": 1, "epoch": 2, "loss": 0.25}
    assert json.loads(result) == {
        "metric": "loss",
        "mode": "min",
        "best": second,
        "last": {"submission": 2, "epoch": 4, "loss": 0.75},
        "history": [
            {"submission": 1, "epoch": 1, "loss": 0.5},
            second,
            {"submission": 2, "epoch": 3, "loss": 0.25, "lr": 0.001},
            {"submission": 2, "epoch": 4, "loss": 0.75},
        ],
        "reported": 4,
        "result": None,
    }
    assert said == 'best loss: {"submission": 1, "epoch": 2, "loss": 0.25}, of 4 lines of metrics\n'


def test_the_greatest_may_be_best_and_the_program_s_own_result_is_kept(tmp_path):
    """Both are asked for."""
    log = 'METRICS {"acc": 1}\nMETRICS {"acc": 3}\nMETRICS {"acc": NaN}\nMETRICS {"acc": true}\nMETRICS {"acc": 2}\n'
    result, _ = _gather(tmp_path, [log], metric="acc", mode="max", own='{"model": "/scratch/m.pt"}')
    assert json.loads(result)["best"] == {"submission": 1, "acc": 3}
    assert json.loads(result)["result"] == {"model": "/scratch/m.pt"}
    assert json.loads(result)["history"][2] == {"submission": 1, "acc": None}


@pytest.mark.parametrize(
    ("log", "best", "said"),
    [
        ("nothing\n", None, 'no metrics: the job has printed no line such as METRICS {"epoch": 1, "loss": 0.5}'),
        (
            'METRICS {"val_loss": 1}\n',
            None,
            "none of 1 lines of metrics has a number for loss; they have s",
        ),
        ("METRICS {\nMETRICS [1]\nMETRICS 5\nMETRICS\nMETRICS {'loss': 1}\n", None, "no metrics"),
        (b'\xff METRICS {"loss": 1}\xff\n', {"submission": 1, "loss": 1}, "best loss"),
        ('METRICS {"loss": 1, "big": 99999999999999999999}\n', {"loss": 1, "big": "9" * 20}, "best loss"),
        (b"METRICS " + b"[" * 100_000 + b'\nMETRICS {"loss": 1}\n', {"loss": 1}, "best loss"),
    ],
)
def test_lines_that_are_no_metrics_do_no_harm(tmp_path, log, best, said):
    """They are passed over, and it is said where there is nothing left."""
    result, line = _gather(tmp_path, [log])
    found = json.loads(result)["best"]
    assert found == ({"submission": 1, **best} if best else None)
    assert line.startswith(said)


def test_a_result_that_is_no_json_is_left_for_whoever_reads_it(tmp_path):
    """It is refused there with its path."""
    assert _gather(tmp_path, ['METRICS {"loss": 1}\n'], own="{")[0] == "{"


def test_a_long_history_is_thinned_out(tmp_path):
    """With the best and the last in it, and how long it was."""
    reports = [{"epoch": at, "loss": abs(at - 12_345) + 1, "text": "x" * 50} for at in range(20_000)]
    result, _ = _gather(tmp_path, ["".join(f"METRICS {json.dumps(each)}\n" for each in reports)])
    assert len(result) < 256 * 1024
    found = json.loads(result)
    assert found["reported"] == 20_000
    assert found["best"]["epoch"] == 12_345
    assert found["best"] in found["history"]
    assert found["history"][-1] == found["last"]
    assert len(found["history"]) > 500


def test_metrics_of_a_job_that_was_taken_over_come_first(tmp_path):
    """The try goes on from its checkpoint."""
    result, _ = _gather(tmp_path, ['METRICS {"epoch": 2}\n'], earlier=['METRICS {"epoch": 1}\n'])
    assert [each["epoch"] for each in json.loads(result)["history"]] == [1, 2]


@pytest.mark.parametrize(("command", "status"), [(["true"], 0), (["false"], 1), (["sh", "-c", "exit 75"], 75)])
def test_a_script_ends_as_ever_after_what_runs_at_its_end(tmp_path, command, status):
    """With the exit code of its command, which it leaves behind; what fails at the end changes nothing."""
    (tmp_path / "work").mkdir()
    spec = parse_jobspec({"job_name": "j", "command": command, "setup": at_end("echo gathered; false")})
    for checkpoint in (False, True):
        script = render_script(spec, checkpoint=checkpoint)
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path / "work"
        )
        assert (done.returncode, done.stdout) == (status, "gathered\n")
        assert (tmp_path / "end").read_text().split()[0] == str(status)


def test_it_launches_by_torchrun_and_goes_on_by_default():
    """Nodes and GPUs are the launcher's."""
    with DAG("d", schedule=None):
        task = TrainOperator(task_id="t", command=PROGRAM, nodes=4, gpus_per_node="{{ 2 }}", env={"SEED": 1})
        other = TrainOperator(
            task_id="u", command=PROGRAM, launch=Mpi(nodes=2), metric="{{ params.m }}", mode="max", on_timeout=None
        )
    assert task.launch == {"kind": "torchrun"}
    assert task.on_timeout == Resubmit(times=10)
    assert task.env == {"SEED": 1}
    assert other.launch == {"kind": "mpi", "nodes": 2}
    assert other.on_timeout is None
    assert "metric" in other.template_fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"script": "true"}, "script: can't be given, a training is a program that is launched"),
        ({"start_from_trigger": True}, "start_from_trigger: is not for trainings"),
        ({"metric": ""}, "metric: must be the name of a number"),
        ({"metric": None}, "metric: must be the name of a number"),
        ({"mode": "least"}, "mode: 'least' must be 'min' or 'max'"),
        ({"command": None}, "command: give exactly one of command= and script=, not neither"),
        ({"nodes": 0}, "nodes: "),
        ({"nodes": 2, "launch": Torchrun(nodes=2)}, "nodes: is given twice"),
        ({"site": "lumi", "account": "p", "nodes": 2000}, "nodes: 2000 nodes"),
        ({"site": "lumi", "nodes": 2}, "account: lumi wants an account"),
    ],
)
def test_what_can_t_be_right_is_refused_with_field_and_task(fields, message):
    """When the DAG is parsed."""
    with DAG("d", schedule=None), pytest.raises(JobSpecError) as refused:
        TrainOperator(**{"task_id": "train", "command": PROGRAM, **fields})
    assert message in str(refused.value)
    assert "(task 'train')" in str(refused.value)
