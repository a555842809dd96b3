"""What has become of each of the N trials, from Optuna's trials and the claims. Pure: no files, no Optuna.

A slot is one of the N trials that were asked for; its attempts are Optuna's trials, each of which says in its
attribute ``headnode`` which attempt at which slot it is. An attempt whose worker died is followed by one with the same
parameters, one whose objective raised by one with others; on a grid, where there are no others, the slot is over then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .claims import Claim, Owner

ATTRIBUTE = "headnode"
#: After so many workers died of it a trial counts as one that failed.
MOST_DEATHS = 3


class State(Enum):
    """What an attempt is; LEFT is that its worker died or stopped."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    LEFT = "left"


@dataclass(frozen=True)
class Attempt:
    """One of Optuna's trials.

    ``number`` is Optuna's; times are seconds since the epoch; ``session`` is the name of the one it was in, ``deaths``
    how many workers died of the slot's attempts before it.
    """

    number: int
    slot: int
    attempt: int
    state: State
    params: Mapping[str, Any]
    value: float | None = None
    intermediate: Mapping[int, float] = field(default_factory=dict)
    began: float = 0.0
    ended: float | None = None
    worker: str = ""
    session: str = ""
    deaths: int = 0
    failure: str | None = None

    @property
    def job(self) -> str:
        """The run of a job that it belongs to; a session's name is that and a number."""
        return self.session.rpartition(".")[0]


@dataclass(frozen=True)
class Next:
    """What a worker may claim: an attempt at a slot. ``goes_on_from`` is the attempt whose parameters it takes over."""

    slot: int
    attempt: int
    goes_on_from: Attempt | None = None


def finished(attempts: Iterable[Attempt], *, on_grid: bool) -> dict[int, Attempt]:
    """Return the slots that are over, with the attempt that counts: the first, should there be two."""
    over: dict[int, Attempt] = {}
    for each in sorted(attempts, key=lambda one: (one.slot, one.attempt)):
        if each.state in (State.COMPLETE, State.PRUNED) or (on_grid and each.state is State.FAILED):
            over.setdefault(each.slot, each)
    return over


def best(attempts: Iterable[Attempt], *, maximize: bool) -> Attempt | None:
    """Return the complete trial with the best value, the earlier of equals."""
    complete = [each for each in attempts if each.state is State.COMPLETE and each.value is not None]
    sign = -1 if maximize else 1
    return min(complete, key=lambda each: (sign * (each.value or 0.0), each.slot), default=None)


def failures_in_a_row(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Return the failed attempts since the last that succeeded, in the order in which they ended."""
    row: list[Attempt] = []
    ended = [each for each in attempts if each.ended is not None and each.state is not State.LEFT]
    for each in sorted(ended, key=lambda one: (one.ended or 0.0, one.number)):
        if each.state is State.FAILED:
            row.append(each)
        else:
            row = []
    return row


def claimable(
    slots: int,
    attempts: Iterable[Attempt],
    claims: Mapping[int, Claim],
    living: Collection[Owner],
    *,
    on_grid: bool,
) -> list[Next]:
    """Return what may be claimed, what was left by the dead first."""
    by_slot: dict[int, list[Attempt]] = {}
    for each in attempts:
        by_slot.setdefault(each.slot, []).append(each)
    over = finished((each for some in by_slot.values() for each in some), on_grid=on_grid)
    left, fresh = [], []
    for slot in range(slots):
        if slot in over:
            continue
        claim = claims.get(slot)
        if claim is None:
            fresh.append(Next(slot, 1))
            continue
        earlier = sorted(by_slot.get(slot, []), key=lambda each: each.attempt)
        last = earlier[-1] if earlier else None
        if last is not None and last.attempt == claim.attempt and last.state is State.FAILED:
            fresh.append(Next(slot, claim.attempt + 1))
        elif claim.owner not in living:
            goes_on = last if last is not None and last.state is not State.FAILED else None
            left.append(Next(slot, claim.attempt + 1, goes_on))
    return left + fresh
