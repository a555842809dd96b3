"""The files that take secrets into jobs: written as a part of the submission, removed where a job never read them.

They lie in ``<work directory>/<deployment>/secrets/<key>``, beside the tasks' directories, so that whatever is left
there is found without a look at all tasks.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import Procedure, ask, shell
from headnode.errors import CommandRefused, JobSpecError

_INDEXES: Final = re.compile(r"[0-9]{1,8}(?:-[0-9]{1,8})?(?:,[0-9]{1,8}(?:-[0-9]{1,8})?)*")
#: Minutes after which secrets are left over where their job is not in the queue: longer than a submission takes.
LEFT_AFTER_MINUTES: Final = 15

# A default ACL of the directory above would count for more than the umask, hence chmod.
_WRITE: Final = r"""
write_secrets() {
  rm -rf "$root/secrets/$key"
  mkdir -p "$root/secrets/$key" && chmod 700 "$root/secrets" "$root/secrets/$key" || return 1
  local range index
  for range in $secret_indexes; do
    for ((index = ${range%-*}; index <= ${range#*-}; index++)); do
      printf %s "$secret" > "$root/secrets/$key/$index" || return 1
    done
  done
  [ -n "$secret_indexes" ] || printf %s "$secret" > "$root/secrets/$key/job" || return 1
  chmod -R u=rwX,go= "$root/secrets/$key"
}
"""
NO_SECRETS: Final = "write_secrets() { :; }"
REMOVE: Final = 'rm -rf "$root/secrets/$key"'


@dataclass(frozen=True, kw_only=True)
class JobSecrets:
    """What one submission takes into its job.

    ``content`` is a file's, as ``render_secrets`` returns it; ``indexes`` are an array's, ``0-4,7``, empty for a plain
    job. Where Airflow did not give the secrets there is a ``refusal`` in place of the content: raised where the job is
    still to be submitted, while one that is there already goes on.
    """

    content: bytes = field(default=b"", repr=False)
    indexes: str = ""
    refusal: JobSpecError | None = None

    def __post_init__(self) -> None:
        """Refuse what is no list of indexes.

        Raises:
            ValueError: ``indexes`` is something else.
        """
        if self.indexes and not _INDEXES.fullmatch(self.indexes):
            raise ValueError(f"{self.indexes!r} must be indexes such as 0-4,7")


def render_writing(secrets: JobSecrets | None) -> list[str]:
    """Return the lines that define ``write_secrets`` and say whether the submission may go on."""
    if secrets is None:
        return ["refused_secrets=", NO_SECRETS]
    if secrets.refusal is not None:
        return ["refused_secrets=yes", NO_SECRETS]
    return [
        "refused_secrets=",
        f"secret_indexes={shlex.quote(secrets.indexes.replace(',', ' '))}",
        f"secret={shlex.quote(secrets.content.decode())}",
        _WRITE.strip("\n"),
    ]


def discard_secrets(place: JobPlace, keys: Iterable[str]) -> Procedure[None]:
    """Remove what the jobs of ``keys``, which have ended, never read.

    Raises:
        CommandRefused: it could not be removed.
        TransportError: the connection failed; the procedure may be run again.
    """
    names = " ".join(f'"$root"/secrets/{shlex.quote(key)}' for key in keys)
    output = yield from ask(shell(f"{place.shell_variables()}\nrm -rf {names}", purpose="removing unread secrets"))
    if output.status != 0:
        raise CommandRefused(f"secrets that no job has read can't be removed: {output.stderr.strip()[-300:]}")
