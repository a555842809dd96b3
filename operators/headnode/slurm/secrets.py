"""A job's secrets: which ones it wants, and the file and the shell text that take their values into its environment.

A job description names secrets by references, which say where Airflow keeps them. Their values are in no script and in
no command line: the submission writes them into a file of mode 0600 in the directory ``secrets/<key>`` beside the
tasks' directories (of an array a file for each element, named by its index), and the first thing that the job does is
to read its file and to remove it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from headnode.slurm.environment import check_variable_name

#: What a job says that finds no secrets (EX_CONFIG of sysexits.h).
WITHOUT_SECRETS: Final = 78
# Linux gives one variable of an environment 128 KiB, its name included (MAX_ARG_STRLEN).
MAX_VARIABLE_BYTES: Final = 128 * 1024 - 1
MAX_FILE_BYTES: Final = 1024 * 1024
FORMS: Final = (
    "'variable:NAME', 'connection:CONN_ID.password' (or .login, .host, .uri), or 'connection:CONN_ID.extra.KEY'"
)

_BEGINNINGS: Final = ("variable:", "connection:")
_VARIABLE: Final = re.compile(r"variable:(?P<name>[^\x00-\x1f\x7f]{1,250})")
# As short an id as possible: ids hold dots, too.
_CONNECTION: Final = re.compile(
    r"connection:(?P<name>[^\x00-\x1f\x7f]{1,250}?)\.(?P<field>password|login|host|uri|extra\.(?P<key>[^\x00-\x1f\x7f]+))"
)
_UNSENDABLE: Final = re.compile(r"[\x00\ud800-\udfff]")

# bash with -x or -v in its first line would show what is read. Whatever goes wrong, no job runs without its secrets.
_READ: Final = """\
headnode_secrets="${{HEADNODE_DIRECTORY%/tasks/*}}/secrets/${{HEADNODE_DIRECTORY##*/}}"
headnode_file="$headnode_secrets/${{SLURM_ARRAY_TASK_ID:-job}}"
headnode_whole= headnode_flags="$-"
set +x +v
if [ -r "$headnode_file" ]; then . "$headnode_file"; fi
rm -f "$headnode_file" || :
rmdir "$headnode_secrets" 2>/dev/null || :
if [ "$headnode_whole" != yes ]; then
  echo "headnode: the secrets of this job ({names}) are not in $headnode_file, so it ends here. It was" \\
    "started a second time by hand, or somebody removed the file; run the task again" >&2
  exit {status}
elif [ -e "$headnode_file" ]; then
  echo "headnode: the file with the secrets of this job, $headnode_file, can't be removed, so it ends here" >&2
  exit {status}
fi
case "$headnode_flags" in *v*) set -v;; esac
case "$headnode_flags" in *x*) set -x;; esac"""


@dataclass(frozen=True, kw_only=True)
class SecretReference:
    """Where Airflow keeps a secret: a variable, or one field of a connection (``key`` is of its extra)."""

    kind: Literal["variable", "connection"]
    name: str
    field: str | None = None
    key: str | None = None


def parse_reference(text: str) -> SecretReference:
    """Return what ``text`` refers to.

    Raises:
        ValueError: it is no reference. The message does not show it, for it may be the secret itself.
    """
    if match := _VARIABLE.fullmatch(text):
        return SecretReference(kind="variable", name=match["name"])
    if match := _CONNECTION.fullmatch(text):
        field = match["field"].partition(".")[0]
        return SecretReference(kind="connection", name=match["name"], field=field, key=match["key"])
    raise ValueError(f"is no reference to a secret; write {FORMS}")


def check_secret_env(secret_env: Any, *, is_template: Callable[[str], bool] = lambda _: False) -> dict[str, str]:
    """Return the checked references by the names of environment variables.

    A template, too, must say first what it refers to: one that renders to the secret itself is refused.

    Raises:
        ValueError: a name is none of an environment variable, or a value is no reference.
    """
    if not isinstance(secret_env, Mapping):
        raise ValueError(f"must be a dict of references by names of environment variables, not {type(secret_env)}")  # noqa: TRY004 - pydantic reads ValueError
    for name, text in secret_env.items():
        check_variable_name(name)
        try:
            if not isinstance(text, str) or not text.startswith(_BEGINNINGS) or not is_template(text):
                parse_reference(text if isinstance(text, str) else "")
        except ValueError as error:
            raise ValueError(f"the value of {name!r} {error}") from None
    return dict(secret_env)


def render_secrets(values: Mapping[str, str]) -> bytes:
    """Return the content of a job's file: shell text, which ends with the mark that it is whole.

    Raises:
        ValueError: a value can't be put into an environment. The message does not show it.
    """
    lines = []
    for name, value in sorted(values.items()):
        if _UNSENDABLE.search(value):
            raise ValueError(f"the value of {name} holds a NUL character or half a character")
        if len(f"{name}={value}".encode()) > MAX_VARIABLE_BYTES:
            raise ValueError(
                f"the value of {name} is longer than {MAX_VARIABLE_BYTES // 1024} KiB, the most that Linux lets an"
                " environment variable hold"
            )
        lines.append(f"export {name}={shlex.quote(value)}\n")
    content = "".join([*lines, "headnode_whole=yes\n"]).encode()
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"the values are more than {MAX_FILE_BYTES // 1024} KiB in all")
    return content


def read_secrets(names: Iterable[str]) -> str:
    """Return the lines with which a job takes in its secrets, or ends where they are not there."""
    return _READ.format(names=", ".join(sorted(names)), status=WITHOUT_SECRETS)
