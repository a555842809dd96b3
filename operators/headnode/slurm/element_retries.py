"""Which elements of an array run again after a round of it, and how: a pure decision.

An element runs again where a failure policy (``policy``) says so of its end, and else as long as ``element_retries``
last. What a policy has taught (more memory) holds for all elements of the later rounds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headnode.slurm.accounting import ElementEnd
from headnode.slurm.elements import describe_end, failed_elements, name_elements
from headnode.slurm.policy import FailurePolicy
from headnode.slurm.resubmission import End, GiveUp, Resubmission, decide
from headnode.slurm.states import JobState


@dataclass(frozen=True, kw_only=True)
class Again:
    """Run ``elements`` once more, with these further options of sbatch; ``reason`` says why in plain words."""

    elements: tuple[int, ...]
    options: tuple[str, ...]
    reason: str


class ElementRetries:
    """Decides after each round of one try; what it is told of the rounds before decides over the next one."""

    def __init__(
        self,
        policy: FailurePolicy,
        *,
        element_retries: int,
        requested: Mapping[str, Any],
        in_place_of_requeue: bool = False,
    ) -> None:
        self._policy = policy
        self._in_place_of_requeue = in_place_of_requeue
        self._element_retries = element_retries
        self._requested = requested
        self._history: list[End] = []
        self._options: tuple[str, ...] = ()
        self._retries: Counter[int] = Counter()

    def after(
        self, ends: Mapping[int, ElementEnd], *, job_ids: str, memory_mebibytes: int | None = None
    ) -> Again | None:
        """Return what runs again after a round that ended so, None where nothing does.

        ``job_ids`` names the round's jobs, ``memory_mebibytes`` is what Slurm gave each of their nodes. Which node an
        element ran on is not known, so none is excluded.
        """
        groups: dict[ElementEnd, list[int]] = defaultdict(list)
        for element in failed_elements(ends):
            groups[ends[element]].append(element)
        again: list[int] = []
        reasons = []
        # What befell many elements of a round counts once.
        new: dict[tuple[JobState, bool], End] = {}
        for end, members in groups.items():
            seen = End(
                job_id=job_ids,
                state=end.state,
                exit_code=end.exit_code,
                signal=end.signal,
                memory_mebibytes=memory_mebibytes,
            )
            verdict = self._decide([*self._history, seen])
            resubmitted = isinstance(verdict, Resubmission)
            new.setdefault((end.state, resubmitted), seen)
            chosen = members if resubmitted else self._retried(members)
            why = verdict.reason if isinstance(verdict, Resubmission) else _cause(end)
            if chosen:
                reasons.append(f"elements {name_elements(chosen)} run again: {why}")
                again += chosen
        self._learn(new)
        if not again:
            return None
        return Again(elements=tuple(sorted(again)), options=self._options, reason="; ".join(reasons))

    def _decide(self, ends: Sequence[End]) -> Resubmission | GiveUp:
        return decide(self._policy, ends, self._requested, in_place_of_requeue=self._in_place_of_requeue)

    def _learn(self, new: Mapping[tuple[JobState, bool], End]) -> None:
        """Take in how a round ended; what it taught about memory holds from now on."""
        self._history += new.values()
        for (_, resubmitted), end in new.items():
            others = [each for each in self._history if each is not end]
            verdict = self._decide([*others, end])
            if resubmitted and isinstance(verdict, Resubmission):
                self._options = verdict.options

    def _retried(self, members: list[int]) -> list[int]:
        chosen = [element for element in members if self._retries[element] < self._element_retries]
        self._retries.update(chosen)
        return chosen


def _cause(end: ElementEnd) -> str:
    how = describe_end(end)
    return how if end.state is JobState.UNKNOWN else f"they ended as {how}"
