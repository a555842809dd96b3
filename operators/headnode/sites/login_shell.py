"""What a login shell, which is what jobs begin with, has to tell of a site: containers, internet, directories."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from headnode.errors import UnreadableAnswer

_MARK: Final = "headnode:shell"
#: A host that is there to be asked by anybody (RFC 2606); one request for its headers is made.
ASKED_HOST: Final = "example.com"
_INTERNET_SECONDS: Final = 8
_DIRECTORIES: Final = ("HOME", "WORK", "SCRATCH", "PROJECT", "FASTSCRATCH")
_VARIABLES: Final = (*_DIRECTORIES, "https_proxy", "HTTPS_PROXY")
# The last line tells that nothing was cut.
LOOK_AT_SHELL: Final = f"""\
say() {{ printf '{_MARK} %s %s\\n' "$1" "$(printf %s "$2" | tr '\\n' ' ')"; }}
say user "$(id -un)"
for name in apptainer singularity; do
  if command -v $name >/dev/null 2>&1; then say runtime "$name"; break; fi
done
if srun --help 2>/dev/null | grep -q -e --container-image; then say pyxis yes; fi
say mpi "$(srun --mpi=list 2>&1 | sed 1d | tr -d '\\t' | tr '\\n' ' ')"
for name in {" ".join(_VARIABLES)}; do if [ -n "${{!name}}" ]; then say "$name" "${{!name}}"; fi; done
if command -v curl >/dev/null 2>&1; then
  if curl --silent --head --max-time {_INTERNET_SECONDS} --output /dev/null https://{ASKED_HOST}/
  then say internet yes; else say internet no; fi
elif timeout {_INTERNET_SECONDS} bash -c ': </dev/tcp/{ASKED_HOST}/443' 2>/dev/null; then say internet yes
else say internet no; fi
say end
"""
_LINE: Final = re.compile(rf"{_MARK} ([A-Za-z_]{{1,20}})(?: (.*))?")
_SECRET: Final = re.compile(r"(?:^|(?<=//))[^/@]*@")


@dataclass(frozen=True, kw_only=True)
class LoginShell:
    """What a login shell on the login node has.

    ``runtime`` is the container runtime in its PATH, ``proxy`` what ``https_proxy`` says, without its password;
    ``directories`` are the values of HOME, WORK, SCRATCH, PROJECT, FASTSCRATCH with ``<user>`` for the login's name.
    """

    runtime: Literal["apptainer", "singularity", "pyxis"] | None
    internet: bool
    proxy: str | None
    mpi: tuple[str, ...]
    directories: dict[str, str]


def parse_login_shell(stdout: str) -> LoginShell:
    """Return what the script ``LOOK_AT_SHELL`` has printed, among what start-up files print.

    Raises:
        UnreadableAnswer: its end is missing, or nothing is said of the internet.
    """
    said = {match[1]: (match[2] or "").strip() for line in stdout.split("\n") if (match := _LINE.fullmatch(line))}
    if "end" not in said or said.get("internet") not in ("yes", "no"):
        raise UnreadableAnswer("what the login shell has was cut, or is no answer")
    runtime = said.get("runtime") or ("pyxis" if "pyxis" in said else None)
    if runtime not in (None, "apptainer", "singularity", "pyxis"):
        raise UnreadableAnswer(f"{runtime[:100]!r} is no container runtime")
    proxy = said.get("https_proxy") or said.get("HTTPS_PROXY")
    user = said.get("user") or ""
    return LoginShell(
        runtime=cast("Literal['apptainer', 'singularity', 'pyxis'] | None", runtime),
        internet=said["internet"] == "yes",
        proxy=_SECRET.sub("", proxy) if proxy else None,
        # Since 22.05 a sentence on versions follows the names.
        mpi=tuple(said.get("mpi", "").partition(" specific ")[0].split()),
        directories={name: _without(said[name], user) for name in _DIRECTORIES if said.get(name)},
    )


def _without(path: str, user: str) -> str:
    return "/".join("<user>" if user and part == user else part for part in path.split("/"))
