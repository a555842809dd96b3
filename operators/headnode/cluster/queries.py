"""Questions about jobs, each answered for all of them at once: queue, accounting, tags, limits."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from headnode.cluster.logs import decode_base64
from headnode.cluster.procedures import Procedure, ask, shell
from headnode.errors import CommandRefused, ControllerUnavailable, UnreadableAnswer
from headnode.slurm import commands
from headnode.slurm.accounting import AccountingEntry, Part, parse_accounting
from headnode.slurm.answers import QueueEntry, find_tagged, parse_queue
from headnode.slurm.end_markers import MARKER_NAME, Marker, entry_without_accounting, parse_marker, parse_scontrol
from headnode.slurm.limits import Configuration, parse_config
from headnode.slurm.refusals import message_of

_NO_ACCOUNTING: Final = ("Slurm accounting storage is disabled", "accounting_storage/none")
_UNKNOWN_JOB: Final = "Invalid job id"
# For asking for ended jobs one by one.
_LEAST_SECONDS: Final = 60.0
_SECONDS_FOR_EACH: Final = 0.2


class AccountingAbsent(CommandRefused):
    """The cluster keeps no accounting (no slurmdbd)."""


@dataclass(frozen=True, kw_only=True)
class AskedJob:
    """A job to ask for. ``key`` and ``directory`` are those of its submission, None for somebody else's job."""

    job_id: str
    key: str | None = None
    directory: str | None = None


@dataclass(frozen=True, kw_only=True)
class QueueSnapshot:
    """The unfinished ones among the jobs that were asked for, and the cluster's clock (seconds since the epoch)."""

    now: int
    entries: Mapping[str, QueueEntry] = field(default_factory=dict)


def keys_of(jobs: Collection[AskedJob]) -> dict[str, str | None]:
    """Return the keys of ``jobs`` by job id."""
    return {job.job_id: job.key for job in jobs}


def queue_snapshot(jobs: Collection[AskedJob]) -> Procedure[QueueSnapshot]:
    """Return what squeue says of ``jobs``; those that are not in it have left the queue.

    Raises:
        ControllerUnavailable: squeue failed.
        UnreadableAnswer: the answer was cut.
    """
    keys = keys_of(jobs)
    body = f"date +%s\n{shlex.join(commands.squeue(keys))}"
    output = yield from ask(shell(body, purpose="asking squeue"))
    if output.status != 0:
        raise ControllerUnavailable(f"squeue failed: {message_of(output.stderr)}")
    now, _, queue = output.stdout.partition("\n")
    if not re.fullmatch("[0-9]{1,12}", now):
        raise UnreadableAnswer(f"asking squeue: {now[:100]!r} is no time")
    return QueueSnapshot(now=int(now), entries=parse_queue(queue, keys))


def snapshot(job_ids: Collection[str]) -> Procedure[Mapping[str, QueueEntry]]:
    """Return what squeue says of ``job_ids``; see ``queue_snapshot``."""
    seen = yield from queue_snapshot([AskedJob(job_id=job_id) for job_id in job_ids])
    return seen.entries


def accounting(jobs: Collection[AskedJob] | Collection[str]) -> Procedure[dict[str, AccountingEntry]]:
    """Return what sacct says of ``jobs``; those that are not in it are not known to accounting (yet).

    Raises:
        AccountingAbsent: the cluster keeps none.
        ControllerUnavailable: sacct failed.
        UnreadableAnswer: the answer was cut.
    """
    keys = keys_of([job if isinstance(job, AskedJob) else AskedJob(job_id=job) for job in jobs])
    output = yield from ask(shell(shlex.join(commands.sacct(keys)), purpose="asking sacct"))
    if any(mark in output.stderr for mark in _NO_ACCOUNTING):
        raise AccountingAbsent("this cluster keeps no accounting")
    if output.status != 0 or "error" in output.stderr.casefold():
        raise ControllerUnavailable(f"sacct failed: {message_of(output.stderr)}")
    return parse_accounting(output.stdout, keys)


def without_accounting(jobs: Collection[AskedJob]) -> Procedure[dict[str, AccountingEntry]]:
    """Return what slurmctld still knows of ``jobs`` that left the queue, and what their own end markers say.

    Raises:
        ControllerUnavailable: slurmctld does not answer.
        UnreadableAnswer: the answer was cut.
    """
    ids = sorted(keys_of(jobs), key=int)
    body = "\n".join([*(_print_record(job_id) for job_id in ids), *_print_markers(jobs)])
    seconds = _LEAST_SECONDS + _SECONDS_FOR_EACH * len(ids)
    output = yield from ask(shell(body, purpose="asking for ended jobs", timeout_seconds=seconds))
    records, markers = _parse_known(output.stdout, keys_of(jobs))
    entries = {job_id: entry_without_accounting(job_id, records[job_id], markers[job_id]) for job_id in ids}
    return {job_id: entry for job_id, entry in entries.items() if entry is not None}


def _print_record(job_id: str) -> str:
    # The name and the comment of anybody's job may hold lines that look like records of other jobs, so each is asked
    # for alone, and what it says travels encoded.
    command = shlex.join(commands.scontrol_show_job(job_id))
    return f'printf "headnode:job {job_id} "; {command} 2>&1 | base64 -w0; echo'


def _print_markers(jobs: Collection[AskedJob]) -> list[str]:
    lines = []
    for job in jobs:
        if job.directory is not None:
            pattern = f"{shlex.quote(job.directory)}/{MARKER_NAME}"
            lines.append(
                f'for file in {pattern} {pattern}.[0-9]*; do [ -s "$file" ] || continue; name=${{file##*/}}\n'
                '  case "${name#*.}" in end) ;; *[!0-9]*) continue;; esac\n'
                f'  read -r line < "$file"; printf \'headnode:marker %s %s %s\\n\' {job.job_id} "$name" "$line"; done'
            )
    return lines


def _parse_known(
    stdout: str, keys: Mapping[str, str | None]
) -> tuple[dict[str, list[Part]], defaultdict[str, dict[int | None, Marker]]]:
    """Return what slurmctld and what the markers say of the jobs, which must all have been asked for."""
    records: dict[str, list[Part]] = {}
    markers: defaultdict[str, dict[int | None, Marker]] = defaultdict(dict)
    unread: list[UnreadableAnswer] = []
    for line in filter(None, stdout.split("\n")):
        word, job_id, rest = [*line.split(" ", 2), "", ""][:3]
        if word == "headnode:job" and job_id in keys and job_id not in records:
            records[job_id] = []
            try:
                records[job_id] = _parse_record(job_id, rest, keys)
            except UnreadableAnswer as error:
                unread.append(error)
        elif word == "headnode:marker" and job_id in keys:
            markers[job_id].update(_parse_marker_line(rest))
        else:
            raise UnreadableAnswer(f"asking for ended jobs: the host said {line[:200]!r}")
    if records.keys() != keys.keys():
        raise UnreadableAnswer("asking for ended jobs: there is no answer for some of them")
    if unread and len(unread) == len(keys):
        raise unread[0]
    # Of several jobs, one whose owner has put lines into its name must not hide the others: of it, nothing is known.
    return records, markers


def _parse_record(job_id: str, encoded: str, keys: Mapping[str, str | None]) -> list[Part]:
    try:
        told = decode_base64(encoded).decode("utf-8", "replace")
    except ValueError as error:
        raise UnreadableAnswer(f"asking for job {job_id}: the answer arrived damaged ({error})") from error
    lines = [line for line in told.split("\n") if line.strip()]
    if any(line.startswith("JobId=") for line in lines):
        return parse_scontrol("\n".join(lines), keys).get(job_id, [])
    unknown = any(_UNKNOWN_JOB in line or "No jobs in the system" in line for line in lines)
    if not unknown:
        raise ControllerUnavailable(f"scontrol failed: {message_of(told)}")
    return []


def _parse_marker_line(text: str) -> dict[int | None, Marker]:
    name, _, content = text.partition(" ")
    element = name.removeprefix(f"{MARKER_NAME}.") if name != MARKER_NAME else None
    marker = parse_marker(content)
    if marker is None or (element is not None and not re.fullmatch("[0-9]{1,9}", element)):
        return {}
    return {None if element is None else int(element): marker}


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


def cluster_limits() -> Procedure[Configuration]:
    """Return the limits and the rest of what headnode needs of ``scontrol show config``.

    Raises:
        ControllerUnavailable: slurmctld does not answer.
        UnreadableAnswer: the configuration lacks a part.
    """
    output = yield from ask(shell(shlex.join(commands.scontrol_show_config()), purpose="asking for the limits"))
    if output.status != 0:
        raise ControllerUnavailable(f"scontrol failed: {message_of(output.stderr)}")
    return parse_config(output.stdout)
