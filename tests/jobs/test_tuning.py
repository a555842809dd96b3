"""What runs on the cluster for a study, as real processes that share one folder: killed, warned, superseded."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna  # noqa: F401 - see Process
import pytest

from headnode.tuning.on_cluster.commands import main
from headnode.tuning.packing import study_files

DOCUMENTATION = Path(__file__).parents[2] / "docs/tuning.md"
OBJECTIVES = """
import json, os, time
from pathlib import Path
import optuna

def note(event, trial):
    number = int(os.environ["HEADNODE_TRIAL"])
    line = json.dumps({"event": event, "trial": number, "x": trial.params["x"], "pid": os.getpid()})
    with Path(os.environ["EVENTS"]).open("a") as file:
        file.write(line + "\\n")

def quick(trial):
    trial.suggest_float("x", 0, 1)
    note("start", trial)
    note("end", trial)
    return trial.params["x"]

def slow(trial):
    trial.suggest_float("x", 0, 1)
    saved = Path(os.environ["HEADNODE_TRIAL_DIRECTORY"], "steps")
    begun = int(saved.read_text()) if saved.exists() else 0
    note("start", trial)
    for step in range(begun, 100):
        if step == 3 and Path(os.environ["EVENTS"]).with_name("go").exists():
            break
        time.sleep(0.05)
        saved.write_text(str(min(step, 2)))
        trial.report(step, min(step, 2))
    note("end", trial)
    return trial.params["x"]

def stumbling(trial):
    trial.suggest_float("x", 0, 1)
    note("start", trial)
    if len(Path(os.environ["EVENTS"]).read_text().splitlines()) == 1:
        while not Path(os.environ["EVENTS"]).with_name("go").exists():
            time.sleep(0.05)
        raise RuntimeError("a process of the objective's own was ended by the warning")
    note("end", trial)
    return trial.params["x"]

def deadly(trial):
    if os.environ["HEADNODE_TRIAL"] == "2":
        trial.suggest_float("x", 0, 1)
        note("start", trial)
        if sum(1 for line in Path(os.environ["EVENTS"]).read_text().splitlines() if '"trial": 2' in line) <= 3:
            os.kill(os.getpid(), 9)
    return quick(trial)

def mixed(trial):
    quick(trial)
    if trial.params["x"] < 0.5:
        raise ValueError("too small")
    return trial.params["x"]

def not_a_number(trial):
    quick(trial)
    return float("nan")

def curve(trial):
    x = trial.suggest_float("x", 0, 1)
    for step in range(1, 6):
        trial.report(x * step, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return x
"""
STUDY = {
    "objective": "tune.py:quick",
    "trials": 12,
    "workers": 3,
    "maximize": True,
    "sampler": {"kind": "random"},
    "pruner": {"kind": "none"},
    "seed": 3,
    "max_failures": 3,
    "lost_seconds": 1.0,
    "grid": [],
}


class Process(multiprocessing.get_context("fork").Process):
    """A process forked from this one, which has Optuna already: its import takes longer than most of these tests."""

    def wait(self, seconds=60):
        """Return the exit code, that of a signal as less than nothing."""
        self.join(seconds)
        assert self.exitcode is not None, "the process has not ended"
        return self.exitcode

    def send_signal(self, number):
        """Send a signal, unless it has ended."""
        if self.exitcode is None:
            os.kill(self.pid, number)


class Job:
    """A job's place on the cluster, without a cluster."""

    def __init__(self, folder, **study):
        self.folder = folder
        self.study = STUDY | study
        for name in ("job", "code", "shared"):
            (folder / name).mkdir()
        (folder / "code/tune.py").write_text(OBJECTIVES)
        for name, content in study_files(self.study).items():
            (folder / "job" / name).write_bytes(content)
        self.env = {
            "HEADNODE_DIRECTORY": str(folder / "job"),
            "HEADNODE_CHECKPOINT": str(folder / "shared"),
            "HEADNODE_CODE": str(folder / "code"),
            "HEADNODE_RESULT": str(folder / "job/result.json"),
            "EVENTS": str(folder / "events.jsonl"),
        }
        self.processes = []

    def start(self, *words, worker=0):
        """Start one of the commands."""
        process = Process(target=self._command, args=(list(words), worker))
        process.start()
        self.processes.append(process)
        return process

    def _command(self, words, worker):
        os.environ.update(self.env | {"SLURM_PROCID": str(worker)})
        sys.stdout = sys.stderr = (self.folder / "said").open("a", buffering=1)
        sys.exit(main(words, self.folder / "job/study.json"))

    def start_archive(self, *words):
        """Start one of the commands as a job does."""
        command = [sys.executable, "-u", self.folder / "job/tuning.pyz", *words]
        return subprocess.run(
            command, env=os.environ | self.env, capture_output=True, text=True, check=True, timeout=60
        )

    def run(self, *words):
        """Run one of the commands and return its exit code."""
        return self.start(*words).wait(60)

    def begin(self, session):
        """Begin a session, and start its workers."""
        assert self.run("begin", session) == 0, self.said()
        return [self.start("work", session, worker=at) for at in range(self.study["workers"])]

    def said(self):
        """Return what all have said."""
        return (self.folder / "said").read_text()

    def events(self, event):
        """Return what the objectives wrote down."""
        path = self.folder / "events.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if line["event"] == event]

    def result(self):
        """Return what is left for Airflow."""
        return json.loads((self.folder / "job/result.json").read_text())

    def exception(self):
        """Return what is left for Airflow where it failed."""
        return json.loads((self.folder / "job/exception.json").read_text())

    def until(self, condition):
        """Wait for a condition."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)


@pytest.fixture
def job(tmp_path):
    """Return a function that makes a job's place; what was started in it is ended."""
    made = []

    def make(**study):
        made.append(Job(tmp_path, **study))
        return made[-1]

    yield make
    for each in made:
        for process in each.processes:
            process.kill()
            process.wait()


def finish(job, workers, session="1.0.1", warned="0"):
    """Wait for the workers, and return how the job ends."""
    for worker in workers:
        worker.wait(60)
    return job.run("end", session, warned)


def test_exactly_so_many_trials_finish(job):
    """By more workers than are good for it."""
    job = job(trials=40, workers=6)
    assert finish(job, job.begin("1.0.1")) == 0
    assert Counter(event["trial"] for event in job.events("end")) == dict.fromkeys(range(1, 41), 1)
    assert len(job.events("start")) == 40
    result = job.result()
    assert [trial["number"] for trial in result["trials"]] == list(range(1, 41))
    assert result["best"]["value"] == max(event["x"] for event in job.events("end"))
    assert "40 done" in job.said()


def test_what_travels_runs_on_its_own(job):
    """The archive and the description beside it, with nothing of headnode's around them."""
    job = job(trials=2, workers=1)
    for words in (("begin", "1.0.1"), ("work", "1.0.1"), ("end", "1.0.1", "0")):
        said = job.start_archive(*words).stdout
        assert ("trial 2 of 2: " in said) == (words[0] == "work")
    assert job.result()["counts"]["complete"] == 2


def test_a_seed_makes_the_same_trials_by_any_number_of_workers(tmp_path):
    """What each draws depends on the trial's number alone."""
    drawn = []
    for workers in (1, 3):
        (tmp_path / str(workers)).mkdir()
        one = Job(tmp_path / str(workers), workers=workers)
        assert finish(one, one.begin("1.0.1")) == 0
        drawn.append({event["trial"]: event["x"] for event in one.events("end")})
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0].values())) == 12


def test_a_killed_workers_trial_is_gone_on_with(job):
    """By another worker, with the same parameters, and counted once."""
    job = job(objective="tune.py:slow", trials=4, workers=3)
    workers = job.begin("1.0.1")
    job.until(lambda: len(job.events("start")) == 3)
    victim = next(worker for worker in workers if worker.pid == job.events("start")[1]["pid"])
    lost = job.events("start")[1]
    victim.send_signal(signal.SIGKILL)
    (job.folder / "go").touch()
    assert finish(job, workers) == 0
    assert Counter(event["trial"] for event in job.events("end")) == dict.fromkeys(range(1, 5), 1)
    again = [event for event in job.events("start") if event["trial"] == lost["trial"]]
    assert [event["x"] for event in again] == [lost["x"]] * 2
    assert len(job.events("start")) == 5
    (continued,) = (trial for trial in job.result()["trials"] if trial["continued"])
    assert continued["number"] == lost["trial"]
    assert set(continued["intermediate_values"]) == {"0", "1", "2"}
    assert f"trial {lost['trial']} of 4: its worker is gone" in job.said()


def test_a_job_that_was_killed_is_gone_on_with_by_the_next(job):
    """At once: workers of an earlier job are dead by definition, however fresh their beats are."""
    job = job(objective="tune.py:slow", trials=5, workers=2, lost_seconds=3600.0)
    workers = job.begin("1.0.1")
    job.until(lambda: len(job.events("start")) == 2)
    for worker in workers:
        worker.kill()
    (job.folder / "go").touch()
    assert finish(job, job.begin("2.0.1"), "2.0.1") == 0
    assert Counter(event["trial"] for event in job.events("end")) == dict.fromkeys(range(1, 6), 1)
    assert Counter(event["trial"] for event in job.events("start")) == {1: 2, 2: 2, 3: 1, 4: 1, 5: 1}


def test_a_warned_worker_stops_when_the_objective_reports(job):
    """What it ran is left as it is; the job asks to be run again."""
    job = job(objective="tune.py:slow", trials=3, workers=2)
    workers = job.begin("1.0.1")
    job.until(lambda: len(job.events("start")) == 2)
    for worker in workers:
        worker.send_signal(signal.SIGUSR1)
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert job.run("end", "1.0.1", "1") == 75
    assert job.events("end") == []
    (job.folder / "go").touch()
    assert finish(job, job.begin("1.1.1"), "1.1.1") == 0
    assert Counter(event["trial"] for event in job.events("end")) == {1: 1, 2: 1, 3: 1}


def test_what_a_warning_breaks_is_no_failure(job):
    """The trial is gone on with like any that the warning ended."""
    job = job(objective="tune.py:stumbling", trials=1, workers=1)
    (worker,) = job.begin("1.0.1")
    job.until(lambda: job.events("start"))
    worker.send_signal(signal.SIGUSR1)
    (job.folder / "go").touch()
    assert finish(job, [worker], warned="1") == 75
    assert finish(job, job.begin("2.0.1"), "2.0.1") == 0
    assert job.result()["failed"] == []
    assert len({event["x"] for event in job.events("start")}) == 1


def test_a_worker_of_an_earlier_session_leaves_the_study_alone(job):
    """As one on a node that Slurm took for dead, and that goes on beside the requeued job."""
    job = job(objective="tune.py:slow", trials=1, workers=1)
    (old,) = job.begin("1.0.1")
    job.until(lambda: job.events("start"))
    workers = job.begin("1.1.1")
    assert old.wait(60) == 0
    (job.folder / "go").touch()
    assert finish(job, workers, "1.1.1") == 0
    assert len(job.events("end")) == 1
    assert job.events("end")[0]["pid"] == workers[0].pid


def test_a_worker_that_was_silent_wakes_up_too_late(job):
    """Another one has gone on with its trial: its own result is not taken, and it ends in peace."""
    job = job(objective="tune.py:slow", trials=2, workers=2)
    workers = job.begin("1.0.1")
    job.until(lambda: len(job.events("start")) == 2)
    silent, other = workers
    (beats,) = Path(f"/proc/{silent.pid}/task/{silent.pid}/children").read_text().split()
    silent.send_signal(signal.SIGSTOP)
    os.kill(int(beats), signal.SIGKILL)
    (job.folder / "go").touch()
    assert other.wait(60) == 0
    assert job.run("end", "1.0.1", "0") == 0
    result = job.result()
    silent.send_signal(signal.SIGCONT)
    assert silent.wait(60) == 0
    assert Counter(event["trial"] for event in job.events("end")) == {1: 1, 2: 1}
    assert job.run("end", "1.0.1", "0") == 0
    assert job.result() == result


def test_the_example_of_the_documentation(job):
    """The text's own file is what runs."""
    _, example = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    pruner = {"kind": "asha", "min_resource": 5, "reduction_factor": 3}
    job = job(objective="tune.py:objective", trials=8, workers=2, sampler={"kind": "tpe"}, pruner=pruner)
    (job.folder / "code/tune.py").write_text(example)
    assert finish(job, job.begin("1.0.1")) == 0
    result = job.result()
    assert result["best"]["value"] > 0.8
    assert result["counts"]["pruned"] > 0
    assert max(map(int, result["best"]["intermediate_values"])) == 59


def test_a_trial_that_kills_its_workers_is_given_up(job):
    """After three of them; another one takes its place. The workers are started again while there is progress."""
    job = job(objective="tune.py:deadly", trials=3, workers=1)
    ends = [finish(job, job.begin(f"1.0.{at}"), f"1.0.{at}") for at in (1, 2)]
    assert ends == [79, 1]  # in the first, trial 1 came to its end
    assert finish(job, job.begin("1.0.3"), "1.0.3") == 1
    assert finish(job, job.begin("1.0.4"), "1.0.4") == 0
    (failed,) = job.result()["failed"]
    assert (failed["number"], failed["failure"]) == (2, "3 workers died of it, one after another")
    xs = [event["x"] for event in job.events("start") if event["trial"] == 2]
    assert xs[0] == xs[1] == xs[2] != xs[3]


def test_failed_trials_are_replaced_while_some_succeed(job):
    """With others, so that as many finish as were asked for."""
    job = job(objective="tune.py:mixed", trials=10, workers=1, max_failures=10)
    assert finish(job, job.begin("1.0.1")) == 0
    result = job.result()
    assert result["counts"]["complete"] == 10
    assert all(trial["value"] >= 0.5 for trial in result["trials"])
    assert len(result["failed"]) == sum(event["x"] < 0.5 for event in job.events("end")) > 0


@pytest.mark.parametrize(
    ("objective", "kind", "part"),
    [
        ("tune.py:not_a_number", "ValueError", "the objective returned NaN"),
        ("tune.py:nothing", "ImportError", "has no function 'nothing'"),
        ("tuen.py:quick", "ImportError", "the code has no file 'tuen.py'; it holds tune.py"),
        ("no.such.module:quick", "ModuleNotFoundError", "No module named 'no'"),
    ],
)
def test_what_no_worker_can_do_ends_the_job(job, objective, kind, part):
    """With the exception, for Airflow."""
    job = job(objective=objective, workers=2)
    assert finish(job, job.begin("1.0.1")) == 70
    assert job.exception()["type"] == kind
    assert part in job.exception()["message"]


def test_a_line_that_was_cut_does_not_end_the_study(job):
    """As when its writer was killed in the middle of it."""
    job = job(workers=1)
    assert finish(job, job.begin("1.0.1")) == 0
    journal = job.folder / "shared/journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    (job.folder / "job/result.json").unlink()
    assert finish(job, job.begin("2.0.1"), "2.0.1") == 0
    assert [trial["number"] for trial in job.result()["trials"]] == list(range(1, 13))


@pytest.mark.parametrize(
    "pruner",
    [
        {"kind": "asha", "min_resource": 1, "reduction_factor": 2},
        {"kind": "hyperband", "min_resource": 1, "max_resource": 5},
        {"kind": "median", "n_startup_trials": 1, "n_warmup_steps": 1},
    ],
)
def test_each_pruner_prunes(job, pruner):
    """And no complete trial is lost by it."""
    job = job(
        objective="tune.py:curve", pruner=pruner, trials=16, workers=2, sampler={"kind": "tpe", "n_startup_trials": 4}
    )
    assert finish(job, job.begin("1.0.1")) == 0
    counts = job.result()["counts"]
    assert counts["pruned"] > 0
    assert counts["complete"] + counts["pruned"] == 16


def test_what_a_sampler_lacks_is_said_before_any_worker_starts(job):
    """Here a package that is not there."""
    job = job(sampler={"kind": "cmaes"})
    assert job.run("begin", "1.0.1") == 70
    assert "cmaes" in job.exception()["message"]
