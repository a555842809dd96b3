"""The watcher's loop over a shell of this machine: one command for all, and who is told what."""

import asyncio
import subprocess

import pytest

from headnode.cluster.conditions import JobNamed, Met, NotYet, PathExists
from headnode.cluster.outages import OutageBegan, OutageOver
from headnode.cluster.procedures import drive_sync
from headnode.cluster.tracker import Tracker
from headnode.cluster.watched import WatchedPlace, read_version, store_version
from headnode.cluster.watching import Conditions
from headnode.errors import (
    AuthenticationRefused,
    ConnectionLost,
    ControllerUnavailable,
    HeadnodeError,
    PathUnreadable,
    UnreadableAnswer,
)
from headnode.ssh.port import Answer


class LocalShell:
    """Runs commands in a shell of this machine; an error in ``trouble`` is raised in their place."""

    host = "here"

    def __init__(self):
        self.commands = 0
        self.asked = asyncio.Condition()
        self.trouble = None
        self.cut_at = None

    async def run(self, command):
        """Run one command to its end."""
        async with self.asked:
            self.commands += 1
            self.asked.notify_all()
        if self.trouble is not None:
            raise self.trouble
        return await asyncio.to_thread(self.answer, command)

    async def wait_for_commands(self, count):
        """Wait until so many more commands have come."""
        until = self.commands + count
        async with self.asked:
            await self.asked.wait_for(lambda: self.commands >= until)

    def answer(self, command):
        """Do the same for synchronous callers."""
        done = subprocess.run(["bash", "-c", command.text], input=command.stdin, capture_output=True, check=False)
        return Answer(stdout=done.stdout[: self.cut_at], stderr=done.stderr, exit_status=done.returncode)

    async def close(self):
        """Nothing is open."""


def watched(play, poll_seconds=0.05):
    """Run ``play(host, conditions)``."""

    async def run():
        host = LocalShell()
        tracker = Tracker(host, poll_seconds=poll_seconds, poll_max_seconds=poll_seconds)
        conditions = Conditions(tracker, poll_seconds=poll_seconds, poll_max_seconds=poll_seconds)
        try:
            return await asyncio.wait_for(play(host, conditions), 30)
        finally:
            for task in (tracker._loop_task, conditions._loop_task):
                if task is not None:
                    task.cancel()

    return asyncio.run(run())


async def events_of(conditions, condition, tolerance=60.0):
    """Return all events until the condition holds."""
    return [event async for event in conditions.watch(condition, outage_tolerance_seconds=tolerance)]


@pytest.mark.parametrize("name", ["plain", "with blanks", "quote's", "$(touch oops)", "-n", "new\tline", "ü"])
def test_any_name_of_a_path(tmp_path, name):
    """Names mean nothing to the shell."""
    (tmp_path / name).write_text("seven b")

    async def play(_, conditions):
        return await events_of(conditions, PathExists(path=f"{tmp_path}/{name}"))

    (met,) = watched(play)
    assert (met.found["path"], met.found["size"]) == (f"{tmp_path}/{name}", 7)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_home_directory(tmp_path, monkeypatch):
    """A path may begin with ``~/``."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / "in" / f"{number}").write_text("x" * number)

    async def play(_, conditions):
        return await events_of(conditions, PathExists(path="~/in", non_empty=True))

    (met,) = watched(play)
    assert (met.found["path"], met.found["size"], met.found["entries"]) == (f"{tmp_path}/in", 3, 3)


def test_a_link_to_itself_is_neither_there_nor_not(tmp_path):
    """It is said once, and it is over when the path can be seen."""
    (tmp_path / "loop").symlink_to("loop")

    async def play(_, conditions):
        events = conditions.watch(PathExists(path=f"{tmp_path}/loop"), outage_tolerance_seconds=60.0)
        began = await anext(events)
        (tmp_path / "loop").unlink()
        (tmp_path / "loop").write_text("now")
        return began, [event async for event in events]

    began, rest = watched(play)
    assert isinstance(began, OutageBegan)
    assert isinstance(began.error, PathUnreadable)
    assert "Too many levels of symbolic links" in str(began.error)
    assert [type(event) for event in rest] == [OutageOver, Met]


def test_one_command_for_all(tmp_path):
    """However many wait, and also where they wait for the same."""

    async def play(host, conditions):
        waiting = [
            asyncio.create_task(events_of(conditions, PathExists(path=f"{tmp_path}/{number % 10}")))
            for number in range(20)
        ]
        await host.wait_for_commands(5)
        for number in range(10):
            (tmp_path / str(number)).touch()
        before = host.commands
        return await asyncio.gather(*waiting), host.commands - before

    events, commands = watched(play)
    assert commands <= 3
    assert all([type(event) for event in each] == [NotYet, Met] for each in events)


def test_versions(tmp_path):
    """A lasting watch tells of each version once, and of what is gone and back as well."""
    file = tmp_path / "scene"

    async def play(_, conditions):
        seen = []
        file.write_text("1")
        async for event in conditions.watch(PathExists(path=str(file)), lasting=True, outage_tolerance_seconds=60.0):
            seen.append(event.found["size"] if isinstance(event, Met) else event.why)
            match len(seen):
                case 1:
                    file.write_text("22")
                case 2:
                    file.unlink()
                case 3:
                    file.write_text("333")
                case _:
                    break
        return seen

    assert watched(play) == [1, 2, f"{file} is not there", 3]


def test_outage(tmp_path):
    """Begins once and ends once, for each who waits; the wait goes on."""

    async def play(host, conditions):
        waiting = asyncio.create_task(events_of(conditions, PathExists(path=f"{tmp_path}/x")))
        for trouble in (None, ConnectionLost("cut"), None):
            host.trouble = trouble
            await host.wait_for_commands(3)
        (tmp_path / "x").touch()
        return await waiting

    assert [type(event) for event in watched(play)] == [NotYet, OutageBegan, OutageOver, Met]


@pytest.mark.parametrize("error", [ConnectionLost("cut"), AuthenticationRefused("no")])
def test_errors_end_the_wait(error):
    """One that waiting can't mend does so at once, another when it has lasted for too long."""

    async def play(host, conditions):
        host.trouble = error
        with pytest.raises(type(error)):
            await events_of(conditions, PathExists(path="/x"), tolerance=0.2 if error.retryable else 1e9)
        return host.commands

    assert (watched(play) > 1) is error.retryable


class Broken(PathExists):
    """A condition with a mistake in it."""

    def judge(self, seen, memory):
        """Fail, whatever was seen."""
        raise ZeroDivisionError((seen, memory))


def test_a_mistake_leaves_nobody_waiting_for_ever():
    """All are told, and the next watch begins anew."""

    async def play(_, conditions):
        for _attempt in range(2):
            with pytest.raises(HeadnodeError, match="ZeroDivisionError"):
                await events_of(conditions, Broken(path="/"))
        return await events_of(conditions, PathExists(path="/"))

    assert [type(event) for event in watched(play)] == [Met]


@pytest.mark.parametrize("cut_at", [0, 30, 60, 120])
def test_half_an_answer_is_none(tmp_path, cut_at):
    """A path is never reported missing because the connection was cut."""

    async def play(host, conditions):
        host.cut_at = cut_at
        with pytest.raises(UnreadableAnswer):
            await events_of(conditions, PathExists(path=str(tmp_path)), tolerance=0.1)

    watched(play)


def test_a_silent_slurmctld_hides_no_path(tmp_path, monkeypatch):
    """What fails by itself holds up nothing else."""
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm' >&2; exit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    async def play(_, conditions):
        job = asyncio.create_task(events_of(conditions, JobNamed(name="none"), tolerance=0.0))
        (met,) = await events_of(conditions, PathExists(path=str(tmp_path)))
        with pytest.raises(ControllerUnavailable, match="Unable to contact slurm"):
            await job
        return met

    assert isinstance(watched(play), Met)


def test_noted_versions(tmp_path):
    """Are kept whole or not at all, in a place of the deployment's and the watcher's own."""
    place = WatchedPlace(work_directory=f"{tmp_path}/it's", deployment_id="d", name="a1")
    run = LocalShell().answer
    assert drive_sync(read_version(place), run) is None
    for version in ("5 1.25", "6 2.5"):
        drive_sync(store_version(place, version), run)
        assert drive_sync(read_version(place), run) == version
    assert [file.name for file in (tmp_path / "it's/d/watched").iterdir()] == ["a1"]


def test_versions_that_cannot_be_kept(tmp_path):
    """Say what to look after."""
    (tmp_path / "file").touch()
    place = WatchedPlace(work_directory=f"{tmp_path}/file", deployment_id="d", name="a1")
    with pytest.raises(PathUnreadable, match="is there space left"):
        drive_sync(store_version(place, "1"), LocalShell().answer)


@pytest.mark.parametrize("names", [{"deployment_id": "../x", "name": "a"}, {"deployment_id": "d", "name": "a/b"}])
def test_places_elsewhere_are_refused(names):
    """Names never lead out of the work directory."""
    with pytest.raises(ValueError, match="must consist of"):
        WatchedPlace(work_directory="/w", **names)
