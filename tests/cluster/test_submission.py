"""Exactly one job for each submission, on a real cluster, whatever becomes of sbatch's answer and of the connection."""

import asyncio
import dataclasses
import uuid
from pathlib import Path

import pytest

from headnode.cluster.cancellation import withdraw
from headnode.cluster.procedures import Pause, drive
from headnode.cluster.submission import Submitted, Superseded, submit
from headnode.errors import CommandRefused, ConnectionLost, ControllerUnavailable
from headnode.testing.programs import find_programs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

SETTLE_SECONDS = 1.0
TIMED_OUT = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1"


@pytest.fixture
def sbatch(slurm_cluster):
    """Return a function that puts another sbatch in place; ``real`` is the real one in it."""
    path = slurm_cluster.directory / "bin" / "sbatch"

    def replace(body):
        path.write_text(f'#!/bin/bash\nreal() {{ {find_programs()["sbatch"]} "$@"; }}\n{body}\n')

    yield replace
    slurm_cluster.restore_commands()


def jobs_of(cluster, place):
    """Return the ids of all jobs that ever were for the place, as queue and accounting know them."""
    mark = f"/{place.key}/work"
    queue = cluster.run("squeue", "-h", "-o", "%F|%Z").stdout
    past = cluster.run("sacct", "-nXP", "-S", "now-1hour", "-o", "JobID,WorkDir").stdout
    return {line.split("|")[0] for line in (queue + past).splitlines() if line.endswith(mark)}


def is_queued(cluster, job_id):
    """Whether the job waits or runs."""
    return job_id in cluster.run("squeue", "-h", "-t", "PD,R", "-o", "%F").stdout.split()


def test_the_same_submission_twice(slurm_cluster, ask, tmp_path, new_place, new_request):
    """The second time the job is found, and nothing is sent."""
    place = new_place()
    first = ask(submit(new_request(place=place)))
    again = ask(submit(new_request(place=place)))
    assert not first.adopted
    assert again == dataclasses.replace(first, adopted=True)
    assert jobs_of(slurm_cluster, place) == {first.job_id}
    assert first.directory == f"{tmp_path}/t/tasks/{place.task_name}/{place.key}"


def test_eight_at_once(slurm_cluster, ask, new_place, new_request):
    """One of them submits, all get the same job."""
    place = new_place()
    results = ask(*(submit(new_request(place=place), settle_seconds=SETTLE_SECONDS) for _ in range(8)))
    assert len({result.job_id for result in results}) == 1
    assert [result.adopted for result in results].count(False) == 1
    assert jobs_of(slurm_cluster, place) == {results[0].job_id}


LOST_ANSWERS = {
    "timed out": f'real "$@" >/dev/null; {TIMED_OUT}',
    "an id but a failure": 'real "$@"; exit 1',
    "no id": 'real "$@" >/dev/null',
    "killed": 'real "$@" >/dev/null; kill -KILL $$',
}


@pytest.fixture(params=LOST_ANSWERS)
def calls(request, slurm_cluster, sbatch):
    """Lose sbatch's answers in one way, and return the file that counts its calls."""
    path = slurm_cluster.directory / "sbatch-calls"
    path.unlink(missing_ok=True)
    sbatch(f"echo call >> {path}\n{LOST_ANSWERS[request.param]}")
    return path


def test_an_answer_that_was_lost(slurm_cluster, ask, calls, new_place, new_request):
    """The job is there: it is found by its tag, and not sent again."""
    place = new_place()
    result = ask(submit(new_request(place=place), settle_seconds=SETTLE_SECONDS))
    assert jobs_of(slurm_cluster, place) == {result.job_id}
    assert calls.read_text() == "call\n"


def test_an_answer_that_was_lost_with_the_job(slurm_cluster, ask, sbatch, new_place, new_request):
    """No job appears after the settling time, so it is sent again, once."""
    place = new_place()
    begun = slurm_cluster.directory / "begun"
    begun.unlink(missing_ok=True)
    sbatch(f'if [ -e {begun} ]; then real "$@"; else touch {begun}; {TIMED_OUT}; fi')
    result = ask(submit(new_request(place=place), settle_seconds=SETTLE_SECONDS))
    assert jobs_of(slurm_cluster, place) == {result.job_id}


def test_a_connection_that_breaks_in_mid_submission(slurm_cluster, ask, sbatch, new_place, new_request):
    """The host finishes the step by itself; the same procedure run again finds the job."""
    place = new_place()
    killed = slurm_cluster.directory / "killed"
    killed.unlink(missing_ok=True)
    # The session's process is the one above the login shell, which is above the step's bash.
    sbatch(
        'real "$@"; status=$?\n'
        f'[ -e {killed} ] || {{ touch {killed}; pid=$$; while [ "$(cat /proc/$pid/comm)" != sshd ];'
        " do pid=$(awk '/^PPid/ {print $2}' /proc/$pid/status); done; kill -KILL $pid; sleep 1; }\nexit $status"
    )
    with pytest.raises(ConnectionLost):
        ask(submit(new_request(place=place), settle_seconds=SETTLE_SECONDS))
    result = ask(submit(new_request(place=place), settle_seconds=SETTLE_SECONDS))
    assert result.adopted
    assert jobs_of(slurm_cluster, place) == {result.job_id}


def test_a_refusal(slurm_cluster, ask, new_place, new_request):
    """Slurm's words and what to do; once the cause is gone the same submission passes."""
    place = new_place()
    with pytest.raises(CommandRefused, match="Invalid partition name specified; `sinfo -s`") as caught:
        ask(submit(new_request(place=place, partition="nowhere")))
    assert caught.value.kind == "permanent"
    assert not jobs_of(slurm_cluster, place)
    assert not ask(submit(new_request(place=place))).adopted


def test_a_controller_that_is_away(slurm_cluster, ask, new_place, new_request):
    """Nothing was submitted, and trying again later helps."""
    place = new_place()
    slurm_cluster.stop_slurmctld()
    try:
        with pytest.raises(ControllerUnavailable) as caught:
            ask(submit(new_request(place=place), settle_seconds=SETTLE_SECONDS))
    finally:
        slurm_cluster.start_slurmctld()
    assert caught.value.retryable
    result = ask(submit(new_request(place=place), settle_seconds=SETTLE_SECONDS))
    assert jobs_of(slurm_cluster, place) == {result.job_id}


def test_a_later_try_ends_the_job_of_an_earlier_one(slurm_cluster, ask, new_place, new_request):
    """Then the earlier try may not submit any more."""
    earlier = new_place()
    first = ask(submit(new_request(place=earlier)))
    later = dataclasses.replace(earlier, owner=str(uuid.uuid4()))
    pauses: list[Pause] = []
    second = ask(submit(new_request(place=later)), pauses=pauses)
    assert f"job {first.job_id} of an earlier try is cancelled" in pauses[0].reason
    assert not is_queued(slurm_cluster, first.job_id)
    assert is_queued(slurm_cluster, second.job_id)
    with pytest.raises(Superseded, match=later.owner):
        ask(submit(new_request(place=dataclasses.replace(earlier, number=2))))


def test_what_squeue_warns_of_is_no_job(slurm_cluster, ask, new_place, new_request):
    """Some sites print to standard error at each call; earlier jobs are seen to be gone all the same."""
    earlier = new_place()
    ask(submit(new_request(place=earlier)))
    path = slurm_cluster.directory / "bin" / "squeue"
    path.write_text(f'#!/bin/sh\necho "squeue: warning: * is old" >&2\nexec {find_programs()["squeue"]} "$@"\n')
    try:
        later = dataclasses.replace(earlier, owner=str(uuid.uuid4()))
        assert not ask(submit(new_request(place=later))).adopted
    finally:
        slurm_cluster.restore_commands()


def test_two_submissions_of_one_try(slurm_cluster, ask, new_place, new_request):
    """The second, as after a node's failure, is a job of its own and leaves the first alone."""
    place = new_place()
    first = ask(submit(new_request(place=place)))
    second = ask(submit(new_request(place=dataclasses.replace(place, number=2))))
    assert first.job_id != second.job_id
    assert is_queued(slurm_cluster, first.job_id)


def test_withdrawing_before_submission(slurm_cluster, ask, new_place, new_request):
    """No job is there, and none comes."""
    place = new_place()
    assert ask(withdraw(place)) == []
    with pytest.raises(Superseded):
        ask(submit(new_request(place=place)))
    assert not jobs_of(slurm_cluster, place)


def test_withdrawing_while_it_is_submitted(slurm_cluster, connect, sbatch, new_place, new_request):
    """Whichever comes first, no job is left."""
    place = new_place()
    sbatch('sleep 1; real "$@"')

    async def both():
        transports = [connect(), connect()]
        try:
            submission = asyncio.create_task(drive(submit(new_request(place=place)), transports[0]))
            await asyncio.sleep(0.5)
            withdrawn = await drive(withdraw(place), transports[1])
            return (await asyncio.gather(submission, return_exceptions=True))[0], withdrawn
        finally:
            await asyncio.gather(*(each.close() for each in transports))

    from_submission, withdrawn = asyncio.run(asyncio.wait_for(both(), 60))
    assert isinstance(from_submission, Submitted | Superseded)
    assert withdrawn in ([], [from_submission.job_id])
    assert not any(is_queued(slurm_cluster, job_id) for job_id in jobs_of(slurm_cluster, place))


def test_withdrawing_a_job(slurm_cluster, ask, new_place, new_request):
    """It is cancelled; doing so again does no harm; a later try may begin anew."""
    place = new_place()
    job_id = ask(submit(new_request(place=place))).job_id
    assert ask(withdraw(place)) == [job_id]
    assert not is_queued(slurm_cluster, job_id)
    assert ask(withdraw(place)) == []
    later = dataclasses.replace(place, owner=str(uuid.uuid4()))
    assert not ask(submit(new_request(place=later))).adopted


def test_withdrawing_after_a_later_try_has_begun(slurm_cluster, ask, new_place, new_request):
    """The later try's job is not touched."""
    earlier = new_place()
    ask(submit(new_request(place=earlier)))
    later = dataclasses.replace(earlier, owner=str(uuid.uuid4()))
    job_id = ask(submit(new_request(place=later))).job_id
    assert ask(withdraw(earlier)) == []
    assert is_queued(slurm_cluster, job_id)


def test_withdrawing_a_try_that_never_submitted_ends_the_one_before_it(slurm_cluster, ask, new_place, new_request):
    """As when a task is cleared and then marked failed before the new try's trigger ran."""
    earlier = new_place()
    first = ask(submit(new_request(place=earlier)))
    second = ask(submit(new_request(place=dataclasses.replace(earlier, number=2))))
    later = dataclasses.replace(earlier, owner=str(uuid.uuid4()))
    assert set(ask(withdraw(later))) == {first.job_id, second.job_id}
    assert not is_queued(slurm_cluster, first.job_id)
    with pytest.raises(Superseded):
        ask(submit(new_request(place=dataclasses.replace(earlier, number=3))))


def test_a_job_of_a_try_that_lost_the_cluster_is_taken_over(slurm_cluster, ask, new_place, new_request):
    """Where it runs the same script; its directory stays the one it has. Others are cancelled."""
    earlier = new_place()
    first = ask(submit(new_request(place=earlier)))
    second = ask(submit(new_request(place=dataclasses.replace(earlier, number=2))))
    later = dataclasses.replace(earlier, owner=str(uuid.uuid4()))
    request = dataclasses.replace(new_request(place=later), adopt_owners=(earlier.owner,))
    taken = ask(submit(request))
    assert (taken.job_id, taken.directory, taken.key) == (second.job_id, second.directory, f"{earlier.owner}-2")
    assert taken.adopted
    assert not is_queued(slurm_cluster, first.job_id)
    assert ask(submit(request)) == taken
    last = dataclasses.replace(earlier, owner=str(uuid.uuid4()))
    assert ask(submit(dataclasses.replace(new_request(place=last), adopt_owners=(later.owner,)))).job_id == taken.job_id
    assert ask(withdraw(last)) == [second.job_id]
    assert not is_queued(slurm_cluster, second.job_id)


def test_a_job_of_another_script_is_not_taken_over(slurm_cluster, ask, new_place, new_request):
    """The DAG has changed meanwhile: the old job is cancelled and the new one submitted."""
    earlier = new_place()
    first = ask(submit(new_request(place=earlier)))
    later = dataclasses.replace(earlier, owner=str(uuid.uuid4()))
    request = dataclasses.replace(new_request(["sleep", "61"], place=later), adopt_owners=(earlier.owner,))
    assert not ask(submit(request)).adopted
    assert not is_queued(slurm_cluster, first.job_id)


def test_options_and_files(slurm_cluster, ask, new_request, wait_until_over):
    """Options override what the script asks for, files lie beside it; each element of an array has its own logs."""
    request = dataclasses.replace(
        new_request('cat "$HEADNODE_DIRECTORY/arguments"; echo $SLURM_ARRAY_TASK_ID; echo oh >&2'),
        options=("--array=3,5", "--comment=not this; touch $HOME", "--time=7"),
        files={"arguments": b"it's $HOME\n\x00"},
        is_array=True,
    )
    job = ask(submit(request))
    shown = slurm_cluster.run("scontrol", "show", "job", job.job_id).stdout
    assert "TimeLimit=00:07:00" in shown
    wait_until_over(job.job_id)
    for element in (3, 5):
        output = Path(job.directory, f"output.{element}.log").read_bytes()
        assert output.endswith(b"it's $HOME\n\x00%d\n" % element)
        assert Path(job.directory, f"error.{element}.log").read_text().endswith("oh\n")


def test_an_id_that_came_round_again_is_not_cancelled(slurm_cluster, ask, new_place, new_request):
    """The earlier try's id belongs to somebody else's job now: that one is left alone."""
    earlier = new_place()
    first = ask(submit(new_request(place=earlier)))
    slurm_cluster.run("scancel", first.job_id)
    stranger = slurm_cluster.run("sbatch", "--parsable", "--chdir=/tmp", "--output=/dev/null", "--wrap=sleep 60")
    Path(first.directory, "job_id").write_text(stranger.stdout)
    later = dataclasses.replace(earlier, owner=str(uuid.uuid4()))
    assert not ask(submit(new_request(place=later))).adopted
    assert set(ask(withdraw(later))).isdisjoint({stranger.stdout.strip()})
    assert is_queued(slurm_cluster, stranger.stdout.strip())


def test_a_work_directory_that_cannot_be_written(ask, tmp_path, new_place, new_request):
    """The message names the directory and what to look at."""
    (tmp_path / "file").touch()
    place = new_place(tmp_path / "file")
    with pytest.raises(CommandRefused, match=rf"{tmp_path}/file/.* can't be written.*quota.*work_directory"):
        ask(submit(new_request(place=place)))
    with pytest.raises(CommandRefused, match="can't be withdrawn"):
        ask(withdraw(place))
