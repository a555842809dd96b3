"""Questions about jobs, each answered for all of them at once: queue, accounting, tags; and the order to cancel."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from typing import Final

from headnode.cluster.procedures import Pause, Procedure, ask, shell
from headnode.errors import CommandRefused, ControllerUnavailable, UnreadableAnswer
from headnode.slurm import commands
from headnode.slurm.answers import AccountingEntry, QueueEntry, find_tagged, parse_accounting, parse_queue
from headnode.slurm.refusals import message_of

_NO_ACCOUNTING: Final = ("Slurm accounting storage is disabled", "accounting_storage/none")
_ALREADY_OVER: Final = ("already completing or completed", "already finished", "Invalid job id")


def snapshot(job_ids: Collection[str]) -> Procedure[dict[str, QueueEntry]]:
    """Return what squeue says of ``job_ids``; those that are not in it have left the queue.

    Raises:
        ControllerUnavailable: squeue failed.
        UnreadableAnswer: the answer was cut.
    """
    output = yield from ask(shell(shlex.join(commands.squeue(job_ids)), purpose="asking squeue"))
    if output.status != 0:
        raise ControllerUnavailable(f"squeue failed: {message_of(output.stderr)}")
    return parse_queue(output.stdout)


def accounting(job_ids: Collection[str]) -> Procedure[dict[str, AccountingEntry]]:
    """Return what sacct says of ``job_ids``; those that are not in it are not known to accounting (yet).

    Raises:
        ControllerUnavailable: sacct failed.
        UnreadableAnswer: the answer was cut.
    """
    output = yield from ask(shell(shlex.join(commands.sacct(job_ids)), purpose="asking sacct"))
    if output.status != 0 or "error" in output.stderr.casefold():
        raise ControllerUnavailable(f"sacct failed: {message_of(output.stderr)}")
    return parse_accounting(output.stdout)


def find_by_tag(key: str) -> Procedure[str | None]:
    """Return the id of the job that carries ``key``, or None where squeue and sacct both answered without it.

    Raises:
        ControllerUnavailable: one of them failed, so that nothing is known.
    """
    queue = yield from ask(shell(shlex.join(commands.squeue_tags()), purpose="looking for the job in squeue"))
    if queue.status != 0:
        raise ControllerUnavailable(f"squeue failed: {message_of(queue.stderr)}")
    job_id = find_tagged(queue.stdout, key)
    if job_id is not None:
        return job_id
    past = yield from ask(shell(shlex.join(commands.sacct_tags()), purpose="looking for the job in sacct"))
    if any(mark in past.stderr for mark in _NO_ACCOUNTING):
        return None
    if past.status != 0 or "error" in past.stderr.casefold():
        raise ControllerUnavailable(f"sacct failed: {message_of(past.stderr)}")
    return find_tagged(past.stdout, key)


def cancel(job_ids: Collection[str], *, attempts: int = 5, pause_seconds: float = 2.0) -> Procedure[None]:
    """Cancel ``job_ids`` and see that they are gone, or are ending, in squeue.

    Raises:
        ControllerUnavailable: the jobs are still in the queue, or nothing is known, after ``attempts``.
    """
    trouble = "scancel was accepted, but the job is still in the queue"
    for attempt in range(attempts):
        if attempt:
            yield Pause(pause_seconds, "the cancelled job is still in the queue")
        done = yield from ask(shell(shlex.join(commands.scancel(job_ids)), purpose="cancelling"))
        if done.status != 0 and not any(mark in done.stderr for mark in _ALREADY_OVER):
            trouble = message_of(done.stderr)
        try:
            left = yield from snapshot(job_ids)
        except (ControllerUnavailable, UnreadableAnswer) as error:
            trouble = str(error)
            continue
        if all(entry.state_word == "COMPLETING" for entry in left.values()):
            return
    raise ControllerUnavailable(f"cancelling {', '.join(job_ids)} could not be verified: {trouble}")


def cluster_version() -> Procedure[str]:
    """Return what sbatch says of its version, e.g. ``slurm-wlm 22.05.8``.

    Raises:
        CommandRefused: the host has no sbatch.
    """
    output = yield from ask(shell("sbatch --version", purpose="asking for Slurm's version"))
    if output.status != 0:
        raise CommandRefused(f"the host has no working sbatch: {message_of(output.stderr)}")
    return output.stdout.strip()
