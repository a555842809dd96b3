"""The tracker's loop with a host that a test plays: loss, outages, and who is told what."""

import asyncio
import base64
import contextlib

import pytest

from headnode.cluster.following import LOST_AFTER_SECONDS
from headnode.cluster.outages import Service
from headnode.cluster.tracker import JobOver, OutageBegan, OutageOver, StateSeen, Tracker
from headnode.errors import ConnectionLost, HeadnodeError, JobLost, JobPendingTooLong, UnreadableAnswer
from headnode.slurm.states import JobState
from headnode.ssh.port import Answer


def memory_of(job_id, said="slurm_load_jobs error: Invalid job id specified\n", marker=""):
    """Return what the host says of one ended job: scontrol's words, and the job's own end marker."""
    own = f"headnode:marker {job_id} end {marker}\n" if marker else ""
    return f"headnode:job {job_id} {base64.b64encode(said.encode()).decode()}\n{own}"


class PlayedHost:
    """Answers squeue and sacct from two variables; an error in their place is raised."""

    host = "played"

    def __init__(self):
        self.queue = ""
        self.queue_error = ""
        self.accounting = ""
        self.accounting_error = ""
        self.memory = memory_of(7)
        self.asked = []
        self.closed = 0

    async def run(self, command):
        """Answer one command."""
        await asyncio.sleep(0)
        self.asked.append(command.purpose)
        said, stderr, status = {
            "asking squeue": (self.queue, self.queue_error, bool(self.queue_error)),
            "asking sacct": (self.accounting, self.accounting_error, bool(self.accounting_error)),
            "asking for ended jobs": (self.memory, "", False),
        }[command.purpose]
        if isinstance(said, Exception):
            raise said
        said = f"1000\n{said}" if command.purpose == "asking squeue" and not stderr else said
        framed = f"headnode:begin\n{said}\nheadnode:end:{int(status)}\n".encode()
        return Answer(stdout=framed, stderr=stderr.encode(), exit_status=0)

    async def close(self):
        """Note that it was closed."""
        self.closed += 1


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        """Return the time, which goes on a little each time."""
        self.now += 0.001
        return self.now


def played(play):
    """Run ``play(host, clock, tracker)`` with a fast tracker, and end the tracker with it."""

    async def run():
        host, clock = PlayedHost(), Clock()
        tracker = Tracker(host, poll_seconds=0.01, poll_max_seconds=0.02, clock=clock)
        try:
            return await asyncio.wait_for(play(host, clock, tracker), 20)
        finally:
            if tracker._loop_task is not None:
                tracker._loop_task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await tracker._loop_task

    return asyncio.run(run())


def running(*job_ids):
    """Return squeue's words for running jobs."""
    return "".join(f"{job_id}|RUNNING|n1|1|N/A|900|None|/x\n" for job_id in job_ids)


def completed(*job_ids):
    """Return sacct's words for completed jobs."""
    return "".join(
        f"{job_id}|COMPLETED|0:0|1|1|00:00:01|||cpu=1,mem=1M,node=1||900|901|902|n1|/x\n" for job_id in job_ids
    )


async def next_of(events, kind):
    """Return the next event of a kind."""
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} came")


def test_from_the_queue_to_the_end():
    """States are told when they change, the end last."""

    async def play(host, _clock, tracker):
        host.queue = running(7)
        events = tracker.follow("7", outage_tolerance_seconds=60.0)
        assert (await next_of(events, StateSeen)).job.nodes == "n1"
        host.queue, host.accounting = "", completed(7)
        assert (await next_of(events, JobOver)).entry.state is JobState.COMPLETED
        assert [event async for event in events] == []
        return host.asked

    asked = played(play)
    assert asked.count("asking sacct") == 1


def test_a_hundred_jobs_are_one_question():
    """Each interval has one squeue for all, and one sacct for those that left."""

    async def play(host, _clock, tracker):
        ids = [str(number) for number in range(1, 101)]
        host.queue, host.accounting = running(*ids), completed(*ids)

        async def end_of(job_id):
            events = tracker.follow(job_id, outage_tolerance_seconds=60.0)
            await next_of(events, StateSeen)
            host.queue = ""
            return await next_of(events, JobOver)

        ends = await asyncio.gather(*(end_of(job_id) for job_id in ids))
        assert [end.entry.job_id for end in ends] == ids
        return host.asked

    asked = played(play)
    assert asked.count("asking sacct") <= asked.count("asking squeue") <= 3


def test_a_job_that_nobody_knows_is_lost():
    """After a long time, and never a success."""

    async def play(host, clock, tracker):
        events = tracker.follow("7", outage_tolerance_seconds=1e9)
        end = asyncio.create_task(next_of(events, JobOver))
        while host.asked.count("asking sacct") < 3:  # noqa: ASYNC110 - the tracker's own pace
            await asyncio.sleep(0.01)
        assert not end.done()
        clock.now += LOST_AFTER_SECONDS
        with pytest.raises(JobLost, match="job 7 on played is gone"):
            await end

    played(play)


def test_an_outage_is_told_and_waited_out():
    """Also answers that were cut are one; its end is told with how long it took."""

    async def play(host, clock, tracker):
        host.queue = running(7)
        events = tracker.follow("7", outage_tolerance_seconds=1e6)
        await next_of(events, StateSeen)
        host.queue = ConnectionLost("the host is down")
        assert "down" in str((await next_of(events, OutageBegan)).error)
        host.queue = "7|RUNN"
        clock.now += 500
        await asyncio.sleep(0.1)
        host.queue = running(7)
        overs = [await next_of(events, OutageOver), await next_of(events, OutageOver)]
        assert max(over.seconds for over in overs) >= 500
        assert {over.service for over in overs} == {Service.SSH, Service.SLURMCTLD}
        host.queue = UnreadableAnswer("cut")
        assert (await next_of(events, OutageBegan)).service is Service.SLURMCTLD
        host.queue, host.accounting = "", completed(7)
        assert (await next_of(events, JobOver)).entry.state is JobState.COMPLETED

    played(play)


def test_each_has_a_tolerance_of_its_own():
    """One gives up, the other waits and sees the end."""

    async def play(host, clock, tracker):
        host.queue = running(7, 8)
        patient = tracker.follow("7", outage_tolerance_seconds=1e6)
        other = tracker.follow("8", outage_tolerance_seconds=100.0)
        await next_of(patient, StateSeen)
        await next_of(other, StateSeen)
        host.queue = ConnectionLost("the host is down")
        await next_of(patient, OutageBegan)
        clock.now += 200
        with pytest.raises(ConnectionLost, match="down"):
            await next_of(other, JobOver)
        host.queue, host.accounting = "", completed(7)
        assert (await next_of(patient, JobOver)).entry.state is JobState.COMPLETED

    played(play)


def test_an_outage_of_accounting_is_one_by_itself():
    """Jobs in the queue go on being followed; those that left it wait for accounting."""

    async def play(host, clock, tracker):
        host.queue = running(7, 8)
        ended = tracker.follow("7", outage_tolerance_seconds=1e6)
        goes_on = tracker.follow("8", outage_tolerance_seconds=1e6)
        await next_of(ended, StateSeen)
        await next_of(goes_on, StateSeen)
        host.queue, host.accounting_error = running(8), "sacct: error: Problem talking to the database"
        assert (await next_of(ended, OutageBegan)).service is Service.SLURMDBD
        host.queue = running(8).replace("RUNNING", "COMPLETING")
        assert (await next_of(goes_on, StateSeen)).job.state is JobState.COMPLETING
        clock.now += 300
        host.accounting_error, host.accounting = "", completed(7)
        over = await next_of(ended, OutageOver)
        assert over.service is Service.SLURMDBD
        assert over.seconds >= 300
        await next_of(ended, JobOver)

    played(play)


def test_without_accounting_slurmctld_and_the_jobs_marker_are_asked():
    """Once it is known that there is no accounting, sacct is not asked again."""

    async def play(host, _clock, tracker):
        host.accounting_error = "Slurm accounting storage is disabled"
        host.memory = memory_of(7, marker="3 990 995 7 0")
        events = tracker.follow("7", key="k", directory="/x", is_array=True, elements=1, outage_tolerance_seconds=60.0)
        entry = (await next_of(events, JobOver)).entry
        assert (entry.state, entry.exit_code, entry.source) == (JobState.FAILED, 3, "marker")
        host.memory = memory_of(9, marker="0 990 995 9 0")
        again = tracker.follow("9", key="k", directory="/x", is_array=True, elements=1, outage_tolerance_seconds=60.0)
        assert (await next_of(again, JobOver)).entry.state is JobState.COMPLETED
        return host.asked

    assert played(play).count("asking sacct") == 1


def test_where_accounting_lags_for_long_the_jobs_own_marker_counts():
    """Accounting may never hear of the end: the record was lost on its way."""

    async def play(host, clock, tracker):
        host.memory = memory_of(7, marker="0 990 995 7 0")
        events = tracker.follow("7", elements=1, outage_tolerance_seconds=1e9)
        end = asyncio.create_task(next_of(events, JobOver))
        while host.asked.count("asking sacct") < 3:  # noqa: ASYNC110 - the tracker's own pace
            await asyncio.sleep(0.01)
        assert "asking for ended jobs" not in host.asked
        clock.now += LOST_AFTER_SECONDS / 10
        assert (await end).entry.source == "marker"

    played(play)


def test_a_job_that_waits_for_too_long():
    """Its reason is told, and that it is still there."""

    async def play(host, _clock, tracker):
        host.queue = "7|PENDING||N/A|N/A|400|JobHeldUser|/x\n"
        patient = tracker.follow("7", max_pending_seconds=601.0, outage_tolerance_seconds=60.0)
        await next_of(patient, StateSeen)
        events = tracker.follow("7", max_pending_seconds=600.0, outage_tolerance_seconds=60.0)
        with pytest.raises(JobPendingTooLong, match=r"waited in the queue for 600 s.*JobHeldUser"):
            await next_of(events, JobOver)

    played(play)


def test_a_job_id_that_came_round_again():
    """The job in the queue and the one in accounting are somebody else's: ours is gone from both."""

    async def play(host, _clock, tracker):
        host.queue, host.accounting = running(7), completed(7)
        events = tracker.follow("7", key="ours", elements=1, outage_tolerance_seconds=1e9)
        end = asyncio.create_task(next_of(events, JobOver))
        while host.asked.count("asking sacct") < 3:  # noqa: ASYNC110 - the tracker's own pace
            await asyncio.sleep(0.01)
        assert not end.done()
        host.accounting = completed(7) + completed(7).replace("COMPLETED|0:0", "FAILED|4:0").replace(
            "/x", "/w/ours/work"
        )
        assert (await end).entry.exit_code == 4

    played(play)


def test_an_error_of_ours_reaches_everybody():
    """A defect ends waiting with what it was, instead of waiting for ever."""

    async def play(host, _clock, tracker):
        host.queue = RuntimeError("a defect")
        with pytest.raises(HeadnodeError, match=r"following jobs on played failed: RuntimeError\('a defect'\)"):
            await next_of(tracker.follow("7", outage_tolerance_seconds=60.0), JobOver)
        host.queue = running(8)
        again = tracker.follow("8", outage_tolerance_seconds=60.0)
        await next_of(again, StateSeen)
        host.queue, host.accounting = "", completed(8)
        assert (await next_of(again, JobOver)).entry.state is JobState.COMPLETED

    played(play)


def test_nobody_waits_any_more():
    """A follower that is closed is asked about no more."""

    async def play(host, _clock, tracker):
        host.queue = running(7)
        events = tracker.follow("7", outage_tolerance_seconds=60.0)
        await next_of(events, StateSeen)
        await events.aclose()
        await asyncio.sleep(0.1)
        before = len(host.asked)
        await asyncio.sleep(0.2)
        return len(host.asked) - before

    assert played(play) == 0


def test_a_new_job_does_not_wait_for_the_interval_that_began_before_it(monkeypatch):
    """Of a new job nothing is known, and it may be short."""
    monkeypatch.setattr("headnode.cluster.tracker.SOON_SECONDS", 0.05)

    async def run():
        host = PlayedHost()
        tracker = Tracker(host, poll_seconds=60.0, poll_max_seconds=60.0)
        host.accounting = completed(7)
        first = tracker.follow("7", elements=1, outage_tolerance_seconds=60.0)
        await asyncio.wait_for(next_of(first, JobOver), 10)
        host.queue = running(8)
        second = tracker.follow("8", outage_tolerance_seconds=60.0)
        seen = await asyncio.wait_for(next_of(second, StateSeen), 10)
        await second.aclose()
        tracker._loop_task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tracker._loop_task
        return seen.job.job_id

    assert asyncio.run(run()) == "8"
