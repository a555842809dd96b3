"""Jobs from a notebook or a script: submitted once, waited for, read and cancelled, on a real cluster."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from headnode.errors import JobCancelled, JobFailed, JobSpecError, TransportError, WaitTimedOut
from headnode.hooks.jobs import SlurmJob
from headnode.hooks.slurm import SlurmHook
from headnode.testing.proxy import SshProxy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

SMALL = {"memory": "10M", "time_limit": "00:05:00"}


@pytest.fixture(scope="module")
def connection(slurm_cluster, tmp_path_factory):
    """Return a connection's JSON, with a work directory of its own and short intervals."""
    fields = json.loads(slurm_cluster.airflow_connection_json())
    fields["extra"] |= {
        "work_directory": str(tmp_path_factory.mktemp("work")),
        "poll_seconds": 0.2,
        "poll_max_seconds": 0.5,
        "settle_seconds": 1,
    }
    return json.dumps(fields)


FAILING = "for i in $(seq 50); do echo line $i; done; echo the very end >&2; exit 3"
ELEMENT = 'echo "element $SLURM_ARRAY_TASK_ID"; echo $SLURM_ARRAY_TASK_ID > "$HEADNODE_RESULT"'


@pytest.fixture(scope="module")
def early(connection, slurm_cluster):
    """Return jobs that run while other tests do; at the end all jobs that are left are cancelled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_EARLY", connection)
        hook = SlurmHook("early")
        asked = {
            "failing": {"command": FAILING},
            "failing too": {"command": FAILING},
            "large": {"command": "seq 1000000 1999999; echo the end"},
            "array": {"command": ELEMENT, "sbatch_options": {"array": "0-2"}},
        }
        yield {name: hook.submit(say=lambda _: None, **SMALL, **fields) for name, fields in asked.items()}
        hook.transport.close()
    slurm_cluster.run("scancel", f"--user={slurm_cluster.user}", check=False)


@pytest.fixture
def hook(connection, early, monkeypatch):  # noqa: ARG001 - so that those jobs are there first
    """Return a hook whose connection is in the environment, as in a notebook."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTEBOOK", connection)
    made = SlurmHook("notebook")
    yield made
    made.transport.close()


@pytest.fixture
def told():
    """Return a list for what a hook says."""
    return []


def wait_until(condition, what):
    """Wait for a condition, within a generous limit."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"not within 60 s: {what}"
        time.sleep(0.2)


def jobs_named(slurm_cluster, name):
    """Return the ids of all jobs that the cluster has had under a name."""
    answer = slurm_cluster.run("sacct", "-nX", "--format=JobID%20", f"--name={name}", "-S", "now-1hours")
    queued = slurm_cluster.run("squeue", "-h", "-o", "%i", f"--name={name}", "--states=all")
    return set(answer.stdout.split()) | set(queued.stdout.split())


def test_a_result_comes_back_and_what_happens_is_told(hook, told):
    """States are told with what was used; the handle can be kept as JSON or pickled."""
    command = 'echo working; echo "{\\"answer\\": $X}" > "$HEADNODE_RESULT"'
    job = hook.submit(command=command, env={"X": 42}, job_name="answer", say=told.append, **SMALL)
    assert hook.wait(job, show_log=True, say=told.append) == {"answer": 42}
    assert hook.result(job) == {"answer": 42}
    assert hook.state(job) == "COMPLETED"
    text = "\n".join(told)
    assert f"job {job.job_id} submitted on 127.0.0.1, directory {job.directory}" in text
    assert "\n| working" in text
    assert f"job {job.job_id} ended as COMPLETED and used" in text
    assert SlurmJob.from_json(json.loads(json.dumps(job.to_json()))) == job
    assert pickle.loads(pickle.dumps(job)) == job  # noqa: S301 - made here


def test_one_key_is_one_job(hook, slurm_cluster, connection, monkeypatch, told):
    """A cell that is run twice, or on two machines at the same time, finds the same job."""
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection)
    asked = {"command": ["sleep", "60"], "key": "train on 2024", **SMALL}
    found = []
    others = [SlurmHook("other") for _ in range(2)]
    threads = [
        threading.Thread(target=lambda each=each: found.append(each.submit(say=told.append, **asked)))
        for each in others
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.append(hook.submit(say=told.append, **asked))
    for each in others:
        each.transport.close()
    assert {job.job_id for job in found} == {found[0].job_id}
    assert jobs_named(slurm_cluster, "train on 2024") == {found[0].job_id}
    assert sum("found again" in line for line in told) == 2
    with pytest.raises(JobSpecError, match=f"'train on 2024' names job {found[0].job_id} already"):
        hook.submit(command=["sleep", "61"], key="train on 2024", say=told.append)


def test_a_key_runs_again_after_a_failure_and_not_after_success(hook, tmp_path, told):
    """Failed or cancelled: anew. Ended well: the result is there."""
    mark = tmp_path / "mark"
    asked = {"command": f'test -e {mark} && echo 1 > "$HEADNODE_RESULT"', "key": "again", **SMALL}
    first = hook.submit(say=told.append, **asked)
    with pytest.raises(JobFailed, match=f"job {first.job_id} on 127.0.0.1 ended as FAILED"):
        hook.wait(first, say=told.append)
    mark.touch()
    second = hook.submit(say=told.append, **asked)
    assert second.job_id != first.job_id
    assert hook.wait(second, say=told.append) == 1
    assert hook.submit(say=told.append, **asked) == second


def test_without_a_key_each_call_is_a_job(hook, slurm_cluster, told):
    """One wait serves all, in the order of the list: they are asked for together, over one login."""
    commands = [f'sleep {seconds}; echo {seconds} > "$HEADNODE_RESULT"' for seconds in (2, 1, 1)]
    jobs = [hook.submit(command=command, say=told.append, **SMALL) for command in commands]
    assert len({job.job_id for job in jobs}) == 3
    asked = []
    run = hook.transport.run
    hook.transport.run = lambda command: asked.append(command.purpose) or run(command)
    logins = slurm_cluster.logins()
    assert hook.wait(jobs, say=told.append) == [2, 1, 1]
    assert slurm_cluster.logins() == logins
    assert asked.count("asking sacct") <= asked.count("asking squeue")
    assert asked.count("reading the job's result") == 3
    assert any(line.startswith(f"[{jobs[0].job_id}] job {jobs[0].job_id} is ") for line in told)


def test_a_failure_says_how_and_shows_the_last_lines(hook, early, told):
    """Of several jobs the first failure is raised, with the others in its notes."""
    jobs = [early["failing"], early["failing too"]]
    with pytest.raises(JobFailed) as failed:
        hook.wait(jobs, say=told.append)
    message = str(failed.value)
    assert f"job {jobs[0].job_id} on 127.0.0.1 ended as FAILED" in message
    assert "with exit code 3" in message
    assert "  line 50\n" in message
    assert "  ! the very end" in message
    assert "  line 10\n" not in message
    assert f"job {jobs[1].job_id}" in failed.value.__notes__[0]
    with pytest.raises(JobFailed, match="exit code 3"):
        hook.result(jobs[0])


def test_the_time_for_waiting_can_be_bounded(hook, told):
    """The job goes on, and can be waited for again."""
    job = hook.submit(command="sleep 60", say=told.append, **SMALL)
    with pytest.raises(WaitTimedOut, match=f"the time is up, and job {job.job_id} is (PENDING|RUNNING)"):
        hook.wait(job, timeout=timedelta(seconds=1), say=told.append)
    with pytest.raises(TimeoutError):
        hook.result(job)
    wait_until(lambda: hook.state(job) == "RUNNING", "the job runs")
    assert f"job {job.job_id} goes on" in told[-1]
    hook.cancel(job)
    with pytest.raises(JobCancelled, match=f"job {job.job_id} on 127.0.0.1 ended as CANCELLED"):
        hook.wait(job, say=told.append)


def test_only_the_very_job_is_cancelled(hook, told):
    """Ids come round again: another key means another job."""
    job = hook.submit(command="sleep 60", say=told.append, **SMALL)
    stranger = SlurmJob.from_json({**job.to_json(), "key": "00000000-0000-0000-0000-000000000000-1"})
    hook.cancel(stranger)
    assert hook.state(job) in ("PENDING", "RUNNING")
    hook.cancel(job)
    wait_until(lambda: str(hook.state(job)).startswith("CANCELLED"), "the job is cancelled")


def test_logs_so_far_from_an_offset_and_followed(hook, told):
    """Text so far, bytes from an offset on, and lines as they come."""
    command = "echo one; echo zwei ünd >&2; sleep 1; echo two; echo three"
    job = hook.submit(command=command, say=told.append, **SMALL)
    assert [line for line in hook.logs(job, follow=True) if line in ("one", "two", "three")] == ["one", "two", "three"]
    assert hook.logs(job).endswith("one\ntwo\nthree\n")
    assert hook.logs(job, "stderr").endswith("zwei ünd\n")
    size = len(hook.logs(job).encode())
    assert hook.logs(job, start=size - 6) == "three\n"
    assert hook.logs(job, start=size) == ""
    with pytest.raises(JobSpecError, match="stream: 'both' must be"):
        hook.logs(job, "both")


def test_large_logs_are_bounded(hook, early, told):
    """The last MiB, with a word about it; or up to a MiB from any byte on."""
    job = early["large"]
    hook.wait(job, say=told.append)
    text = hook.logs(job)
    assert len(text) == 1024 * 1024
    assert text.endswith("\nthe end\n")
    assert re.search("1999998\n1999999\n", text)
    part = hook.logs(job, start=0)
    assert 1024 * 1024 <= len(part) < 1024 * 1024 + 128 * 1024


def test_arrays_give_lists_and_a_log_for_each_element(hook, early, told):
    """The option of sbatch is enough."""
    job = early["array"]
    assert hook.wait(job, say=told.append) == [0, 1, 2]
    assert hook.logs(job, element=2).endswith("element 2\n")
    with pytest.raises(JobSpecError, match="say of which element"):
        hook.logs(job)


def test_code_goes_with_the_job(hook, tmp_path, told):
    """A folder, small or large; another content under the same key is refused."""
    (tmp_path / "part.py").write_text("print('hello from the folder')\n")
    job = hook.submit(command=["python3", "part.py"], code=str(tmp_path), key="with code", say=told.append, **SMALL)
    (tmp_path / "part.py").write_text("print('hello from what is another folder')\n")
    with pytest.raises(JobSpecError, match="another script, code or files"):
        hook.submit(command=["python3", "part.py"], code=str(tmp_path), key="with code", say=told.append, **SMALL)
    (tmp_path / "noise").write_bytes(os.urandom(400_000))
    large = hook.submit(command=["python3", "part.py"], code=str(tmp_path), say=told.append, **SMALL)
    hook.wait([job, large], say=told.append)
    assert hook.logs(job).endswith("hello from the folder\n")
    assert hook.logs(large).endswith("another folder\n")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "command: give exactly one of"),
        ({"command": "true", "memory": "much"}, "memory: 'much' is no memory size"),
        ({"command": "true", "job_name": "a\nb"}, "job_name"),
        ({"command": "true", "colour": "red"}, "colour: is no field of a job that"),
        ({"command": "true", "key": "a\nb"}, "key: .* one line"),
        ({"command": "true", "code": "/nowhere"}, "code: /nowhere is not there"),
    ],
)
def test_what_cannot_be_right_is_refused_before_anything_is_sent(hook, fields, message):
    """By the same checks as the operator's."""
    with pytest.raises(JobSpecError, match=message):
        hook.submit(**fields)
    assert "transport" not in hook.__dict__


def test_a_job_of_another_cluster_is_refused(hook):
    """Its id means something else here."""
    job = SlurmJob(job_id="1", directory="/x", key="k-1", host="elsewhere")
    with pytest.raises(JobSpecError, match="1 is a job of elsewhere, and connection 'notebook' leads to"):
        hook.wait(job)
    with pytest.raises(JobSpecError, match="poll_seconds: 0 must be more than 0"):
        hook.wait(SlurmJob(job_id="1", directory="/x", key="k-1", host=hook.settings.ssh.host), poll_seconds=0)
    with pytest.raises(JobSpecError, match="is no SlurmJob"):
        hook.wait({"job_id": "1"})
    with pytest.raises(JobSpecError, match="is not what"):
        SlurmJob.from_json({"job_id": "1; true", "directory": "/x", "key": "k", "host": "h"})


def test_an_outage_is_waited_out(connection, slurm_cluster, monkeypatch, told):
    """It is told when it begins and ends; one that lasts for too long ends the waiting, and the job goes on."""
    with SshProxy(host=slurm_cluster.host, port=slurm_cluster.port) as proxy:
        monkeypatch.setenv("AIRFLOW_CONN_FAR", json.dumps({**json.loads(connection), "port": proxy.port}))
        hook = SlurmHook("far")

        def say(text):
            told.append(text)
            if "SSH is asked again until it answers" in text:
                proxy.accept()

        jobs = [hook.submit(command='sleep 1; echo 1 > "$HEADNODE_RESULT"', say=say, **SMALL) for _ in range(2)]
        proxy.refuse()
        proxy.cut()
        assert hook.wait(jobs, say=say) == [1, 1]
        assert sum("Jobs go on; SSH is asked again" in line for line in told) == 1
        assert sum(bool(re.match("SSH answers again after [0-9]+ s", line)) for line in told) == 1
        job = hook.submit(command="sleep 60", say=say, **SMALL)
        proxy.refuse()
        proxy.cut()
        with pytest.raises(TransportError):
            hook.wait(job, outage_tolerance=timedelta(seconds=1), say=told.append)
        assert f"job {job.job_id} goes on on 127.0.0.1" in told[-1]
        proxy.accept()
        hook.cancel(job)
        hook.transport.close()


WAITS = """
import sys
from headnode import SlurmHook
hook = SlurmHook("notebook")
job = hook.submit(command="sleep 60", memory="10M")
print("handle", job.job_id, flush=True)
hook.wait(job)
"""


def test_ctrl_c_leaves_the_job_running_and_says_how_to_go_on(hook, connection, tmp_path):
    """In a process of its own, without a database of Airflow's."""
    environment = {"AIRFLOW_CONN_NOTEBOOK": connection, "AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    said = []
    command = [sys.executable, "-c", WAITS]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        for line in process.stdout:
            said.append(line)
            if " is RUNNING" in line:
                process.send_signal(signal.SIGINT)
    assert process.returncode != 0
    text = "".join(said)
    job_id = re.search(r"^handle ([0-9]+)$", text, re.MULTILINE)[1]
    assert "KeyboardInterrupt" in text
    assert f"job {job_id} goes on on 127.0.0.1: wait(job) waits again, cancel(job) ends it; the handle is" in text
    assert hook.state(job_id) == "RUNNING"
    hook.cancel(job_id)


def test_the_example_of_the_documentation(connection, slurm_cluster, tmp_path):
    """The text's own program, run twice: the second run finds the jobs of the first."""
    text = (Path(__file__).parents[2] / "docs/python.md").read_text()
    (example,) = [each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "SlurmHook" in each]
    environment = {"AIRFLOW_CONN_MY_CLUSTER": connection, "AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", example], env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "\n[9, 16]\n" in done.stdout
        assert "squaring 3\n" in done.stdout
    assert "found again on" in done.stdout
    assert len(jobs_named(slurm_cluster, "square of 3")) == 1
