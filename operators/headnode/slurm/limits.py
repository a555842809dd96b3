"""What a cluster allows: its configuration, partitions, and the accounts and QOSes of one user, as Slurm prints them.

Times stay Slurm's own text (``1-00:00:00``, ``infinite``): they are shown to people, never counted with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from headnode.errors import UnreadableAnswer

# %P has a star behind the default partition; %F counts nodes as allocated/idle/other/total (sinfo.1).
_SINFO_FORMAT: Final = "%P|%a|%l|%F"
_ASSOCIATION_FIELDS: Final = ("Cluster", "Account", "QOS", "MaxJobs", "MaxSubmitJobs", "MaxWall")
_QOS_FIELDS: Final = ("Name", "MaxWall", "MaxJobsPU", "MaxSubmitPU", "MaxTRESPU")
_CONFIGURED: Final = re.compile(r"^(\w+)\s*= (\S+)", re.MULTILINE)
_NODE_COUNTS: Final = re.compile(r"[0-9.]+[KM]?/[0-9.]+[KM]?/[0-9.]+[KM]?/(?P<total>[0-9.]+[KM]?)")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What ``scontrol show config`` says. An array's highest index is ``max_array_size`` - 1.

    ``submit_plugins`` are the site's own, which may refuse or change jobs.
    """

    version: str
    cluster: str
    max_array_size: int
    min_job_age_seconds: int
    keeps_accounting: bool
    enforced: frozenset[str] = frozenset()
    mpi_default: str | None = None
    select_type: str | None = None
    gres_types: tuple[str, ...] = ()
    submit_plugins: tuple[str, ...] = ()

    @property
    def needs_association(self) -> bool:
        """Whether a job needs an account that slurmdbd knows for its user (``AccountingStorageEnforce``).

        ``limits``, ``qos``, ``safe`` and ``wckeys`` imply ``associations`` (slurm.conf.5).
        """
        return bool(self.enforced & {"all", "associations", "limits", "qos", "safe", "wckeys"})


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One line of sinfo's summary. ``nodes`` is their number as sinfo writes it, which may be ``5.6K``."""

    name: str
    is_default: bool
    available: str
    time_limit: str
    nodes: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that Slurm lets somebody have: empty where there is no limit."""

    wall_time: str = ""
    jobs: str = ""
    submitted: str = ""
    tres: str = ""

    def __str__(self) -> str:
        """Return them in words."""
        words = {
            "jobs up to": self.wall_time,
            "running jobs:": self.jobs,
            "submitted jobs:": self.submitted,
            "at the same time": self.tres,
        }
        return ", ".join(f"{word} {value}" for word, value in words.items() if value) or "no limit"


@dataclass(frozen=True, kw_only=True)
class Association:
    """An account that a user may charge, the QOSes that come with it, and the limits of the user in it."""

    account: str
    qos: tuple[str, ...]
    limits: Limits


def show_partitions() -> list[str]:
    """Ask for the partitions that the login's user can see, with their nodes counted."""
    return ["sinfo", "--noheader", f"--format={_SINFO_FORMAT}"]


def show_associations(user: str) -> list[str]:
    """Ask slurmdbd which accounts ``user`` may charge, on all clusters that it serves."""
    fields = ",".join(_ASSOCIATION_FIELDS)
    return ["sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={user}", f"format={fields}"]


def show_qos() -> list[str]:
    """Ask slurmdbd for all QOSes with the limits that they set each user."""
    return ["sacctmgr", "--noheader", "--parsable2", "show", "qos", f"format={','.join(_QOS_FIELDS)}"]


def parse_config(stdout: str) -> Configuration:
    """Return what headnode needs of the configuration.

    Raises:
        UnreadableAnswer: the answer lacks a part, as when it was cut.
    """
    values = dict(_CONFIGURED.findall(stdout))
    enforced = values.get("AccountingStorageEnforce", "none").casefold().split(",")
    try:
        return Configuration(
            version=values["SLURM_VERSION"],
            cluster=values["ClusterName"],
            max_array_size=int(values["MaxArraySize"]),
            min_job_age_seconds=int(values["MinJobAge"]),
            # Slurm 23.11 and later print (null) where earlier ones print the plugin's name.
            keeps_accounting=values["AccountingStorageType"] not in ("accounting_storage/none", "(null)"),
            enforced=frozenset(enforced) - {"none", "(null)"},
            mpi_default=next(iter(_words(values, "MpiDefault")), None),
            select_type=next(iter(_words(values, "SelectType")), None),
            gres_types=_words(values, "GresTypes"),
            submit_plugins=_words(values, "JobSubmitPlugins"),
        )
    except (KeyError, ValueError) as error:
        raise UnreadableAnswer(f"the configuration that scontrol shows can't be read: {error!r}") from error


def _words(values: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word for word in values.get(name, "").split(",") if word not in ("", "(null)", "none"))


def parse_partitions(stdout: str) -> list[Partition]:
    """Return the partitions in sinfo's summary.

    Raises:
        UnreadableAnswer: a line has not the asked form.
    """
    partitions = []
    for name, available, time_limit, counts in _rows(stdout, 4, "sinfo"):
        match = _NODE_COUNTS.fullmatch(counts)
        if match is None or not name.rstrip("*"):
            raise UnreadableAnswer(f"sinfo counts the nodes of {name[:100]!r} as {counts[:100]!r}")
        partitions.append(
            Partition(
                name=name.removesuffix("*"),
                is_default=name.endswith("*"),
                available=available,
                time_limit=time_limit,
                nodes=match["total"],
            )
        )
    return partitions


def parse_associations(stdout: str, cluster: str) -> list[Association]:
    """Return the associations on ``cluster`` in sacctmgr's answer.

    Raises:
        UnreadableAnswer: a line has not the asked form.
    """
    return [
        Association(
            account=account,
            qos=tuple(filter(None, qos.split(","))),
            limits=Limits(wall_time=wall_time, jobs=jobs, submitted=submitted),
        )
        for where, account, qos, jobs, submitted, wall_time in _rows(stdout, len(_ASSOCIATION_FIELDS), "sacctmgr")
        if where.casefold() == cluster.casefold()
    ]


def parse_qos(stdout: str) -> dict[str, Limits]:
    """Return the limits of each QOS in sacctmgr's answer.

    Raises:
        UnreadableAnswer: a line has not the asked form.
    """
    return {
        name: Limits(wall_time=wall_time, jobs=jobs, submitted=submitted, tres=tres)
        for name, wall_time, jobs, submitted, tres in _rows(stdout, len(_QOS_FIELDS), "sacctmgr")
    }


def _rows(stdout: str, fields: int, program: str) -> list[Sequence[str]]:
    rows = [[field.strip() for field in line.split("|")] for line in filter(str.strip, stdout.split("\n"))]
    for row in rows:
        if len(row) != fields:
            raise UnreadableAnswer(f"{program}'s line {'|'.join(row)[:200]!r} has not the form that was asked for")
    return list(rows)
