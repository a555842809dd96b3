"""One tracker follows many jobs of a real cluster: over one login, politely, with whole logs, through outages."""

import asyncio
import time
from collections import Counter

import pytest

from headnode.cluster.submission import submit
from headnode.cluster.tracker import JobOver, LogSeen, OutageBegan, OutageOver, StateSeen, Tracker
from headnode.errors import JobTimedOut, TransportError
from headnode.slurm.ends import job_error
from headnode.slurm.states import JobState

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

POLL_SECONDS = 1.0


@pytest.fixture
def tracked(connect):
    """Return a function that runs a coroutine function with a tracker of the cluster."""

    def run(work):
        async def with_tracker():
            transport = connect()
            tracker = Tracker(transport, poll_seconds=POLL_SECONDS, poll_max_seconds=POLL_SECONDS)
            try:
                return await asyncio.wait_for(work(tracker), 90)
            finally:
                await transport.close()

        return asyncio.run(with_tracker())

    return run


async def follow(tracker, request, *, directory=True, tolerance=60.0, elements=1):
    """Submit a job and return all that happened to it."""
    job = await tracker.run(submit(request))
    following = tracker.follow(
        job.job_id,
        directory=job.directory if directory else None,
        elements=elements,
        outage_tolerance_seconds=tolerance,
    )
    return [event async for event in following]


def log_of(events, stream="stdout"):
    """Return what the job itself wrote, from the log in the events, in which no byte may be missing or twice."""
    pieces = [event.piece for event in events if isinstance(event, LogSeen) and event.piece.stream == stream]
    text = b""
    for piece in pieces:
        assert piece.start == len(text)
        text += piece.data
    return text.decode().partition("the job itself begins here\n")[2] if stream == "stdout" else text.decode()


def states_of(events):
    """Return the states in the order in which they were seen."""
    return [event.job.state_word for event in events if isinstance(event, StateSeen)]


def calls_since(cluster, moment):
    """Return the seconds at which squeue and sacct were called over SSH."""
    lines = [line.split("\t") for line in (cluster.directory / "calls.log").read_text().splitlines()]
    return {
        name: [int(at) for at, command, *_ in lines if command == name and int(at) >= moment]
        for name in ("squeue", "sacct", "sbatch")
    }


def test_twenty_jobs(slurm_cluster, tracked, new_request):
    """All end well with whole logs, over one login, with one squeue and one sacct an interval at most."""
    time.sleep(1.1)  # calls are told by whole seconds, and those of the test before do not count
    logins, began = slurm_cluster.logins(), int(time.time())
    text = "for i in 1 2 3 4; do echo line $i of {}; sleep 1; done; echo end of {}"

    async def all_of_them(tracker):
        return await asyncio.gather(
            *(follow(tracker, new_request(text.format(number, number))) for number in range(20))
        )

    histories = tracked(all_of_them)
    took = time.time() - began
    for number, events in enumerate(histories):
        assert isinstance(events[-1], JobOver)
        assert events[-1].entry.state is JobState.COMPLETED
        expected = [f"line {i} of {number}" for i in range(1, 5)] + [f"end of {number}"]
        assert log_of(events).splitlines() == expected
        assert states_of(events)[-1] == "COMPLETED"
    assert slurm_cluster.logins() == logins + 1
    calls = calls_since(slurm_cluster, began)
    assert len(calls["sbatch"]) == 20
    for name in ("squeue", "sacct"):
        assert 0 < len(calls[name]) <= took / POLL_SECONDS + 1
        # Two may fall into one second of the clock, when the first was late.
        assert max(Counter(calls[name]).values()) <= 2


def test_logs_come_while_a_job_runs(tracked, new_request):
    """What is written is seen before the job is over, and states in their order."""
    events = tracked(lambda tracker: follow(tracker, new_request("echo early; sleep 4; echo late")))
    first_text = next(at for at, event in enumerate(events) if isinstance(event, LogSeen) and event.piece.data)
    end_seen = next(
        at for at, event in enumerate(events) if isinstance(event, StateSeen) and event.job.state_word == "COMPLETED"
    )
    assert first_text < end_seen
    assert log_of(events) == "early\nlate\n"
    states = states_of(events)
    assert states.index("RUNNING") < states.index("COMPLETED")


def test_a_long_log_is_read_to_its_end(tracked, new_request):
    """Also where more than one piece is left when the job ends."""
    events = tracked(lambda tracker: follow(tracker, new_request("seq 1 100000; seq 1 50000 >&2")))
    assert log_of(events) == "".join(f"{number}\n" for number in range(1, 100_001))
    assert log_of(events, "stderr").endswith("".join(f"{number}\n" for number in range(1, 50_001)))


def test_other_ends(slurm_cluster, tracked, new_request):
    """A failure with its code, a cancellation, an array of which one element fails, and no log where none is wanted."""

    async def cancelled(tracker):
        job = await tracker.run(submit(new_request("sleep 60")))
        events = []
        async for event in tracker.follow(job.job_id, outage_tolerance_seconds=60.0):
            if isinstance(event, StateSeen) and event.job.state_word == "RUNNING":
                slurm_cluster.run("scancel", job.job_id)
            events.append(event)
        return events

    async def all_of_them(tracker):
        array = new_request("exit $((SLURM_ARRAY_TASK_ID == 2 ? 9 : 0))", sbatch_options={"array": "1-3"})
        array_again = new_request("exit $((SLURM_ARRAY_TASK_ID == 2 ? 9 : 0))", sbatch_options={"array": "1-3"})
        return await asyncio.gather(
            follow(tracker, new_request("echo said; exit 3"), directory=False),
            cancelled(tracker),
            follow(tracker, array, elements=None),
            follow(tracker, array_again, elements=3),
        )

    failed, cancelled_events, *arrays = tracked(all_of_them)
    assert (failed[-1].entry.state, failed[-1].entry.exit_code) == (JobState.FAILED, 3)
    assert not any(isinstance(event, LogSeen) for event in failed)
    assert cancelled_events[-1].entry.state is JobState.CANCELLED
    for events in arrays:
        entry = events[-1].entry
        assert (entry.state, entry.exit_code, entry.elements, entry.failed_elements) == (JobState.FAILED, 9, 3, 1)
        assert "in 1 of 3 elements with exit code 9" in str(job_error(entry, where="here"))
        assert not isinstance(job_error(entry, where="here"), JobTimedOut)


def test_an_outage_of_sshd(slurm_cluster, tracked, new_request):
    """Jobs go on and are waited for; afterwards all end right, with whole logs, over one new login."""
    logins = slurm_cluster.logins()

    async def with_outage(tracker):
        text = "for i in 1 2 3 4 5 6; do echo $i; sleep 1; done"
        jobs = [asyncio.create_task(follow(tracker, new_request(text))) for _ in range(5)]
        while len(calls_since(slurm_cluster, 0)["squeue"]) < squeues + 2:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.1)
        await asyncio.to_thread(slurm_cluster.stop_sshd)
        try:
            await asyncio.sleep(2.5)
        finally:
            await asyncio.to_thread(slurm_cluster.start_sshd)
        return await asyncio.gather(*jobs)

    squeues = len(calls_since(slurm_cluster, 0)["squeue"])
    for events in tracked(with_outage):
        assert events[-1].entry.state is JobState.COMPLETED
        assert log_of(events) == "1\n2\n3\n4\n5\n6\n"
        began = next(at for at, event in enumerate(events) if isinstance(event, OutageBegan))
        over = next(at for at, event in enumerate(events) if isinstance(event, OutageOver))
        assert began < over
        assert events[over].seconds > 1
    assert slurm_cluster.logins() == logins + 2


def test_an_outage_of_accounting(slurm_cluster, tracked, new_request):
    """A job that ended meanwhile is neither lost nor a success before accounting says so."""

    async def with_outage(tracker):
        await asyncio.to_thread(slurm_cluster.stop_slurmdbd)
        try:
            job = asyncio.create_task(follow(tracker, new_request("sleep 1")))
            await asyncio.sleep(5.0)
            ended_early = job.done()
        finally:
            await asyncio.to_thread(slurm_cluster.start_slurmdbd)
        return ended_early, await job

    ended_early, events = tracked(with_outage)
    assert not ended_early
    assert any(isinstance(event, OutageBegan) for event in events)
    assert events[-1].entry.state is JobState.COMPLETED


def test_an_outage_that_is_not_tolerated(slurm_cluster, tracked, new_request):
    """The error that kept the cluster from answering comes out."""

    async def with_outage(tracker):
        job = asyncio.create_task(follow(tracker, new_request("sleep 30"), tolerance=1.0))
        await asyncio.sleep(2.0)
        await asyncio.to_thread(slurm_cluster.stop_sshd)
        try:
            return (await asyncio.gather(job, return_exceptions=True))[0]
        finally:
            await asyncio.to_thread(slurm_cluster.start_sshd)

    error = tracked(with_outage)
    assert isinstance(error, TransportError)
    assert error.retryable
