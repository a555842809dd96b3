"""How often this machine may log in at a host, and how much it may ask of it at a time.

Centres ban clients that log in too often, and sshd drops logins where too many are under way (MaxStartups). So all
processes of a user on a machine share one ledger for each login host; the decisions about it are made here, from the
ledger's content and the time alone. ``ledger`` keeps it in files, ``login`` waits for its turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

# Who waits for a turn says so again and again; who has been silent for longer is dead, and gives up its place.
SEEN_AGAIN_SECONDS: Final = 4.0
GONE_SECONDS: Final = 15.0
# Another connection to the same host may have a longer window than this one.
KEPT_SECONDS: Final = 600.0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What this machine's share of one login host is.

    ``logins_per_minute`` bounds the logins that begin within any window of ``window_seconds`` (shorter windows are for
    tests); ``concurrent_logins`` those under way at a time, which sshd counts as unauthenticated connections;
    ``commands_in_flight`` the commands that run at a time. All count over all processes that keep their ledger in
    ``directory`` (None: the user's own). Credentials that the host has refused are offered again after
    ``refused_retry_seconds`` at the earliest.

    10 logins a minute and 2 at a time stay below what firewalls commonly bear (ufw's ``limit``: 6 within 30 s, in a
    steady state) and far below sshd's own ``MaxStartups 10:30:100``.
    """

    logins_per_minute: float = 10.0
    concurrent_logins: int = 2
    commands_in_flight: int = 24
    refused_retry_seconds: float = 3600.0
    directory: str | None = None
    window_seconds: float = 60.0

    def shared_by(self, machines: int) -> Budget:
        """Return the share of each of several machines that use the same host and know nothing of each other."""
        return replace(
            self,
            logins_per_minute=self.logins_per_minute / machines,
            concurrent_logins=max(1, self.concurrent_logins // machines),
            commands_in_flight=max(1, self.commands_in_flight // machines),
        )

    @property
    def window(self) -> tuple[int, float]:
        """How many logins may begin within how many seconds: whole logins, so a small rate has a longer window."""
        logins = max(1, math.floor(self.logins_per_minute + 1e-9))
        return logins, self.window_seconds * max(1.0, logins / self.logins_per_minute)


@dataclass(frozen=True)
class Waiter:
    """One who waits for its turn to log in, and when it said so last (seconds since the epoch)."""

    ticket: str
    seen: float


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The logins of late, by the time when each began, oldest first, and those who wait, in the order they came."""

    logins: tuple[float, ...] = ()
    queue: tuple[Waiter, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Turn:
    """When a waiter may log in: in ``wait_seconds`` at the earliest; ``ahead`` are before it."""

    wait_seconds: float
    ahead: int


def cleared(ledger: Ledger, budget: Budget, now: float) -> Ledger:
    """Return the ledger without what counts no more. A clock that was set back makes what lies ahead of it "now"."""
    kept = max(KEPT_SECONDS, budget.window[1])
    return Ledger(
        logins=tuple(sorted(min(start, now) for start in ledger.logins if start > now - kept)),
        queue=tuple(
            replace(waiter, seen=min(waiter.seen, now)) for waiter in ledger.queue if waiter.seen > now - GONE_SECONDS
        ),
    )


def queued(ledger: Ledger, ticket: str, now: float) -> Ledger:
    """Return the ledger with the waiter in its place of the queue, or at the end where it has none."""
    seen = Waiter(ticket, now)
    if all(waiter.ticket != ticket for waiter in ledger.queue):
        return replace(ledger, queue=(*ledger.queue, seen))
    return replace(ledger, queue=tuple(seen if waiter.ticket == ticket else waiter for waiter in ledger.queue))


def left(ledger: Ledger, ticket: str) -> Ledger:
    """Return the ledger without the waiter."""
    return replace(ledger, queue=tuple(waiter for waiter in ledger.queue if waiter.ticket != ticket))


def begun(ledger: Ledger, ticket: str, now: float) -> Ledger:
    """Return the ledger with the waiter's login in it."""
    return replace(left(ledger, ticket), logins=(*ledger.logins, now))


def turn(ledger: Ledger, ticket: str, budget: Budget, now: float) -> Turn:
    """Return when the waiter may log in, if all those before it log in as soon as they may.

    Raises:
        ValueError: it is not in the queue.
    """
    most, window = budget.window
    ahead = [waiter.ticket for waiter in ledger.queue].index(ticket)
    starts = list(ledger.logins)
    for _ in range(ahead + 1):
        starts.append(now if len(starts) < most else max(now, starts[-most] + window))
    return Turn(wait_seconds=starts[-1] - now, ahead=ahead)
