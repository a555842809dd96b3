"""What the rows of the chaos suite share: clusters to break, tasks that go on regardless, and the count afterwards.

Durations are short by default and at full length with HEADNODE_FULL=1 (``make chaos``), which also prints each row
with its result.
"""

import asyncio
import contextlib
import logging
import os
import re
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from headnode.cluster.place import JobPlace
from headnode.cluster.submission import SubmitRequest, submit
from headnode.cluster.tracker import JobOver, LogSeen, OutageBegan, OutageOver, StateSeen, Tracker
from headnode.errors import HeadnodeError
from headnode.slurm.ends import job_error
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.record import Labels
from headnode.slurm.script import asks_for_array, expected_elements, render_script
from headnode.ssh.asyncssh_transport import AsyncSSHTransport
from headnode.ssh.settings import SSHSettings
from headnode.testing import ClusterOptions, SlurmCluster
from headnode.testing.watchdog import watched

FULL = os.environ.get("HEADNODE_FULL") == "1"


@dataclass(frozen=True)
class Durations:
    """How long everything takes, in seconds, and how many tasks a row has."""

    tasks: int = 20 if FULL else 3
    elements: int = 1000 if FULL else 100
    job: float = 30.0 if FULL else 2.0
    sshd_down: float = 60.0 if FULL else 3.0
    slurmctld_down: float = 60.0 if FULL else 3.0
    slurmdbd_down: float = 300.0 if FULL else 4.0
    accounting_lag: float = 60.0 if FULL else 5.0
    hang: float = 30.0 if FULL else 2.0
    poll: float = 5.0 if FULL else 0.5
    settle: float = 20.0 if FULL else 2.0
    lost_after: float = 600.0 if FULL else 30.0
    tolerance: float = 3600.0 if FULL else 60.0
    row: float = 900.0 if FULL else 60.0


@pytest.fixture(scope="session")
def durations():
    """Return the durations of this run."""
    return Durations()


def _started(**fields):
    """Start a cluster that ends with this process, and give it."""
    directory = Path(tempfile.mkdtemp(prefix="hn-chaos-", dir="/tmp"))
    with watched(directory):
        cluster = SlurmCluster.start(directory, gpus_per_gpu_node=0, **fields)
        try:
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="session")
def chaos_cluster():
    """Give the cluster that most rows break; its commands give slurmctld up after 3 s."""
    yield from _started(nodes=2, options=ClusterOptions(message_timeout_seconds=3))


@contextlib.contextmanager
def _starting():
    with contextlib.ExitStack() as stack:
        yield lambda nodes=2, **options: stack.enter_context(
            contextlib.contextmanager(_started)(nodes=nodes, options=ClusterOptions(**options))
        )


@pytest.fixture(scope="module")
def start_cluster():
    """Return a function that starts a cluster with options; all end with the module."""
    with _starting() as start:
        yield start


@pytest.fixture
def start_brief_cluster():
    """Return a function that starts a cluster with options; all end with the test."""
    with _starting() as start:
        yield start


@dataclass
class Attempt:
    """One try of a task: what was asked, what came of it."""

    request: SubmitRequest
    elements: int | None
    options: dict = field(default_factory=dict)
    submitted: object = None
    events: list = field(default_factory=list)
    error: HeadnodeError | None = None

    @property
    def entry(self):
        """The cluster's last word on the job."""
        return self.events[-1].entry

    def words(self):
        """Return the states that were seen, in their order."""
        return [event.job.state_word for event in self.events if isinstance(event, StateSeen)]

    def reasons(self):
        """Return Slurm's reasons that were seen."""
        return [event.job.reason for event in self.events if isinstance(event, StateSeen)]

    def log(self):
        """Return what the job wrote to standard output."""
        pieces = [e.piece for e in self.events if isinstance(e, LogSeen) and e.piece.stream == "stdout"]
        return b"".join(piece.data for piece in pieces).decode()

    def outages(self):
        """Return the services whose outages were told, and those that were told to be over."""
        began = [str(event.service) for event in self.events if isinstance(event, OutageBegan)]
        return began, [str(event.service) for event in self.events if isinstance(event, OutageOver)]


class Tasks:
    """Makes attempts at tasks on one cluster and runs them as the triggers do, then counts what the cluster got."""

    def __init__(self, cluster, directory, durations):
        self.cluster = cluster
        self.directory = directory
        self.durations = durations
        self.attempts = []

    def new(self, command=None, *, place=None, adopt_owners=(), follow=None, **fields):
        """Make an attempt at a task that notes each of its starts; by default it writes two lines."""
        if command is None:
            command = f"echo first; sleep {self.durations.job}; echo last"
        place = place or self.place()
        starts = self.directory / f"starts-{place.key}"
        spec = parse_jobspec(
            {
                "job_name": "chaos",
                "command": f"echo $SLURM_JOB_ID >> {starts}\n{command}",
                "memory": "10M",
                "time_limit": "10",
                **fields,
            }
        )
        is_array = asks_for_array(spec)
        attempt = Attempt(
            request=SubmitRequest(
                place=place, script=render_script(spec), is_array=is_array, adopt_owners=tuple(adopt_owners)
            ),
            elements=expected_elements(spec),
            options=follow or {},
        )
        self.attempts.append(attempt)
        return attempt

    def place(self, *, work_directory=None, labels=None):
        """Return the place of a new try, of a new task unless labels are given."""
        labels = labels or Labels(dag_id="chaos", run_id=str(uuid.uuid4()), task_id="task")
        return JobPlace(
            work_directory=str(work_directory or self.directory),
            deployment_id="chaos",
            labels=labels,
            owner=str(uuid.uuid4()),
        )

    def starts(self, attempt):
        """Return the job ids under which the attempt's script was started."""
        path = self.directory / f"starts-{attempt.request.place.key}"
        return path.read_text().split() if path.exists() else []

    def jobs(self, attempt):
        """Return the ids of the jobs that the cluster was given for the attempt, from accounting.

        All ids there are asked for: by time sacct does not list jobs that were cancelled before they were eligible.
        """
        config = self.cluster.run("scontrol", "show", "config").stdout
        first, last, following = (
            int(re.search(rf"^{name}\s*= (\d+)", config, re.MULTILINE)[1])
            for name in ("FirstJobId", "MaxJobId", "NEXT_JOB_ID")
        )
        # Where ids are few they have come round.
        ids = range(first, last + 1 if last < first + 1000 else following)
        rows = self.cluster.run("sacct", "-nPXD", "-j", ",".join(map(str, ids)) or "1", "-o", "JobID,WorkDir")
        suffix = f"/{attempt.request.place.key}/work"
        # A requeued job has several records.
        found = {line.partition("|")[0].partition("_")[0] for line in rows.stdout.splitlines() if line.endswith(suffix)}
        return sorted(found)

    def wait_until_empty(self):
        """Wait until nothing of this row is left in the queue."""
        self.wait(lambda: not self.queued(), "the queue is empty")

    def queued(self):
        """Return the ids of this row's jobs in the queue, whoever submitted them."""
        return self.queued_below(self.cluster, self.directory)

    @staticmethod
    def queued_below(cluster, directory):
        """Return the ids of jobs in the queue that work below a directory."""
        lines = cluster.run("squeue", "-h", "-o", "%F|%Z").stdout.splitlines()
        return sorted({line.split("|")[0] for line in lines if f"|{directory}/" in line})

    def wait(self, condition, what):
        """Wait for a condition, and return its value."""
        deadline = time.monotonic() + self.durations.row
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not in time: {what}"
            time.sleep(0.1)
        return value

    def settle(self, *, jobs=1, starts=1):
        """Assert that each attempt had exactly so many jobs and starts, and that nothing is left in the queue."""
        self.wait_until_empty()
        if self.cluster.keeps_accounting:
            self.wait(lambda: all(len(self.jobs(each)) >= jobs for each in self.attempts), "accounting knows all jobs")
            assert [len(self.jobs(each)) for each in self.attempts] == [jobs] * len(self.attempts)
        assert [len(self.starts(each)) for each in self.attempts] == [starts] * len(self.attempts)

    def run(self, work=None, *, port=None, **tracker):
        """Run all attempts at once over one connection, and ``work(tracker)`` beside them; return what it returns."""

        async def all_at_once(following):
            # When one side fails, the other one ends too.
            async with asyncio.TaskGroup() as group:
                beside = group.create_task(work(following)) if work is not None else None
                for each in self.attempts:
                    if not each.events:
                        group.create_task(self.carry_out(following, each))
            return beside.result() if beside is not None else None

        return self.beside(all_at_once, port=port, **tracker)

    def beside(self, work, *, port=None, **tracker):
        """Run ``work(tracker)``, which carries the attempts out itself, and return what it returns."""

        async def with_tracker():
            transport = AsyncSSHTransport(self._ssh(port))
            following = Tracker(
                transport,
                poll_seconds=self.durations.poll,
                poll_max_seconds=self.durations.poll * 2,
                **{"lost_after_seconds": self.durations.lost_after, **tracker},
            )
            try:
                async with asyncio.timeout(self.durations.row):
                    return await work(following)
            finally:
                await transport.close()

        return asyncio.run(with_tracker())

    async def carry_out(self, tracker, attempt):
        """Submit and follow one attempt to its end; errors that a retry can help are tried again, as triggers do."""
        try:
            attempt.submitted = await self.tolerantly(
                tracker, lambda: submit(attempt.request, settle_seconds=self.durations.settle)
            )
            following = tracker.follow(
                attempt.submitted.job_id,
                **{
                    "key": attempt.submitted.key,
                    "directory": attempt.submitted.directory,
                    "is_array": attempt.request.is_array,
                    "elements": attempt.elements,
                    "outage_tolerance_seconds": self.durations.tolerance,
                    **attempt.options,
                },
            )
            async with contextlib.aclosing(following):
                async for event in following:
                    attempt.events.append(event)
            assert isinstance(attempt.events[-1], JobOver)
            attempt.error = job_error(attempt.entry, where="the cluster")
        except HeadnodeError as error:
            attempt.error = error

    async def tolerantly(self, tracker, procedure):
        """Run a procedure again and again while it fails in a way that may pass."""
        deadline = time.monotonic() + self.durations.tolerance
        while True:
            try:
                return await tracker.run(procedure())
            except HeadnodeError as error:
                if not error.retryable or time.monotonic() > deadline:
                    raise
                logging.getLogger(__name__).warning("%s: %s", type(error).__name__, error)
            await asyncio.sleep(self.durations.poll)

    def _ssh(self, port):
        return SSHSettings(
            conn_id="chaos",
            host=self.cluster.host,
            port=port or self.cluster.port,
            username=self.cluster.user,
            key_file=str(self.cluster.key_file),
            host_key=self.cluster.host_key,
            connect_timeout_seconds=5.0,
            keepalive_seconds=2.0,
        )


@pytest.fixture(scope="session")
def tasks_in(durations):
    """Return a function that makes tasks on a cluster, with files in a directory."""
    return lambda cluster, directory: Tasks(cluster, directory, durations)


@pytest.fixture
def tasks_of(tmp_path, tasks_in):
    """Return a function that makes the tasks of a row on a cluster; what is left of them is cancelled."""
    used = []

    def make(cluster):
        used.append(cluster)
        return tasks_in(cluster, tmp_path)

    yield make
    for cluster in used:
        for job_id in Tasks.queued_below(cluster, tmp_path):
            cluster.run("scancel", job_id, check=False)


@pytest.fixture
def tasks(chaos_cluster, tasks_of):
    """Return the tasks of a row on the cluster that most rows break."""
    return tasks_of(chaos_cluster)


def pytest_terminal_summary(terminalreporter):
    """Print a table of the rows where the whole suite was asked for."""
    if not FULL:
        return
    terminalreporter.write_line("")
    terminalreporter.write_line("| row | result | s |\n|---|---|---|")
    for result in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(result):
            row = dict(report.user_properties).get("row")
            if row and (report.when == "call" or result == "error"):
                terminalreporter.write_line(f"| {row} | {result} | {report.duration:.0f} |")


@pytest.fixture(autouse=True)
def _row(request, record_property):
    """Note what the row is: the first line of the test's documentation."""
    name = (request.function.__doc__ or request.node.name).splitlines()[0].rstrip(".")
    case = f" [{request.node.callspec.id}]" if hasattr(request.node, "callspec") else ""
    record_property("row", name + case)
