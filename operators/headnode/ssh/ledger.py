"""The ledger of one login host in files that all processes of a user on this machine share.

What is under way is shown by locks (flock), which the kernel drops when a process dies, however it dies. Nothing here
waits for longer than it takes to read and write a small file; whoever has no turn yet asks again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from headnode.errors import TransportError
from headnode.ssh.budget import Budget, Ledger, Turn, Waiter, begun, cleared, left, queued, turn

_LOCK_SECONDS: Final = 30.0
_LONGEST_NAME: Final = 200
_SWEPT_SECONDS: Final = 30 * 86_400.0
_OF_CREDENTIALS: Final = ("credentials-", "unreachable-", "alone-")


class LedgerUnusable(TransportError):
    """The directory of the login budget can't be used, so that nobody knows how often this machine has logged in."""

    retryable = True


class Slot:
    """Something that is under way: it counts until it is released or the process ends."""

    def __init__(self, *descriptors: int) -> None:
        self._descriptors = list(descriptors)

    def release(self) -> None:
        """Make room for another; releasing twice does no harm."""
        while self._descriptors:
            descriptor = self._descriptors.pop()
            # Unlocked by name: a process that was forked meanwhile has the file open, too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    __del__ = release

    def joined(self, other: Slot) -> Slot:
        """Return one slot in place of the two."""
        both = Slot(*self._descriptors, *other._descriptors)
        self._descriptors, other._descriptors = [], []
        return both


class HostLedger:
    """The ledger of ``host:port``, with a budget. ``clock`` gives seconds since the epoch."""

    def __init__(self, budget: Budget, host: str, port: int, *, clock: Callable[[], float] = time.time) -> None:
        self.budget = budget
        self.host, self.port = host, port
        self.clock = clock
        self.root = ledger_root(budget.directory)
        name = quote(f"{host.lower()}_{port}", safe="")
        if len(name) > _LONGEST_NAME:
            name = hashlib.sha256(name.encode()).hexdigest()
        self.directory = self.root / name
        with _usable(self.directory):
            self.directory.mkdir(mode=0o700, exist_ok=True)

    def ask(self, ticket: str, *, alone: str | None = None) -> Slot | Turn:
        """Return a slot where the waiter may log in now, else when it may.

        Of those that name the same ``alone``, one logs in at a time.
        """
        with self.locked():
            now = self.clock()
            ledger = queued(cleared(self.read(), self.budget, now), ticket, now)
            place = turn(ledger, ticket, self.budget, now)
            slot = None
            if place.wait_seconds <= 0 and place.ahead < self.budget.concurrent_logins:
                slot = self._take_both(alone)
            try:
                self._write(begun(ledger, ticket, now) if slot is not None else ledger)
            except BaseException:
                if slot is not None:
                    slot.release()
                raise
            return slot or place

    def leave(self, ticket: str) -> None:
        """Give up the waiter's place in the queue, if it has one."""
        with self.locked():
            ledger = self.read()
            without = left(ledger, ticket)
            if without != ledger:
                self._write(without)

    def command_slot(self) -> Slot | None:
        """Return a slot for one more command, None where as many as may be are in flight."""
        return self._take("command", self.budget.commands_in_flight)

    def read(self) -> Ledger:
        """Return the ledger as it is; one that can't be read is empty."""
        try:
            content: Any = json.loads(self.read_text("ledger.json") or "{}")
            return Ledger(
                logins=tuple(float(start) for start in content.get("logins", ())),
                queue=tuple(Waiter(str(ticket), float(seen)) for ticket, seen in content.get("queue", ())),
            )
        except (ValueError, TypeError, AttributeError):
            return Ledger()  # of another version: files are only ever replaced as a whole

    def read_text(self, name: str) -> str | None:
        """Return what a file of the host holds, None where there is none."""
        with _usable(self.directory):
            try:
                return (self.directory / name).read_text(encoding="utf-8", errors="replace")
            except FileNotFoundError:
                return None

    def write_text(self, name: str, text: str) -> None:
        """Replace a file of the host as a whole. Only under ``locked``."""
        new = self.directory / f"{name}.new"
        with _usable(self.directory):
            with os.fdopen(os.open(new, _NEW_FILE, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            new.replace(self.directory / name)

    def remove(self, name: str) -> None:
        """Remove a file of the host, if it is there."""
        with _usable(self.directory):
            (self.directory / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what nobody has touched for long: certificates that live for a day leave files of theirs."""
        oldest = time.time() - _SWEPT_SECONDS
        with _usable(self.directory):
            for path in self.directory.iterdir():
                if path.name.startswith(_OF_CREDENTIALS) and path.stat().st_mtime < oldest:
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let nobody else read or write meanwhile; for moments only.

        Raises:
            LedgerUnusable: somebody holds the lock for long, as when a process was stopped at a bad moment.
        """
        deadline = time.monotonic() + _LOCK_SECONDS
        while (lock := self._take("lock", 1)) is None:
            if time.monotonic() > deadline:
                raise LedgerUnusable(
                    f"another process has held the lock {self.directory}/lock.0 for {_LOCK_SECONDS:.0f} s;"
                    " `fuser -v` on that file names it. It may have been stopped"
                )
            time.sleep(random.uniform(0.002, 0.02))  # noqa: S311 - spreads load, hides nothing
        try:
            yield
        finally:
            lock.release()

    def _write(self, ledger: Ledger) -> None:
        queue = [[waiter.ticket, waiter.seen] for waiter in ledger.queue]
        self.write_text("ledger.json", json.dumps({"logins": ledger.logins, "queue": queue}))

    def _take_both(self, alone: str | None) -> Slot | None:
        slot = self._take("login", self.budget.concurrent_logins)
        if slot is None or alone is None:
            return slot
        first = self._take(f"alone-{alone}", 1)
        if first is None:
            slot.release()
            return None
        return slot.joined(first)

    def _take(self, kind: str, count: int) -> Slot | None:
        first = random.randrange(count)  # noqa: S311 - spreads load, hides nothing
        for number in range(count):
            with _usable(self.directory):
                path = self.directory / f"{kind}.{(first + number) % count}"
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                    continue
                except BaseException:
                    os.close(descriptor)
                    raise
                return Slot(descriptor)
        return None


_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def ledger_root(configured: str | None) -> Path:
    """Return the directory of all ledgers, made where it is missing: ``~/.cache/headnode/budget`` by default.

    Raises:
        LedgerUnusable: it can't be made, or other users could write into it.
    """
    if configured is not None:
        return _private(Path(configured).expanduser())
    try:
        return _private(Path("~/.cache/headnode/budget").expanduser())
    except (LedgerUnusable, RuntimeError):
        # A home that is read-only or missing, as in containers.
        return _private(Path(f"/tmp/headnode-budget-{os.geteuid()}"))  # nosec B108  # noqa: S108 - checked below


def _private(directory: Path) -> Path:
    with _usable(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise LedgerUnusable(
            f"the login budget is not kept in {directory}: it must be a directory of the user who runs Airflow that"
            f" nobody else can write (`chmod 700 {directory}`). [headnode] budget_directory names another one"
        )
    if not os.access(directory, os.W_OK):
        raise LedgerUnusable(_unusable(directory, "it is not writable"))
    return directory


@contextlib.contextmanager
def _usable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LedgerUnusable(_unusable(directory, str(error))) from error


def _unusable(directory: Path, problem: str) -> str:
    return (
        f"the login budget can't be kept in {directory}: {problem}. Without it nobody knows how often this machine has"
        " logged in; make room there, or name another directory in [headnode] budget_directory"
    )
