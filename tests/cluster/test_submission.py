"""Exactly one job for each submission, on a real cluster, whatever becomes of sbatch's answer and of the connection."""

import asyncio
import dataclasses
import io
import tarfile
import time
import uuid

import pytest

from headnode.cluster.cancellation import withdraw
from headnode.cluster.logs import read_result
from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import Pause, drive
from headnode.cluster.queries import snapshot
from headnode.cluster.submission import SubmitRequest, Submitted, Superseded, submit
from headnode.errors import CommandRefused, ConnectionLost, ControllerUnavailable
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.record import Labels
from headnode.slurm.script import render_script
from headnode.ssh.asyncssh_transport import AsyncSSHTransport
from headnode.ssh.settings import SSHSettings
from headnode.testing.programs import find_programs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

SETTLE_SECONDS = 1.0
TIMED_OUT = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1"


def new_place(directory, **changes):
    """Return the place of a task that no other test has."""
    labels = Labels(dag_id="tests", run_id=str(uuid.uuid4()), task_id="task")
    place = JobPlace(work_directory=str(directory), deployment_id="t", labels=labels, owner=str(uuid.uuid4()))
    return dataclasses.replace(place, **changes)


def new_request(place, command=("sleep", "60"), code=None, **fields):
    """Return the request to run a command, which needs no CPU to speak of."""
    spec = parse_jobspec({"job_name": "test", "command": list(command), "memory": "10M", **fields})
    return SubmitRequest(place=place, script=render_script(spec), code=code)


@pytest.fixture
def connect(slurm_cluster):
    """Return a function that makes one more connection to the cluster."""
    settings = SSHSettings(
        conn_id="private",
        host=slurm_cluster.host,
        port=slurm_cluster.port,
        username=slurm_cluster.user,
        key_file=str(slurm_cluster.key_file),
        host_key=slurm_cluster.host_key,
    )
    return lambda: AsyncSSHTransport(settings)


@pytest.fixture
def ask(connect):
    """Return a function that runs procedures at once, each over a connection of its own."""

    async def run_one(procedure, pauses):
        transport = connect()
        try:
            return await drive(procedure, transport, on_pause=pauses.append)
        finally:
            await transport.close()

    def run(*procedures, pauses=None):
        async def run_all():
            seen = [] if pauses is None else pauses
            return await asyncio.wait_for(asyncio.gather(*(run_one(each, seen) for each in procedures)), 60)

        results = asyncio.run(run_all())
        return results[0] if len(procedures) == 1 else results

    return run


@pytest.fixture
def sbatch(slurm_cluster):
    """Return a function that puts another sbatch in place; ``real`` is the real one in it."""
    path = slurm_cluster.directory / "bin" / "sbatch"

    def replace(body):
        path.write_text(f'#!/bin/bash\nreal() {{ {find_programs()["sbatch"]} "$@"; }}\n{body}\n')

    yield replace
    slurm_cluster.restore_commands()


@pytest.fixture(autouse=True)
def no_job_is_left(slurm_cluster):
    """Cancel what a test has left running."""
    yield
    slurm_cluster.run("scancel", f"--user={slurm_cluster.user}", check=False)


def jobs_of(cluster, place):
    """Return the ids of all jobs that ever were for the place, as queue and accounting know them."""
    mark = f"/{place.key}/work"
    queue = cluster.run("squeue", "-h", "-o", "%F|%Z").stdout
    past = cluster.run("sacct", "-nXP", "-S", "now-1hour", "-o", "JobID,WorkDir").stdout
    return {line.split("|")[0] for line in (queue + past).splitlines() if line.endswith(mark)}


def is_queued(cluster, job_id):
    """Whether the job waits or runs."""
    return job_id in cluster.run("squeue", "-h", "-t", "PD,R", "-o", "%F").stdout.split()


def test_the_same_submission_twice(slurm_cluster, ask, tmp_path):
    """The second time the job is found, and nothing is sent."""
    place = new_place(tmp_path)
    first = ask(submit(new_request(place)))
    again = ask(submit(new_request(place)))
    assert not first.adopted
    assert again == dataclasses.replace(first, adopted=True)
    assert jobs_of(slurm_cluster, place) == {first.job_id}
    assert first.directory == f"{tmp_path}/t/tasks/{place.task_name}/{place.key}"


def test_eight_at_once(slurm_cluster, ask, tmp_path):
    """One of them submits, all get the same job."""
    place = new_place(tmp_path)
    results = ask(*(submit(new_request(place), settle_seconds=SETTLE_SECONDS) for _ in range(8)))
    assert len({result.job_id for result in results}) == 1
    assert [result.adopted for result in results].count(False) == 1
    assert jobs_of(slurm_cluster, place) == {results[0].job_id}


@pytest.mark.parametrize(
    "body",
    [
        f'real "$@" >/dev/null; {TIMED_OUT}',
        'real "$@"; exit 1',
        'real "$@" >/dev/null',
        'real "$@" >/dev/null; kill -KILL $$',
    ],
    ids=["timed out", "an id but a failure", "no id", "killed"],
)
def test_an_answer_that_was_lost(slurm_cluster, ask, sbatch, tmp_path, body):
    """The job is there: it is found by its tag, and not sent again."""
    place = new_place(tmp_path)
    calls = slurm_cluster.directory / "sbatch-calls"
    calls.unlink(missing_ok=True)
    sbatch(f"echo call >> {calls}\n{body}")
    result = ask(submit(new_request(place), settle_seconds=SETTLE_SECONDS))
    assert jobs_of(slurm_cluster, place) == {result.job_id}
    assert calls.read_text() == "call\n"


def test_an_answer_that_was_lost_with_the_job(slurm_cluster, ask, sbatch, tmp_path):
    """No job appears after the settling time, so it is sent again, once."""
    place = new_place(tmp_path)
    begun = slurm_cluster.directory / "begun"
    begun.unlink(missing_ok=True)
    sbatch(f'if [ -e {begun} ]; then real "$@"; else touch {begun}; {TIMED_OUT}; fi')
    result = ask(submit(new_request(place), settle_seconds=SETTLE_SECONDS))
    assert jobs_of(slurm_cluster, place) == {result.job_id}


def test_a_connection_that_breaks_in_mid_submission(slurm_cluster, ask, sbatch, tmp_path):
    """The host finishes the step by itself; the same procedure run again finds the job."""
    place = new_place(tmp_path)
    killed = slurm_cluster.directory / "killed"
    killed.unlink(missing_ok=True)
    # The session's process is the one above the login shell, which is above the step's bash.
    sbatch(
        'real "$@"; status=$?\n'
        f'[ -e {killed} ] || {{ touch {killed}; pid=$$; while [ "$(cat /proc/$pid/comm)" != sshd ];'
        " do pid=$(awk '/^PPid/ {print $2}' /proc/$pid/status); done; kill -KILL $pid; sleep 1; }\nexit $status"
    )
    with pytest.raises(ConnectionLost):
        ask(submit(new_request(place), settle_seconds=SETTLE_SECONDS))
    result = ask(submit(new_request(place), settle_seconds=SETTLE_SECONDS))
    assert result.adopted
    assert jobs_of(slurm_cluster, place) == {result.job_id}


def test_a_refusal(slurm_cluster, ask, tmp_path):
    """Slurm's words and what to do; once the cause is gone the same submission passes."""
    place = new_place(tmp_path)
    with pytest.raises(CommandRefused, match="Invalid partition name specified; `sinfo -s`") as caught:
        ask(submit(new_request(place, partition="nowhere")))
    assert caught.value.kind == "permanent"
    assert not jobs_of(slurm_cluster, place)
    assert not ask(submit(new_request(place))).adopted


def test_a_controller_that_is_away(slurm_cluster, ask, tmp_path):
    """Nothing was submitted, and trying again later helps."""
    place = new_place(tmp_path)
    slurm_cluster.stop_slurmctld()
    try:
        with pytest.raises(ControllerUnavailable) as caught:
            ask(submit(new_request(place), settle_seconds=SETTLE_SECONDS))
    finally:
        slurm_cluster.start_slurmctld()
    assert caught.value.retryable
    result = ask(submit(new_request(place), settle_seconds=SETTLE_SECONDS))
    assert jobs_of(slurm_cluster, place) == {result.job_id}


def test_a_later_try_ends_the_job_of_an_earlier_one(slurm_cluster, ask, tmp_path):
    """Then the earlier try may not submit any more."""
    earlier = new_place(tmp_path)
    first = ask(submit(new_request(earlier)))
    later = dataclasses.replace(earlier, owner=str(uuid.uuid4()))
    pauses: list[Pause] = []
    second = ask(submit(new_request(later)), pauses=pauses)
    assert f"job {first.job_id} of an earlier try is cancelled" in pauses[0].reason
    assert not is_queued(slurm_cluster, first.job_id)
    assert is_queued(slurm_cluster, second.job_id)
    with pytest.raises(Superseded, match=later.owner):
        ask(submit(new_request(dataclasses.replace(earlier, number=2))))


def test_two_submissions_of_one_try(slurm_cluster, ask, tmp_path):
    """The second, as after a node's failure, is a job of its own and leaves the first alone."""
    place = new_place(tmp_path)
    first = ask(submit(new_request(place)))
    second = ask(submit(new_request(dataclasses.replace(place, number=2))))
    assert first.job_id != second.job_id
    assert is_queued(slurm_cluster, first.job_id)


def test_withdrawing_before_submission(slurm_cluster, ask, tmp_path):
    """No job is there, and none comes."""
    place = new_place(tmp_path)
    assert ask(withdraw(place)) is None
    with pytest.raises(Superseded):
        ask(submit(new_request(place)))
    assert not jobs_of(slurm_cluster, place)


def test_withdrawing_while_it_is_submitted(slurm_cluster, connect, sbatch, tmp_path):
    """Whichever comes first, no job is left."""
    place = new_place(tmp_path)
    sbatch('sleep 1; real "$@"')

    async def both():
        transports = [connect(), connect()]
        try:
            submission = asyncio.create_task(drive(submit(new_request(place)), transports[0]))
            await asyncio.sleep(0.5)
            withdrawn = await drive(withdraw(place), transports[1])
            return (await asyncio.gather(submission, return_exceptions=True))[0], withdrawn
        finally:
            await asyncio.gather(*(each.close() for each in transports))

    from_submission, withdrawn = asyncio.run(asyncio.wait_for(both(), 60))
    assert isinstance(from_submission, Submitted | Superseded)
    assert withdrawn is None or withdrawn == from_submission.job_id
    assert not any(is_queued(slurm_cluster, job_id) for job_id in jobs_of(slurm_cluster, place))


def test_withdrawing_a_job(slurm_cluster, ask, tmp_path):
    """It is cancelled; doing so again does no harm; a later try may begin anew."""
    place = new_place(tmp_path)
    job_id = ask(submit(new_request(place))).job_id
    assert ask(withdraw(place)) == job_id
    assert not is_queued(slurm_cluster, job_id)
    assert ask(withdraw(place)) == job_id
    later = dataclasses.replace(place, owner=str(uuid.uuid4()))
    assert not ask(submit(new_request(later))).adopted


def test_withdrawing_after_a_later_try_has_begun(slurm_cluster, ask, tmp_path):
    """The later try's job is not touched."""
    earlier = new_place(tmp_path)
    ask(submit(new_request(earlier)))
    later = dataclasses.replace(earlier, owner=str(uuid.uuid4()))
    job_id = ask(submit(new_request(later))).job_id
    assert ask(withdraw(earlier)) is None
    assert is_queued(slurm_cluster, job_id)


def test_a_work_directory_that_cannot_be_written(ask, tmp_path):
    """The message names the directory and what to look at."""
    (tmp_path / "file").touch()
    place = new_place(tmp_path / "file")
    with pytest.raises(CommandRefused, match=rf"{tmp_path}/file/.* can't be written.*quota.*work_directory"):
        ask(submit(new_request(place)))
    with pytest.raises(CommandRefused, match="can't be withdrawn"):
        ask(withdraw(place))


def archive(**files):
    """Return a gzipped tar archive of files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def wait_until_over(cluster, job_id):
    """Wait for the job to leave the queue."""
    deadline = time.monotonic() + 30
    while cluster.run("squeue", "-h", f"--jobs={job_id},{job_id}").stdout:
        assert time.monotonic() < deadline, "the job did not end"
        time.sleep(0.2)


def test_code_travels_once(slurm_cluster, ask, tmp_path):
    """Two jobs with the same code share its upload; each runs in a copy of its own and may write there."""
    code = archive(model="x = 1\n")
    command = ["bash", "-c", 'printf \'"%s"\' "$(cat model)" > "$HEADNODE_RESULT"; echo changed > model']
    pauses: list[Pause] = []
    jobs = [ask(submit(new_request(new_place(tmp_path), command, code)), pauses=pauses) for _ in range(2)]
    for job in jobs:
        wait_until_over(slurm_cluster, job.job_id)
        assert ask(read_result(job.directory, is_array=False)) == "x = 1"
    stored = list((tmp_path / "t" / "code").iterdir())
    assert len(stored) == 1
    assert (stored[0] / "model").read_text() == "x = 1\n"


def test_an_arrays_results_are_a_list(slurm_cluster, ask, tmp_path):
    """In the order of elements."""
    command = ["bash", "-c", 'echo $((SLURM_ARRAY_TASK_ID * SLURM_ARRAY_TASK_ID)) > "$HEADNODE_RESULT"']
    job = ask(submit(new_request(new_place(tmp_path), command, sbatch_options={"array": "8-11"})))
    wait_until_over(slurm_cluster, job.job_id)
    assert ask(snapshot([job.job_id])) == {}
    assert ask(read_result(job.directory, is_array=True)) == [64, 81, 100, 121]


NASTY_NAMES = [
    "two words",
    "it's",
    'say "hi"',
    "back\\slash",
    "#hash",
    "$HOME `id` $(id)",
    "%j ü 漢",
    " padded ",
    "--x",
    "\\",
]


def test_sbatch_reads_names_as_they_were_given(slurm_cluster, ask, tmp_path):
    """Any character of a line arrives in Slurm through the #SBATCH line's quotes."""
    requests = []
    for name in NASTY_NAMES:
        spec = parse_jobspec({"job_name": name, "command": "true", "sbatch_options": {"hold": True}})
        requests.append(SubmitRequest(place=new_place(tmp_path), script=render_script(spec)))
    jobs = ask(*(submit(request) for request in requests))
    queue = slurm_cluster.run("squeue", "-h", "-o", "%F|%j").stdout
    names = dict(line.split("|", 1) for line in queue.splitlines())
    assert [names[job.job_id] for job in jobs] == NASTY_NAMES


def test_carriage_returns_pass_slurms_check(slurm_cluster, ask, tmp_path):
    """A form in a browser sends DOS line breaks, and Slurm refuses scripts that have one."""
    command = ["bash", "-c", 'printf %s "$1" | od -An -c > seen; echo 1 > "$HEADNODE_RESULT"', "bash", "a\r\nb"]
    job = ask(submit(new_request(new_place(tmp_path), command)))
    wait_until_over(slurm_cluster, job.job_id)
    assert ask(read_result(job.directory, is_array=False)) == 1
