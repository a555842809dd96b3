"""Wheelhouses on the cluster: folders of wheels that environments are built from where there is no internet."""

from __future__ import annotations

import posixpath
import shlex
from pathlib import Path

from headnode.cluster.procedures import ask, shell
from headnode.errors import HeadnodeError
from headnode.hooks.slurm import SlurmHook
from headnode.hooks.staging import Options, upload
from headnode.sites.environments.environment import Environment

#: Below a connection's work directory: where environments are built, and where their wheelhouses are.
FOLDER = "environments"


def stage_wheelhouses(environment: Environment, *, conn_id: str, options: Options) -> None:
    """Put the wheelhouses of a resolved environment on the cluster, where they are not there yet.

    They appear whole or not at all; a transfer that broke off goes on where it stopped.

    Raises:
        HeadnodeError: one could not be put there.
    """
    wanted = environment.wheelhouses()
    if not wanted:
        return
    hook = SlurmHook(conn_id)
    try:
        for wheels, wheelhouse in wanted.items():
            if not _is_whole(hook, wheels, Path(wheelhouse)):
                options.log.info("sending the wheelhouse %s", wheelhouse)
                upload(hook, Path(wheelhouse), f"{FOLDER}/{wheels}", options=options, leave_out=_is_below)
    finally:
        hook.transport.close()


def _is_whole(hook: SlurmHook, wheels: str, wheelhouse: Path) -> bool:
    """Whether all files are there, by their number: their names and sizes are in the folder's name."""
    folder = f"{hook.settings.work_directory}/{FOLDER}/{wheels}"
    body = (
        f"folder={shlex.quote(folder)}\n"
        'case "$folder" in "~/"*) folder=$HOME/${folder#"~/"};; esac\n'
        '[ ! -d "$folder" ] || find "$folder" -mindepth 1 -maxdepth 1 -type f | wc -l'
    )
    try:
        found = hook.run(ask(shell(body, purpose=f"looking for the wheelhouse {wheels}")))
    except HeadnodeError as error:
        if error.retryable:
            return False  # sending it waits for a host that is away
        raise
    return found.stdout.strip() == str(sum(each.is_file() for each in wheelhouse.iterdir()))


def _is_below(path: str) -> bool:
    return bool(posixpath.dirname(path))
