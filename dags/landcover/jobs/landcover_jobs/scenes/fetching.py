"""Many files at once: only what is not there yet, with a line in the log every few seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from landcover_jobs.configuration.images import Source, StacSource, Transfer
from landcover_jobs.job import StepError, say
from landcover_jobs.records import file_sha256
from landcover_jobs.scenes.checksum import Stated
from landcover_jobs.scenes.download import Line, Progress, Stopped, download, unsigned
from landcover_jobs.scenes.fetched import Wanted, missing, note
from landcover_jobs.scenes.window import fetch_window

PROGRESS_SECONDS = 5.0
# One broken scene is a broken scene; a few are a source that is out of order.
MOST_BROKEN = 3


@dataclass
class Outcome:
    """What became of the files; `broken` has the reason for each scene that could not be had."""

    fetched: int = 0
    reused: int = 0
    bytes: int = 0
    broken: dict[str, str] = field(default_factory=dict)


def fetch_all(
    wanted: Sequence[Wanted],
    transfer: Transfer,
    *,
    sign: Callable[[str], str] = unsigned,
    verify: bool = False,
    most_broken: int = MOST_BROKEN,
) -> Outcome:
    """Fetch what is not there, `transfer.at_once` files at the same time.

    What a scene lacks is told in `Outcome.broken`; after more than `most_broken` scenes no further file is begun.
    On an interrupt the parts of files stay, and the next call continues them.
    """
    lacking = missing(wanted, verify=verify)
    outcome = Outcome(reused=len(wanted) - len(lacking))
    if not lacking:
        return outcome
    line = Line(transfer, sign, Progress(len(lacking)))
    pool = ThreadPoolExecutor(transfer.at_once, thread_name_prefix="fetch")
    try:
        futures = {pool.submit(_fetch, each, line): each for each in lacking}
        _follow(futures, line, outcome, most_broken)
    finally:
        # However it ends: nothing new is begun, and what runs stops at its next bytes.
        line.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        line.session.close()
    outcome.bytes = line.progress.bytes
    return outcome


def _follow(futures: dict[Future[None], Wanted], line: Line, outcome: Outcome, most_broken: int) -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=PROGRESS_SECONDS)
        for future in done:
            each = futures[future]
            try:
                future.result()
            except StepError as error:
                if each.scene not in outcome.broken:
                    say(f"cannot be fetched: {error}")
                outcome.broken.setdefault(each.scene, str(error))
            else:
                outcome.fetched += 1
        say(str(line.progress))
        if len(outcome.broken) > most_broken:
            say(f"more than {most_broken} scenes cannot be fetched: not trying the others")
            return


def _fetch(wanted: Wanted, line: Line) -> None:
    """Bring one file to its place and note it.

    Raises:
        StepError: it cannot be had.
    """
    try:
        if wanted.window is not None:
            _cut(wanted, line)
        elif wanted.address.startswith(("http://", "https://")):
            size, digest = download(wanted, line)
            note(wanted, size=size, sha256=digest)
        else:
            _link(wanted)
    except (Stopped, StepError):
        raise
    except OSError as error:
        raise StepError(f"{wanted.what}: it could not be kept in {wanted.folder}: {error}") from error
    line.progress.finished()


def _cut(wanted: Wanted, line: Line) -> None:
    found = fetch_window(wanted, line)
    if found is None:
        say(f"{wanted.what}: shows nothing of the area")
        note(wanted, size=0, sha256="", outside=True)
    else:
        note(wanted, size=found[0], sha256=found[1])


def _link(wanted: Wanted) -> None:
    """Use a file of the cluster in its place; it is read through only where its source states a checksum."""
    if wanted.address.startswith("s3://"):
        raise StepError(f"{wanted.what}: s3:// is read with source.transfer.mode: window only")
    origin = Path(wanted.address.removeprefix("file://")).expanduser()
    if not origin.is_file():
        raise StepError(f"{wanted.what}: there is no such file; run `search` again")
    stated = Stated.of(wanted.content)
    wrong = stated.disagreement(origin)
    if wrong is not None:
        raise StepError(f"{wanted.what}: {wrong}; restore the file, or leave the scene out with source.exclude")
    wanted.folder.mkdir(parents=True, exist_ok=True)
    wanted.target.unlink(missing_ok=True)
    wanted.target.symlink_to(origin.resolve())
    found = origin.stat()
    digest = (stated.sha256 or file_sha256(origin)) if stated.checksum else ""
    note(wanted, size=found.st_size, sha256=digest, modified=found.st_mtime_ns)


def transfer_of(source: Source) -> Transfer:
    """Return how a source's files are fetched."""
    return source.transfer if isinstance(source, StacSource) else Transfer()


def signing_of(source: Source) -> Callable[[str], str]:
    """Return the function that makes an address readable: Planetary Computer wants a token in it, valid for a while."""
    if not isinstance(source, StacSource) or source.signing == "none":
        return unsigned
    import planetary_computer  # noqa: PLC0415 - asks for its settings, and most maps need it not

    lock = threading.Lock()

    def sign(address: str) -> str:
        # One at a time: the package asks for a token once, and has it ready for the others.
        with lock:
            return str(planetary_computer.sign_url(address))

    return sign
