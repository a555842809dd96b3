"""Probes a site through a connection: what its cluster tells of itself, as a catalogue file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from airflow.sdk.configuration import conf

from headnode.cluster.procedures import Procedure, drive_sync
from headnode.errors import JobSpecError
from headnode.hooks.slurm import SlurmHook
from headnode.sites.catalogue import split_folders
from headnode.sites.measured import describe_site, site_name
from headnode.sites.probing import probe_cluster
from headnode.sites.site_file import plain, render_site
from headnode.ssh.port import Answer, Command
from headnode.ssh.settings import SSHSettings

T = TypeVar("T")
Tell = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class ProbedSite:
    """A system's name, the text of its catalogue file, and the same facts as data."""

    name: str
    text: str
    facts: dict[str, Any]


def probe_site(hook: SlurmHook, *, name: str | None, today: date, on_progress: Tell = lambda _: None) -> ProbedSite:
    """Return what the cluster tells of itself; nothing is changed there, and no job is submitted.

    Raises:
        ConnectionInvalid: there is no such connection, or a field of it can't be right.
        TransportError: there is no way in.
        SlurmError: slurmctld does not answer, or can't be understood.
    """
    settings = hook.settings
    on_progress(f"logging in to {settings.ssh.host}")
    answers = _telling(hook, probe_cluster(), on_progress)
    system = name or site_name(answers.config.cluster)
    block = describe_site(
        answers,
        name=system,
        hosts=_hosts(settings.ssh),
        port=settings.ssh.port,
        jump_hosts=[hop.host for hop in settings.ssh.jump],
        date=today.isoformat(),
    )
    heading = (
        f"{system}, as its cluster tells of itself. What is null was not learned, and the comment says why; write what"
        " you know, with its source. `headnode site check` shows whether jobs get what is said here."
    )
    return ProbedSite(name=system, text=render_site(block, heading=[heading]), facts=plain(block))


def _hosts(settings: SSHSettings) -> list[str]:
    return list(settings.hosts) or [settings.host]


def _telling(hook: SlurmHook, procedure: Procedure[T], tell: Tell) -> T:
    def run(command: Command) -> Answer:
        tell(command.purpose)
        return hook.transport.run(command)

    return drive_sync(procedure, run)


def user_folder() -> Path:
    """Return the folder of the user's own systems, of several the last one, which wins.

    Raises:
        JobSpecError: none is configured.
    """
    folders = split_folders(conf.get("headnode", "sites_folder", fallback="") or "")
    if not folders:
        raise JobSpecError(
            "--write",
            "[headnode] sites_folder names no folder; set it (AIRFLOW__HEADNODE__SITES_FOLDER), or give --output FILE",
        )
    return folders[-1]
