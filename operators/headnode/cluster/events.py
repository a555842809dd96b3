"""What those who wait for jobs are told, and what is known about each of them."""

from __future__ import annotations

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
    """The job has ended; nothing comes after this. ``no_result`` is that it left none; False is unknown, too."""

    entry: AccountingEntry
    no_result: bool = False


Event = StateSeen | LogSeen | OutageBegan | OutageOver | JobOver


@dataclass(eq=False)
class Subscription:
    """One who waits for a job. ``logs`` None is a job whose logs are not wanted; ``said`` is what it is to be told."""

    job: Followed
    asked: AskedJob
    logs: FollowedLogs | None
    outages: Outages
    max_pending_seconds: float | None = None
    ended: AccountingEntry | None = None
    no_result: bool = False
    lost: bool = False
    said: list[Event | HeadnodeError] = field(default_factory=list)

    def put(self, event: Event | HeadnodeError) -> None:
        """Add what the one who waits is to be told."""
        self.said.append(event)

    def take(self) -> list[Event | HeadnodeError]:
        """Return what is to be told, up to what ends the wait."""
        said, self.said = self.said, []
        end = next((at for at, event in enumerate(said) if isinstance(event, JobOver | HeadnodeError)), len(said))
        return said[: end + 1]
