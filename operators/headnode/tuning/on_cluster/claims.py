"""Who runs which trial, told by files alone, so that it holds on every file system that jobs share.

A study has N slots. Each attempt at a slot is a claim, a symbolic link whose target is the claimant: making one is
atomic and brings its content along, also on NFS and Lustre, and fails where there is one already. So each attempt has
one owner, and no lock is held that a killed worker could leave behind. A claim is never taken away: the attempt after
it is claimed in its place, once its owner is known to be dead.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CLAIM = re.compile(r"([0-9]{5})-([0-9]{4})")
_SESSION = re.compile(r"[0-9]{5}")
#: A worker beats so many times before it is taken for dead.
_BEATS = 10


@dataclass(frozen=True)
class Owner:
    """A worker: the number of its session, its own in that, its node, and a word that nobody else has."""

    session: int
    worker: int
    node: str
    word: str

    @property
    def text(self) -> str:
        """The owner as the target of a link, and as the name of its beats."""
        return f"{self.session}.{self.worker}.{self.word}.{self.node}"


@dataclass(frozen=True)
class Claim:
    """The latest attempt at a slot. ``attempt`` counts from 1."""

    slot: int
    attempt: int
    owner: Owner | None


def new_owner(session: int, worker: int) -> Owner:
    """Return a worker that nobody was before."""
    node = os.environ.get("SLURMD_NODENAME") or os.uname().nodename
    return Owner(session=session, worker=worker, node=re.sub(r"[^\w-].*", "", node), word=uuid.uuid4().hex[:12])


def parse_owner(text: str) -> Owner | None:
    """Return what ``Owner.text`` gave, None for anything else."""
    parts = text.split(".", 3)
    if len(parts) != 4 or not (parts[0].isdigit() and parts[1].isdigit()):  # noqa: PLR2004 - session, worker, word, node
        return None
    return Owner(session=int(parts[0]), worker=int(parts[1]), word=parts[2], node=parts[3])


class Claims:
    """The folders of a study in which workers meet."""

    def __init__(self, directory: Path) -> None:
        self._sessions = directory / "sessions"
        self._claims = directory / "claims"
        self._beats = directory / "beats"
        for folder in (self._sessions, self._claims, self._beats):
            folder.mkdir(parents=True, exist_ok=True)

    def begin_session(self, name: str) -> int:
        """Return a new session's number, greater than all others'; ``name`` is a job's run, for whoever looks."""
        while True:
            number = self.newest_session() + 1
            if _link(name, self._sessions / f"{number:05d}"):
                return number

    def newest_session(self) -> int:
        """Return the number of the session that counts, 0 before the first."""
        return max((int(each) for each in _names(self._sessions) if _SESSION.fullmatch(each)), default=0)

    def session_number(self, name: str) -> int | None:
        """Return the last session of that name."""
        numbers = sorted((each for each in _names(self._sessions) if _SESSION.fullmatch(each)), reverse=True)
        return next((int(each) for each in numbers if _target(self._sessions / each) == name), None)

    def latest(self) -> dict[int, Claim]:
        """Return the latest claim of each slot that has one."""
        attempts: dict[int, int] = {}
        for name in _names(self._claims):
            if match := _CLAIM.fullmatch(name):
                slot, attempt = int(match[1]), int(match[2])
                attempts[slot] = max(attempt, attempts.get(slot, 0))
        return {slot: self.claim_of(slot, attempt) for slot, attempt in attempts.items()}

    def claim_of(self, slot: int, attempt: int) -> Claim:
        """Return a claim that there is."""
        return Claim(slot, attempt, parse_owner(_target(self._path(slot, attempt))))

    def take(self, slot: int, attempt: int, owner: Owner) -> bool:
        """Claim an attempt at a slot; return whether it is the owner's."""
        return _link(owner.text, self._path(slot, attempt))

    def is_superseded(self, slot: int, attempt: int) -> bool:
        """Whether a later attempt at the slot has been claimed."""
        return os.path.lexists(self._path(slot, attempt + 1))

    def beat_path(self, owner: Owner) -> Path:
        """Return the file that the owner touches while it lives."""
        return self._beats / owner.text

    def living(self, asking: Owner, *, lost_seconds: float) -> set[Owner]:
        """Return the workers that beat, as far as ``asking``, one of the newest session, can tell; it is one of them.

        Those of earlier sessions are none: a session begins when the one before is over.
        """
        now = self._now(asking)
        found = {asking}
        for name in _names(self._beats):
            owner = parse_owner(name)
            if owner is None or owner.session != asking.session:
                continue
            beat = _modified(self.beat_path(owner))
            if beat is not None and now - beat < lost_seconds:
                found.add(owner)
        return found

    def _now(self, asking: Owner) -> float:
        # The file server's clock and not this node's: beats carry its times.
        path = self._beats / f"now-{asking.text}"
        path.touch()
        os.utime(path)
        return _modified(path) or 0.0

    def _path(self, slot: int, attempt: int) -> Path:
        return self._claims / f"{slot:05d}-{attempt:04d}"


def _link(target: str, path: Path) -> bool:
    try:
        path.symlink_to(target)
    except FileExistsError:
        # NFS may send a request again whose answer was lost: then the link that is there is one's own.
        return _target(path) == target
    return True


def _target(path: Path) -> str:
    return os.readlink(path)  # noqa: PTH115 - it is a text and leads nowhere


def _names(folder: Path) -> list[str]:
    return os.listdir(folder)  # noqa: PTH208 - names are asked for


def _modified(path: Path) -> float | None:
    """Return the time of a file's last change; it is opened, since NFS answers ``stat`` from a cache, ``open`` not."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


def start_beating(path: Path, *, lost_seconds: float) -> None:
    """Touch ``path`` until this process has ended, from a process of its own, which no long step of the work delays."""
    path.touch()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    waiting, held = os.pipe()  # nobody writes; that its other end is gone wakes the one who waits at this one
    if os.fork():
        os.close(waiting)
        return
    try:
        os.close(held)
        for number in (signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):  # a step of srun lasts while its output is held open
            os.dup2(nothing, descriptor)
        while os.getppid() == parent:
            with suppress(OSError):  # a server that fails now may answer the next time
                os.utime(path)
            select.select([waiting], [], [], lost_seconds / _BEATS)
    finally:
        os._exit(0)
