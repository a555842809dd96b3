"""Submitting work that has a key: once, whoever asks how often, and again only after a failure.

The submissions of a key are numbered, each in a directory of its own; only the last one counts. One that waits, runs
or has ended well is the job; after one that has failed (or was cancelled) the next number is submitted.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import replace
from typing import Final

from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import Procedure, ask, shell
from headnode.cluster.queries import AskedJob
from headnode.cluster.standing import standing_of
from headnode.cluster.submission import SETTLE_SECONDS, SubmitRequest, Submitted, submit
from headnode.errors import CommandRefused, JobSpecError

FINGERPRINT_NAME: Final = "fingerprint"


def fingerprint_of(request: SubmitRequest) -> str:
    """Return the SHA-256 of what is asked for: script, code, options and files."""
    content = hashlib.sha256()
    for part in (request.script, request.code_sha256 or "", *request.options):
        content.update(hashlib.sha256(part.encode()).digest())
    for name, data in sorted(request.files.items()):
        content.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(data).digest())
    return content.hexdigest()


def submit_keyed(request: SubmitRequest, *, key: str, settle_seconds: float = SETTLE_SECONDS) -> Procedure[Submitted]:
    """Submit the job of ``request``, or find that of an earlier call which has not failed; ``key`` is for messages.

    Raises:
        JobSpecError: the key names another job, which has not failed.
        HeadnodeError: what ``submit`` and ``standing_of`` raise; the procedure may be run again.
    """
    asked = fingerprint_of(request)
    request = replace(request, files={**request.files, FINGERPRINT_NAME: f"{asked}\n".encode()})
    number = 1
    while True:
        numbered = replace(request, place=replace(request.place, number=number))
        submitted = yield from submit(numbered, settle_seconds=settle_seconds)
        if not submitted.adopted:
            return submitted
        job = AskedJob(job_id=submitted.job_id, key=submitted.key, directory=submitted.directory)
        stands = yield from standing_of(job)
        if stands is None or not stands.failed:
            yield from _refuse_other_work(submitted, asked, key)
            return submitted
        number = max(number + 1, (yield from _last_number(request.place)))


def _last_number(place: JobPlace) -> Procedure[int]:
    body = (
        f'{place.shell_variables()}\nfor other in "$task/$owner"-*/; do\n'
        '  [ ! -d "$other" ] || printf "%s\\n" "${other%/}"\ndone; return 0'
    )
    output = yield from ask(shell(body, purpose="looking for earlier submissions"))
    if output.status != 0:
        raise CommandRefused(f"earlier submissions can't be looked for: {output.stderr.strip()[-300:]}")
    numbers = [int(match[1]) for line in output.stdout.split("\n") if (match := re.search(r"-([0-9]{1,6})$", line))]
    return max(numbers, default=1)


def _refuse_other_work(submitted: Submitted, asked: str, key: str) -> Procedure[None]:
    body = f"cat {shlex.quote(submitted.directory)}/{FINGERPRINT_NAME} 2>/dev/null; return 0"
    output = yield from ask(shell(body, purpose="comparing the job with that of an earlier call"))
    if (found := output.stdout.strip()) and found != asked:
        raise JobSpecError(
            "key",
            f"{key!r} names job {submitted.job_id} already, which has another script, code or files; give what is"
            " another piece of work another key, or cancel that job first",
        )
