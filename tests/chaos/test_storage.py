"""The disk is full, or nothing can be written, where jobs live: attempts say so, and no job is left or doubled."""

import asyncio

import pytest

from headnode.errors import CommandRefused, HeadnodeError
from headnode.slurm.states import JobState
from headnode.testing import faults

pytestmark = pytest.mark.cluster


def test_read_only_before_submission(tasks, tmp_path):
    """The work directory is read-only before anything is submitted: nothing is, and the message names the place."""
    job = tasks.new(place=tasks.place(work_directory=tmp_path))
    with faults.read_only(tmp_path):
        tasks.run()
    assert isinstance(job.error, CommandRefused)
    assert not job.error.retryable
    assert "can't be written" in str(job.error)
    assert "quota" in str(job.error)
    tasks.settle(jobs=0, starts=0)


def test_read_only_while_jobs_run(tasks, tmp_path):
    """The work directory becomes read-only while a job runs, and one more task comes."""
    place = tmp_path / "work"
    place.mkdir()
    running = tasks.new("echo first; sleep 4; echo last", place=tasks.place(work_directory=place))
    late = tasks.new(place=tasks.place(work_directory=place))

    async def spoil(tracker):
        early = asyncio.create_task(tasks.carry_out(tracker, running))
        while not running.log():  # noqa: ASYNC110 - events come one by one
            await asyncio.sleep(0.05)
        with faults.read_only(place):
            await tasks.carry_out(tracker, late)
            await early

    tasks.beside(spoil)
    assert isinstance(late.error, CommandRefused)
    # The job itself could go on writing into the log that it had open; accounting tells its end.
    assert running.error is None
    assert running.entry.state is JobState.COMPLETED
    assert running.log().startswith("first\n")
    tasks.attempts.remove(late)
    tasks.settle()
    assert (tasks.jobs(late), tasks.starts(late)) == ([], [])


@pytest.mark.parametrize("kibibytes", [4, 16, 24])
def test_disk_is_full_before_submission(tasks, tmp_path, kibibytes):
    """The disk is full before or in the middle of a submission: no job, or exactly one that is followed."""
    place = tmp_path / "work"
    place.mkdir()
    job = tasks.new(place=tasks.place(work_directory=place))
    with faults.small_disk(place, kibibytes=kibibytes):
        tasks.run()
        tasks.wait_until_empty()
    if job.error is None:
        assert job.entry.state is JobState.COMPLETED
    else:
        assert isinstance(job.error, HeadnodeError)
    assert len(tasks.jobs(job)) == len(tasks.starts(job)) == (1 if job.submitted else 0)


def test_disk_becomes_full_while_jobs_run(tasks, tmp_path):
    """A job fills the disk: its end is seen, and its log up to there."""
    place = tmp_path / "work"
    place.mkdir()
    command = 'echo first; head -c 10000000 /dev/zero > "$HEADNODE_DIRECTORY/work/large" || exit 7; echo last'
    job = tasks.new(command, place=tasks.place(work_directory=place))
    with faults.small_disk(place, kibibytes=256):
        tasks.run()
        tasks.wait_until_empty()
    assert (job.entry.state, job.entry.exit_code) == (JobState.FAILED, 7)
    assert job.entry.source in {"sacct", "scontrol"}  # whichever was first; the disk had no room for a mark
    assert job.log() == "first\n"
    tasks.settle()


def test_disk_has_room_again(tasks, tmp_path):
    """The work directory was read-only, and is not any more: the next try submits one job."""
    first = tasks.new(place=tasks.place(work_directory=tmp_path))
    with faults.read_only(tmp_path):
        tasks.run()
    assert isinstance(first.error, CommandRefused)
    tasks.attempts.clear()
    labels = first.request.place.labels
    tasks.new(place=tasks.place(work_directory=tmp_path, labels=labels), adopt_owners=(first.request.place.owner,))
    tasks.run()
    assert tasks.attempts[0].error is None
    tasks.settle()
