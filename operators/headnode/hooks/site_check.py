"""Runs the jobs that certify a site, all at once, and leaves none of them in the queue, whatever comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, cast

from headnode.cluster.cancellation import cancel
from headnode.cluster.elements import read_log_ends
from headnode.cluster.events import JobOver, StateSeen
from headnode.cluster.logs import LOG_NAMES
from headnode.errors import CommandRefused, HeadnodeError, JobError, JobSpecError, WaitTimedOut
from headnode.hooks.interrupts import Interrupts
from headnode.hooks.jobs import SlurmJob, tolerantly
from headnode.hooks.slurm import OUTAGE_TOLERANCE, SlurmHook
from headnode.hooks.waiting import Waiter
from headnode.sites.verdicts import Result, Trial, Verdict, judge
from headnode.slurm.ends import job_error

Tell = Callable[[str], object]
_LOG_BYTES: Final = 64 * 1024
_SUBMIT_TOLERANCE: Final = timedelta(minutes=1)
# An interrupt may have torn a packet apart: then the connection breaks at the next command, and is made again.
_CANCEL_TOLERANCE: Final = timedelta(seconds=30)


class CheckInterrupted(Exception):
    """Somebody interrupted the check; the text says what became of its jobs."""


@dataclass
class _Running:
    """The jobs of a check: those that have not ended yet, and what is known of each."""

    trials: dict[SlurmJob, Trial] = field(default_factory=dict)
    states: dict[SlurmJob, str] = field(default_factory=dict)
    failures: dict[SlurmJob, str | None] = field(default_factory=dict)

    @property
    def left(self) -> list[SlurmJob]:
        return [job for job in self.trials if job not in self.failures]


def check_site(
    hook: SlurmHook,
    trials: Sequence[Trial],
    *,
    timeout: timedelta,
    on_progress: Tell = lambda _: None,
    poll_seconds: float | None = None,
) -> list[Result]:
    """Submit the jobs of ``trials``, wait for them, and return what they show; those not over in time are cancelled.

    Raises:
        CheckInterrupted: Ctrl-C or SIGTERM; the jobs are cancelled.
        HeadnodeError: there is no way in, or the cluster was silent for too long.
    """
    running = _Running()
    results: list[Result] = []
    with Interrupts() as interrupts:
        try:
            for number, trial in enumerate(trials, start=1):
                on_progress(f"submitting {trial.title} ({number} of {len(trials)})")
                with interrupts.held():
                    results += _submit(hook, trial, running)
            _follow(hook, running, timeout=timeout, on_progress=on_progress, poll_seconds=poll_seconds)
        except KeyboardInterrupt:
            raise CheckInterrupted(_cancel(hook, running.left, on_progress)) from None
        except HeadnodeError as error:
            error.add_note(_cancel(hook, running.left, on_progress))
            raise
        with interrupts.held():
            on_progress("reading what the jobs wrote")
            return results + _judge_all(hook, running)


def _submit(hook: SlurmHook, trial: Trial, running: _Running) -> list[Result]:
    fields = {name: value for name, value in trial.fields.items() if value is not None}
    try:
        job = hook.submit(say=lambda _: None, outage_tolerance=_SUBMIT_TOLERANCE, **cast("Any", fields))
    except JobSpecError as error:
        return trial.results(Verdict.SKIPPED, str(error))
    except CommandRefused as error:
        return trial.results(Verdict.FAILED, f"sbatch refuses it: {error}")
    running.trials[job] = trial
    running.states[job] = "PENDING"
    return []


def _follow(
    hook: SlurmHook, running: _Running, *, timeout: timedelta, on_progress: Tell, poll_seconds: float | None
) -> None:
    """Follow the jobs to their ends; those that have none within ``timeout`` are cancelled."""
    waiter = Waiter(hook, outage_tolerance=OUTAGE_TOLERANCE, poll_seconds=poll_seconds, say=on_progress)
    try:
        on_progress(_progress(running))
        for job, event in waiter.events(list(running.trials), timeout_seconds=timeout.total_seconds()):
            if isinstance(event, StateSeen):
                running.states[job] = event.job.state_word
            elif isinstance(event, JobOver):
                ended = job_error(event.entry, where=hook.settings.ssh.host)
                running.failures[job] = None if ended is None else _first_line(ended)
            elif isinstance(event, JobError):
                running.failures[job] = _first_line(event)
            on_progress(_progress(running))
    except WaitTimedOut:
        late = running.left
        on_progress("the time is up; cancelling the jobs that are left")
        _see_cancelled(hook, late, on_progress)
        for job in late:
            running.failures[job] = f"it was {running.states[job]} after {timeout}, and is cancelled"


def _first_line(error: JobError) -> str:
    return str(error).split("\n", 1)[0]


def _progress(running: _Running) -> str:
    counts = Counter(running.states[job].lower() for job in running.left)
    states = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"{len(running.failures)} of {len(running.trials)} jobs have ended{f'; {states}' if states else ''}"


def _cancel(hook: SlurmHook, jobs: Sequence[SlurmJob], on_progress: Tell) -> str:
    """Cancel the jobs and return what is to be said of it; a second Ctrl-C ends that."""
    if not jobs:
        return "no job is left in the queue"
    ids = " ".join(job.job_id for job in jobs)
    host = hook.settings.ssh.host
    on_progress(f"cancelling {len(jobs)} jobs; Ctrl-C again leaves them in the queue")
    try:
        _see_cancelled(hook, jobs, on_progress)
    except (HeadnodeError, KeyboardInterrupt) as error:
        why = f" ({error})" if isinstance(error, HeadnodeError) else ""
        return f"jobs may be left in the queue{why}; end them on {host} with: scancel {ids}"
    return f"its jobs on {host} are cancelled ({ids}); none is left in the queue"


def _see_cancelled(hook: SlurmHook, jobs: Sequence[SlurmJob], on_progress: Tell) -> None:
    asked = [job.asked for job in jobs]
    tolerantly(hook, lambda: cancel(asked), tolerance=_CANCEL_TOLERANCE, say=on_progress)


def _judge_all(hook: SlurmHook, running: _Running) -> list[Result]:
    if not running.trials:
        return []
    paths = [f"{job.directory}/{name}" for job in running.trials for name in LOG_NAMES]
    ends = iter(hook.run(read_log_ends(paths, max_bytes=_LOG_BYTES)))
    logs: Mapping[SlurmJob, list[str]] = {
        job: [next(ends).data.decode("utf-8", "replace") for _ in LOG_NAMES] for job in running.trials
    }
    return [
        result
        for job, trial in running.trials.items()
        for result in judge(
            trial, stdout=logs[job][0], stderr=logs[job][1], failure=running.failures[job], job_id=job.job_id
        )
    ]
