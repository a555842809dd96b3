"""``TuneOperator``: a study goes on whatever becomes of its workers and its job, and its trials are counted once."""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from headnode.slurm.record import JobRecord

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

TRIALS = 24
OPEN_TRIALS = 14


def read(path):
    """Return the events that the objectives have written so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def ends(events):
    """Return how often each trial came to its end."""
    return Counter(each["trial"] for each in events if each["event"] == "end")


def running(events):
    """Return the last start of each trial that has not ended."""
    over = ends(events)
    return {each["trial"]: each for each in events if each["event"] == "start" and each["trial"] not in over}


@pytest.fixture(scope="module")
def study(start, slurm_cluster, wait_until, tmp_path_factory):
    """Return a run in which a worker was killed and the job ran out of time, what was written, and the killed trial."""
    place = tmp_path_factory.mktemp("study")
    events, gate = place / "events.jsonl", place / "gate"
    run = start("studies", events=str(events), gate=str(gate))
    wait_until(lambda: len(running(read(events))) == 4, "four trials run", timeout_seconds=120)
    trial, last = min(running(read(events)).items())
    # There are trials enough that another worker looks for one after this one's silence, and before all wait.
    os.kill(last["pid"], signal.SIGKILL)

    def goes_on():
        return trial in ends(read(events)) or running(read(events))[trial]["pid"] != last["pid"]

    wait_until(goes_on, "another worker goes on with it")
    wait_until(lambda: min(running(read(events)), default=0) > OPEN_TRIALS, "all others wait at the gate")
    job = run.wait_for_record("disturbed")["job_id"]
    slurm_cluster.run("scontrol", "update", f"JobId={job}", "EndTime=now+1")
    run.wait_for_record("disturbed", state="RUNNING", not_job=job, timeout_seconds=180)
    gate.touch()
    assert run.wait() == "failed"  # two of its tasks must
    return run, read(events), (trial, last)


def test_only_those_fail_that_must(study):
    """The disturbed study is a success."""
    states = study[0].states()
    assert {task_id for task_id, state in states.items() if state != "success"} == {"raising", "without_optuna"}


def test_no_trial_is_lost_or_run_twice(study):
    """Each comes to its end once; those that were interrupted begin again as they were."""
    run, events, (killed, before) = study
    assert ends(events) == dict.fromkeys(range(1, TRIALS + 1), 1)
    begun = Counter(each["trial"] for each in events if each["event"] == "start")
    again = {trial for trial, times in begun.items() if times > 1}
    assert again == {killed, *(trial for trial in again if trial > OPEN_TRIALS)}
    assert len(again - {killed}) == 3  # the workers that were left when the job's time was up
    assert all(each["x"] == each["first_x"] for each in events if each["event"] == "start")
    after = [each for each in events if each["trial"] == killed and each["event"] == "start"][-1]
    assert after["x"] == before["x"]
    assert {trial["number"]: trial["continued"] for trial in run.xcom("disturbed")["trials"] if trial["continued"]} == {
        trial: begun[trial] - 1 for trial in again
    }


def test_the_job_was_run_again(study):
    """One try, two submissions; the second goes on with the study."""
    run = study[0]
    made = JobRecord.model_validate(run.record("disturbed")).submissions
    assert len(made) == 2
    assert [each.state for each in made] == ["TIMEOUT", "COMPLETED"]
    assert run.tries("disturbed") == 1
    log = run.log("disturbed")
    assert f"the study goes on: {OPEN_TRIALS} of {TRIALS} trials are over" in log


def test_the_result_has_the_best_and_all(study):
    """As they are in the file with a line for each."""
    run, events, _ = study
    result = run.xcom("disturbed")
    assert [trial["number"] for trial in result["trials"]] == list(range(1, TRIALS + 1))
    complete = [trial for trial in result["trials"] if trial["state"] == "complete"]
    assert result["best"] == max(complete, key=lambda trial: trial["value"])
    written = Counter(each["state"] for each in events if each["event"] == "end")
    assert result["counts"] == {"complete": written["complete"], "pruned": written["pruned"], "failed": 0}
    assert written["pruned"] > 0
    assert set(result["best"]["params"]) == {"x", "kind"}
    assert len(result["best"]["intermediate_values"]) == 9
    lines = Path(result["trials_file"]).read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(1, TRIALS + 1))


def test_the_log_tells_of_each_trial_and_the_best_so_far(study):
    """While the study runs."""
    run, _, (killed, _) = study
    log = run.log("disturbed")
    for trial in run.xcom("disturbed")["trials"]:
        assert f"| trial {trial['number']} of {TRIALS}: " in log
    assert f"trial {killed} of {TRIALS}: its worker is gone" in log
    last = log[log.index(f"{TRIALS} done") - 300 : log.index(f"{TRIALS} done")]
    assert f"best so far {run.xcom('disturbed')['best']['value']:.6g} in trial" in last


def test_a_grid_is_gone_through_once(study):
    """A point that fails is left, and told of."""
    result = study[0].xcom("grid")
    points = sorted((trial["params"]["first"], trial["params"]["second"]) for trial in result["trials"])
    assert points == [(first, second) for first in (1, 2, 3) for second in (10, 20)]
    assert result["counts"] == {"complete": 5, "pruned": 0, "failed": 1}
    assert (result["best"]["value"], result["best"]["params"]) == (11.0, {"first": 1, "second": 10})
    (failed,) = (trial for trial in result["trials"] if trial["state"] == "failed")
    assert failed["failure"] == "ValueError: no sum for 2 and 20"


def test_an_objective_that_raises_ends_the_study(study):
    """With its exception, after three trials."""
    log = study[0].log("raising")
    error = log[log.index("JobFailed: ") :]
    assert "ValueError: no use for 1; 3 trials in a row failed" in error, log
    assert 'raise ValueError(f"no use for {trial' in error
    assert "trial 1 of 6: failed, ValueError: no use for 1 (n=1) - no best yet" in log, log


def test_a_python_without_optuna_is_one_clear_sentence(study):
    """It names the Python, the host and what to do."""
    log = study[0].log("without_optuna")
    error = log[log.index("JobFailed: ") :]
    assert "Optuna can't be imported by /usr/bin/python3" in error
    assert "name the Python that has it by python=" in error
