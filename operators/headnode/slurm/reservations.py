"""Reservations as ``scontrol show reservation`` prints them; times are seconds since the cluster's epoch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from headnode.errors import UnreadableAnswer
from headnode.slurm.nodes import expand_nodes

# With SLURM_TIME_FORMAT=%s in the environment, times are printed as seconds since the epoch.
SCONTROL_RESERVATIONS: Final = ["scontrol", "show", "reservation", "--oneliner", "--all"]
_NONE: Final = "No reservations in the system"
# Names of reservations hold no blanks, and no value of the fields that are read here does.
_FIELD: Final = re.compile(r"(?:^| )([A-Za-z]+)=(\S*)")


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """Nodes that are kept for somebody, or for nobody, from ``start`` to ``end``."""

    name: str
    start: int
    end: int
    nodes: str
    flags: frozenset[str]

    @property
    def is_maintenance(self) -> bool:
        """Whether it carries the flag MAINT."""
        return "MAINT" in self.flags


def parse_reservations(stdout: str) -> list[Reservation]:
    """Return the reservations in scontrol's answer.

    Raises:
        UnreadableAnswer: there is nothing, a line has not the fields that it must have, or its times are no epochs.
    """
    lines = [line for line in stdout.split("\n") if line.strip()]
    if not lines:
        raise UnreadableAnswer("scontrol said nothing of reservations, not even that there are none")
    return [] if [line.strip() for line in lines] == [_NONE] else [_reservation(line) for line in lines]


def _reservation(line: str) -> Reservation:
    fields = dict(_FIELD.findall(line))
    # State comes after all that is read here: with it, none of that was cut.
    if "State" not in fields:
        raise UnreadableAnswer(f"scontrol's line {line[:200]!r} has not the form of a reservation")
    try:
        return Reservation(
            name=fields["ReservationName"],
            start=_epoch(fields["StartTime"]),
            end=_epoch(fields["EndTime"]),
            nodes=fields["Nodes"].replace("(null)", ""),
            flags=frozenset(fields["Flags"].split(",")),
        )
    except (KeyError, ValueError) as error:
        raise UnreadableAnswer(f"scontrol's line {line[:200]!r} can't be read: {error!r}") from error


def _epoch(text: str) -> int:
    if not re.fullmatch("[0-9]{1,11}", text):
        raise ValueError(f"{text!r} is no time in seconds since the epoch")
    return int(text)


def next_maintenance(
    reservations: Iterable[Reservation], *, now: int, within_seconds: float, nodes: set[str] | None
) -> Reservation | None:
    """Return the first maintenance that is going on at ``now`` or begins within ``within_seconds``, or None.

    It counts where it has one of ``nodes``; None is any node. A reservation without nodes, as of licences, never
    counts.

    Raises:
        UnreadableAnswer: a list of nodes can't be read.
    """
    due = [
        each
        for each in reservations
        if each.is_maintenance and each.nodes and each.start <= now + within_seconds and each.end > now
    ]
    meets = [each for each in due if nodes is None or expand_nodes(each.nodes) & nodes]
    return min(meets, key=lambda each: each.start, default=None)
