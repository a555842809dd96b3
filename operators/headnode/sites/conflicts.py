"""What a job asks for against what its site has: each conflict with the number and where it was read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headnode.errors import JobSpecError
from headnode.sites.system import System
from headnode.slurm.time_limits import parse_time_limit, render_time_limit


def check_against_site(fields: Mapping[str, Any], system: System | None, partition: str | None) -> None:
    """Refuse what the site would refuse, or never start. What is unknown is let pass.

    Raises:
        JobSpecError: more nodes, cores, GPUs or time than there are, or something mandatory is missing.
    """
    if system is None:
        return
    if system.mandatory.account and not fields.get("account") and "account" not in (fields.get("sbatch_options") or {}):
        raise JobSpecError(
            "account",
            f"{system.name} wants an account for each job ({system.source_of('mandatory', 'account')}); give account=",
        )
    known = system.partitions.get(partition or "")
    if known is None:
        return
    where = f"partition {partition!r} of {system.name}"
    source = lambda fact: system.source_of(f"partitions.{partition}", fact)  # noqa: E731
    nodes = fields.get("nodes")
    if nodes and known.max_nodes and int(nodes) > known.max_nodes:
        raise JobSpecError(
            "nodes", f"{nodes} nodes, where a job in {where} may have {known.max_nodes}: {source('max_nodes')}"
        )
    limit = fields.get("time_limit")
    if limit and known.max_time:
        asked = parse_time_limit(limit) if isinstance(limit, str) else limit
        if asked > known.max_time:
            raise JobSpecError(
                "time_limit",
                f"{render_time_limit(asked)}, where {where} allows {render_time_limit(known.max_time)}:"
                f" {source('max_time')}",
            )
