"""All of Slurm's job states and flags, and the phase of a job's life that each one means.

Words and meanings are those of Slurm 20.11 to 26.05 (``job_state_codes``). squeue and sacct show one word: the
first flag that is set, else the base state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final


class Phase(Enum):
    """Where a job stands, as far as whoever waits for it is concerned."""

    PENDING = "pending"
    BLOCKED = "blocked"  # waits for a person: held, or requeued and held
    RUNNING = "running"
    ENDING = "ending"  # the command is over, the clean-up is not
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"  # keep asking

    @property
    def ended(self) -> bool:
        """Whether the state is final, requeueing aside."""
        return self in (Phase.SUCCEEDED, Phase.FAILED)


class JobState(StrEnum):
    """Slurm's words. ``UNKNOWN`` stands for every word that this table does not hold."""

    # base states
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    # flags
    COMPLETING = "COMPLETING"
    STAGE_OUT = "STAGE_OUT"
    CONFIGURING = "CONFIGURING"
    EXPEDITING = "EXPEDITING"
    RESIZING = "RESIZING"
    REQUEUED = "REQUEUED"
    REQUEUE_FED = "REQUEUE_FED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    STOPPED = "STOPPED"
    REVOKED = "REVOKED"
    RESV_DEL_HOLD = "RESV_DEL_HOLD"
    SIGNALING = "SIGNALING"
    LAUNCH_FAILED = "LAUNCH_FAILED"
    RECONFIG_FAIL = "RECONFIG_FAIL"
    POWER_UP_NODE = "POWER_UP_NODE"
    UPDATE_DB = "UPDATE_DB"
    GETENV_FAILED = "GETENV_FAILED"
    # ours
    UNKNOWN = "UNKNOWN"


PHASES: Final[Mapping[JobState, Phase]] = MappingProxyType(
    {
        JobState.PENDING: Phase.PENDING,
        JobState.CONFIGURING: Phase.PENDING,
        JobState.EXPEDITING: Phase.PENDING,
        JobState.REQUEUED: Phase.PENDING,
        JobState.REQUEUE_FED: Phase.PENDING,
        JobState.POWER_UP_NODE: Phase.PENDING,
        JobState.REQUEUE_HOLD: Phase.BLOCKED,
        JobState.SPECIAL_EXIT: Phase.BLOCKED,
        JobState.RESV_DEL_HOLD: Phase.BLOCKED,
        JobState.RUNNING: Phase.RUNNING,
        JobState.SUSPENDED: Phase.RUNNING,
        JobState.RESIZING: Phase.RUNNING,
        JobState.STOPPED: Phase.RUNNING,
        JobState.SIGNALING: Phase.RUNNING,
        JobState.COMPLETING: Phase.ENDING,
        JobState.STAGE_OUT: Phase.ENDING,
        JobState.COMPLETED: Phase.SUCCEEDED,
        JobState.CANCELLED: Phase.FAILED,
        JobState.FAILED: Phase.FAILED,
        JobState.TIMEOUT: Phase.FAILED,
        JobState.NODE_FAIL: Phase.FAILED,
        JobState.PREEMPTED: Phase.FAILED,
        JobState.BOOT_FAIL: Phase.FAILED,
        JobState.DEADLINE: Phase.FAILED,
        JobState.OUT_OF_MEMORY: Phase.FAILED,
        # REVOKED is final for this cluster's record only: a sibling of the federation runs the job.
        JobState.REVOKED: Phase.UNKNOWN,
        JobState.LAUNCH_FAILED: Phase.UNKNOWN,
        JobState.RECONFIG_FAIL: Phase.UNKNOWN,
        JobState.UPDATE_DB: Phase.UNKNOWN,
        JobState.GETENV_FAILED: Phase.UNKNOWN,
        JobState.UNKNOWN: Phase.UNKNOWN,
    }
)

# Which end speaks for an array whose elements ended differently: the worst one.
_ENDS: Final[tuple[JobState, ...]] = (
    JobState.NODE_FAIL,
    JobState.BOOT_FAIL,
    JobState.OUT_OF_MEMORY,
    JobState.TIMEOUT,
    JobState.DEADLINE,
    JobState.FAILED,
    JobState.PREEMPTED,
    JobState.CANCELLED,
    JobState.COMPLETED,
)


def parse_state(word: str) -> JobState:
    """Return the state that squeue or sacct names with ``word``.

    sacct writes ``CANCELLED by 1000`` and cuts long words to ``CANCELLED+``; both are read. A word of a newer
    Slurm is ``JobState.UNKNOWN``, which means to keep asking, never an end.
    """
    first, _, by_whom = word.strip().partition(" ")
    if by_whom and not (first.startswith("CANC") and by_whom.startswith("by ")):
        return JobState.UNKNOWN
    if first.endswith("+"):
        matches = [state for state in JobState if state.startswith(first[:-1])]
        return matches[0] if len(matches) == 1 else JobState.UNKNOWN
    try:
        return JobState(first)
    except ValueError:
        return JobState.UNKNOWN


def phase_of(state: JobState) -> Phase:
    """Return the phase that ``state`` means."""
    return PHASES[state]


def combined_state(states: Iterable[JobState]) -> JobState:
    """Return the one state that speaks for a job and all of its array elements.

    While any element is unfinished the whole is; after that the worst end counts.

    Raises:
        ValueError: ``states`` is empty.
    """
    present = set(states)
    if not present:
        raise ValueError("no states to combine")
    for phase in (Phase.UNKNOWN, Phase.RUNNING, Phase.ENDING, Phase.BLOCKED, Phase.PENDING):
        unfinished = [state for state in JobState if state in present and PHASES[state] is phase]
        if unfinished:
            return unfinished[0]
    return min(present, key=_ENDS.index)
