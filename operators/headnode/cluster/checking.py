"""Checks a connection to a cluster: a procedure of two commands that tells what is well, what is wrong, what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from headnode.cluster.findings import Finding
from headnode.cluster.host_check import COMMANDS, judge_host, look_at_host
from headnode.cluster.procedures import Procedure
from headnode.cluster.slurm_check import ask_slurm, judge_slurm
from headnode.ssh.settings import ClusterSettings


def check_cluster(settings: ClusterSettings, *, clock: Callable[[], float]) -> Procedure[list[Finding]]:
    """Return what is to be said of the cluster, in the order in which a person would look.

    ``clock`` tells this machine's seconds since the epoch.

    Raises:
        TransportError: there was no way in, or the connection broke.
        UnreadableAnswer: an answer was cut.
    """
    before = clock()
    seen = yield from look_at_host(settings.work_directory)
    after = clock()
    host = judge_host(seen, clock_ahead_seconds=_ahead(seen.said.get("clock", ""), before, after))
    commands = next(finding for finding in host if finding.what == COMMANDS)
    slurm: list[Finding] = []
    if seen.said.get("scontrol") or seen.slurm_directory is not None:
        told = yield from ask_slurm(user=seen.said.get("user", ""), path=seen.slurm_directory)
        slurm = judge_slurm(told, account=settings.account, poll_max_seconds=settings.poll_max_seconds)
    return [commands, *slurm, *(finding for finding in host if finding.what != COMMANDS)]


def _ahead(told: str, before: float, after: float) -> float:
    """Return by how many seconds a clock that told ``told`` between ``before`` and ``after`` is ahead; NaN if unknown.

    The answer took its time, and whole seconds hide a fraction: only what lies outside of both is a difference.
    """
    if not re.fullmatch("[0-9]{1,12}", told):
        return math.nan
    return max(0.0, int(told) - after) or min(0.0, int(told) + 1.0 - before)
