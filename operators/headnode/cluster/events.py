"""What a tracker tells those who wait for jobs, and what it knows about each of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from headnode.cluster.following import Followed
from headnode.cluster.logs import FollowedLogs, LogPiece
from headnode.cluster.outages import OutageBegan, OutageOver, Outages
from headnode.cluster.queries import AskedJob
from headnode.errors import HeadnodeError
from headnode.slurm.accounting import AccountingEntry


@dataclass(frozen=True)
class StateSeen:
    """The job's state, reason, nodes or (of an array) the counts of its elements have changed."""

    job: Followed


@dataclass(frozen=True)
class LogSeen:
    """The job has written on."""

    piece: LogPiece


@dataclass(frozen=True)
class JobOver:
    """The job has ended; nothing comes after this."""

    entry: AccountingEntry


Event = StateSeen | LogSeen | OutageBegan | OutageOver | JobOver


@dataclass(eq=False)
class Subscription:
    """One who waits for a job. ``logs`` None is a job whose logs are not wanted."""

    job: Followed
    asked: AskedJob
    logs: FollowedLogs | None
    outages: Outages
    max_pending_seconds: float | None = None
    ended: AccountingEntry | None = None
    lost: bool = False
    events: asyncio.Queue[Event | HeadnodeError] = field(default_factory=asyncio.Queue)

    def put(self, event: Event | HeadnodeError) -> None:
        """Hand an event to the one who waits."""
        self.events.put_nowait(event)
