"""When the record of a task is written: at once, soon, or while the trigger goes on."""

import asyncio

import pytest

from headnode.slurm.record import JobRecord, Labels
from headnode.triggers.storing import RecordStore


class Log:
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def error(self, text, *values, **_):
        """Take an error in."""
        self.said.append(text % values)


@pytest.fixture
def log():
    """Return what the store logs to."""
    return Log()


def a_record(state):
    """Return a record in this state."""
    labels = Labels(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1)
    return JobRecord(
        key="k-1",
        conn_id="c",
        host="h",
        labels=labels,
        job_id="7",
        job_name="n",
        directory="/d",
        script_sha256="",
        requested={},
        submissions=[],
        log_path="/d/output.log",
        error_log_path="/d/error.log",
        state=state,
    )


def states_written(log, *, refuses=()):
    """Return a store and the list of the states that it has written, in order."""
    written = []

    async def write(record):
        await asyncio.sleep(0.01)
        if record.state in refuses:
            raise OSError("database is locked")
        written.append(record.state)

    return RecordStore(log, write=write), written


def test_of_changes_that_follow_each_other_the_newest_is_written(log):
    """A short job costs one write less."""

    async def change():
        store, written = states_written(log)
        store.soon(a_record("PENDING"), 0.05)
        store.soon(a_record("RUNNING"), 0.05)
        assert written == []
        await asyncio.sleep(0.15)
        return written

    assert asyncio.run(change()) == ["RUNNING"]


def test_a_change_waits_for_five_seconds_at_most(log):
    """A cluster that is asked once a minute does not make the page wait for half of one."""

    async def due():
        store, _ = states_written(log)
        store.soon(a_record("PENDING"), 30)
        return store._waiting.when() - asyncio.get_running_loop().time()

    assert asyncio.run(due()) <= 5


@pytest.mark.parametrize("way", ["now", "on_the_way"])
def test_what_waits_is_overtaken(log, way):
    """An older record never comes after a newer one."""

    async def change():
        store, written = states_written(log)
        store.soon(a_record("RUNNING"), 0.02)
        await getattr(store, way)(a_record("COMPLETED"))
        await asyncio.sleep(0.1)
        return written

    assert asyncio.run(change()) == ["COMPLETED"]


def test_a_record_on_the_way_was_sent_and_is_waited_for_later(log):
    """The event that ends the task is sent after it."""

    async def end():
        sent, answered = [], asyncio.Event()

        async def write(record):
            sent.append(record.state)
            await answered.wait()

        store = RecordStore(log, write=write)
        await store.on_the_way(a_record("COMPLETED"))
        assert sent == ["COMPLETED"]
        settled = asyncio.create_task(store.settled())
        await asyncio.sleep(0.02)
        assert not settled.done()
        answered.set()
        await asyncio.wait_for(settled, 1)

    asyncio.run(end())


def test_a_write_that_nobody_waits_for_tells_that_it_failed(log):
    """The log has it, and the trigger goes on."""

    async def end():
        store, written = states_written(log, refuses={"COMPLETED"})
        await store.on_the_way(a_record("COMPLETED"))
        await store.settled()
        assert written == []

    asyncio.run(end())
    assert log.said == ["the record of job 7 (COMPLETED) is not stored"]


def test_a_write_that_is_waited_for_raises(log):
    """Who waits hears of it."""

    async def submission():
        store, _ = states_written(log, refuses={"PENDING"})
        await store.now(a_record("PENDING"))

    with pytest.raises(OSError, match="locked"):
        asyncio.run(submission())


def test_what_waits_is_written_before_its_time_when_the_trigger_ends(log):
    """The record of a job that is cancelled at once is not lost."""

    async def change():
        store, written = states_written(log)
        store.soon(a_record("PENDING"), 5)
        store.hasten()
        store.hasten()
        await store.settled()
        return written

    assert asyncio.run(change()) == ["PENDING"]


def test_nothing_is_hastened_where_nothing_waits(log):
    """What was written already is not written again."""

    async def end():
        store, written = states_written(log)
        store.soon(a_record("RUNNING"), 5)
        await store.now(a_record("COMPLETED"))
        store.hasten()
        await store.settled()
        return written

    assert asyncio.run(end()) == ["COMPLETED"]
