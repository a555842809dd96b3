"""The last version of a watched path that Airflow has heard of, kept on the cluster.

<work directory>/<deployment>/watched/<name>     one line: the version
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from headnode.cluster.procedures import Output, Procedure, ask, shell
from headnode.errors import PathUnreadable


@dataclass(frozen=True, kw_only=True)
class WatchedPlace:
    """Where the version is kept. ``name`` stands for the watcher; it consists of letters and digits."""

    work_directory: str
    deployment_id: str
    name: str

    def __post_init__(self) -> None:
        """Refuse names that would lead elsewhere.

        Raises:
            ValueError: ``deployment_id`` or ``name`` is not made of letters, digits and dashes.
        """
        for name in (self.deployment_id, self.name):
            if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name):
                raise ValueError(f"{name!r} must consist of letters, digits and dashes")

    def shell_variables(self) -> str:
        """Return the lines that set ``folder`` and ``file`` in a remote script."""
        return (
            f"root={shlex.quote(self.work_directory)}\n"
            'case "$root" in "~/"*) root=$HOME/${root#"~/"};; esac\n'
            f"folder=$root/{self.deployment_id}/watched\nfile=$folder/{self.name}\n"
        )


def read_version(place: WatchedPlace) -> Procedure[str | None]:
    """Return the version that was stored last, None where there is none.

    Raises:
        PathUnreadable: it can't be told.
    """
    body = 'if [ -e "$file" ] || [ -L "$file" ]; then cat "$file" || return 1; fi'
    output = yield from ask(shell(place.shell_variables() + body, purpose="reading what was seen last"))
    _check(output, place)
    return output.stdout.strip() or None


def store_version(place: WatchedPlace, version: str) -> Procedure[None]:
    """Store the version, whole or not at all.

    Raises:
        PathUnreadable: it could not be stored.
    """
    body = (
        "umask 077\n"
        'mkdir -p "$folder" || return 1\n'
        f'printf "%s\\n" {shlex.quote(version)} > "$file.$$" || return 1\n'
        'mv -f "$file.$$" "$file"'
    )
    output = yield from ask(shell(place.shell_variables() + body, purpose="storing what was seen"))
    _check(output, place)


def _check(output: Output, place: WatchedPlace) -> None:
    if output.status != 0:
        raise PathUnreadable(
            f"what was seen last can't be kept below {place.work_directory} ({output.stderr.strip()[-300:]}); is there"
            " space left, and may the login write there?"
        )
