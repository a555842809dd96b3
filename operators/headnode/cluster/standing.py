"""Where one job stands right now, whoever still knows it: squeue, sacct, slurmctld's memory, its own end marker."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from headnode.cluster.procedures import Procedure
from headnode.cluster.queries import AccountingAbsent, AskedJob, accounting, queue_snapshot, without_accounting
from headnode.slurm.accounting import AccountingEntry
from headnode.slurm.states import JobState, Phase, phase_of


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A job's state, with Slurm's word for it; ``end`` is what is known of a job that has ended."""

    state: JobState
    state_word: str
    end: AccountingEntry | None = None

    @property
    def failed(self) -> bool:
        """Whether the job has ended otherwise than well."""
        return phase_of(self.state) is Phase.FAILED


def standing_of(job: AskedJob) -> Procedure[Standing | None]:
    """Return where ``job`` stands, None where nobody knows it.

    Raises:
        ControllerUnavailable: Slurm does not answer, so that nothing is known.
        UnreadableAnswer: an answer was cut.
    """
    queue = yield from queue_snapshot([job])
    queued = queue.entries.get(job.job_id)
    if queued is not None and not phase_of(queued.state).ended:
        return Standing(state=queued.state, state_word=queued.state_word)
    known: AccountingEntry | None = None
    with contextlib.suppress(AccountingAbsent):
        known = (yield from accounting([job])).get(job.job_id)
    if known is None or not phase_of(known.state).ended:
        # Accounting hears of an end some seconds later than slurmctld.
        known = (yield from without_accounting([job])).get(job.job_id) or known
    if known is not None:
        end = known if phase_of(known.state).ended else None
        return Standing(state=known.state, state_word=known.state_word, end=end)
    return Standing(state=queued.state, state_word=queued.state_word) if queued is not None else None
