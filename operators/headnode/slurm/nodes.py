"""What a partition has to spare, as ``sinfo`` prints it, and lists of nodes in Slurm's short form."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Final

from headnode.errors import UnreadableAnswer

# The bar after each name ends the field, which then has no width that would cut it (sinfo.1, --Format).
SINFO_FORMAT: Final = "PartitionName:|,Available:|,StateLong:|,Nodes:|,Gres:|,GresUsed:|,NodeList:|"
# A node with any other word or mark is drained, reserved, down, not responding, planned for another job (``-``), about
# to reboot (``@``) or to power down (``!``, ``%``); one that is powered down (``~``) is woken up for a job.
_FREE: Final = frozenset({"idle", "idle~"})
_GIVES_GPUS: Final = _FREE | {"mixed"}
_GRES: Final = re.compile(r"gpu(?::(?P<type>[^:,()]+|\(null\)))?:(?P<count>[0-9]{1,9})(?:\([^()]*\))?")
_WORD: Final = re.compile(r"(?:[^,\[\]]+|\[[^\[\]]*\])+")
_BRACKETS: Final = re.compile(r"\[([^\[\]]*)\]")
_RANGE: Final = re.compile(r"(?P<first>[0-9]{1,9})(?:-(?P<last>[0-9]{1,9}))?")
MAX_NODES: Final = 200_000


@dataclass(frozen=True, kw_only=True)
class NodeGroup:
    """Nodes of one partition that are alike; counts of GPUs are those of one node, by type ("" where it has none)."""

    partition: str
    available: str
    state: str
    count: int
    gpus: Mapping[str, int] = field(default_factory=dict)
    gpus_used: Mapping[str, int] = field(default_factory=dict)
    nodes: str = ""

    @property
    def free_nodes(self) -> int:
        """How many of them a job could have as a whole."""
        return self.count if self.state in _FREE else 0

    def free_gpus(self, gpu_type: str | None = None) -> int:
        """Return how many of their GPUs no job has; None is of any type."""
        if self.state not in _GIVES_GPUS:
            return 0
        wanted = self.gpus if gpu_type is None else {gpu_type} & self.gpus.keys()
        if gpu_type is None and self.gpus_used.keys() - self.gpus.keys():
            return self.count * max(0, sum(self.gpus.values()) - sum(self.gpus_used.values()))
        return self.count * sum(max(0, self.gpus[each] - self.gpus_used.get(each, 0)) for each in wanted)


def sinfo(partitions: Collection[str] = ()) -> list[str]:
    """Ask for the nodes of ``partitions`` (hidden ones too), of all where none is named, alike ones in one line.

    sinfo says nothing of a partition that it does not know, and ends with 0.
    """
    which = [f"--partition={','.join(sorted(partitions))}"] if partitions else ["--all"]
    return ["sinfo", "--noheader", *which, f"--Format={SINFO_FORMAT}"]


def parse_nodes(stdout: str) -> list[NodeGroup]:
    """Return the groups of nodes in sinfo's answer.

    Raises:
        UnreadableAnswer: a line has not the asked form, as when the answer was cut.
    """
    return [_group(line) for line in filter(None, stdout.split("\n"))]


def _group(line: str) -> NodeGroup:
    fields = [each.strip() for each in line.split("|")]
    if len(fields) != 8 or fields[7] or not re.fullmatch("[0-9]{1,9}", fields[3]):  # noqa: PLR2004 - the asked format
        raise UnreadableAnswer(f"sinfo's line {line[:200]!r} has not the form that was asked for")
    return NodeGroup(
        partition=fields[0],
        available=fields[1],
        state=fields[2],
        count=int(fields[3]),
        gpus=count_gpus(fields[4]),
        gpus_used=count_gpus(fields[5]),
        nodes=fields[6],
    )


def count_gpus(text: str) -> Mapping[str, int]:
    """Return the GPUs in e.g. ``gpu:a100:4(S:0-1),shard:8`` or ``gpu:a100:2(IDX:0,3)``; the rest is left out."""
    counts: Counter[str] = Counter()
    for match in _GRES.finditer(text):
        if match.start() and text[match.start() - 1] != ",":
            continue  # the end of another resource's name
        counts["" if match["type"] in (None, "(null)") else match["type"]] += int(match["count"])
    return dict(counts)


def nodes_in(groups: Iterable[NodeGroup]) -> set[str]:
    """Return the names of the nodes in ``groups``.

    Raises:
        UnreadableAnswer: a list can't be read.
    """
    return set().union(*(expand_nodes(group.nodes) for group in groups))


def expand_nodes(text: str) -> set[str]:
    """Return the names in a list such as ``n[1-3,07],gpu[01-02]-[a]`` (scontrol.1, "show hostnames").

    Raises:
        UnreadableAnswer: the brackets don't fit, or more than ``MAX_NODES`` names would come.
    """
    names: set[str] = set()
    if text in ("", "(null)"):
        return names
    for word in _words(text):
        literals = _BRACKETS.split(word)
        choices = [_choices(part, text) if odd % 2 else [part] for odd, part in enumerate(literals)]
        if len(names) + prod(map(len, choices)) > MAX_NODES:
            raise UnreadableAnswer(f"{text[:200]!r} are more than {MAX_NODES} nodes")
        names.update("".join(parts) for parts in product(*choices))
    return names


def _words(text: str) -> Iterator[str]:
    """Cut at the commas that are outside of brackets."""
    at = 0
    while (match := _WORD.match(text, at)) is not None:
        yield match[0]
        at = match.end() + 1
        if match.end() == len(text):
            return
        if text[match.end()] != ",":
            break
    raise UnreadableAnswer(f"{text[:200]!r} is no list of nodes")


def _choices(inside: str, text: str) -> list[str]:
    found: list[str] = []
    for part in inside.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise UnreadableAnswer(f"{text[:200]!r} is no list of nodes")
        first, last = match["first"], match["last"] or match["first"]
        if int(last) - int(first) + len(found) >= MAX_NODES:
            raise UnreadableAnswer(f"{text[:200]!r} are more than {MAX_NODES} nodes")
        found.extend(f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
    return found
