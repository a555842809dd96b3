"""What the rest of headnode asks of SSH, and nothing more: run a command, get an answer."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command for the login shell of the head node.

    ``text`` is shell text, ``stdin`` is what the command reads, ``timeout_seconds`` bounds its whole run.
    ``purpose`` says in a few words what it is for; error messages use it, and it holds no secret. ``stdin`` may.
    """

    text: str
    stdin: bytes = field(default=b"", repr=False)
    timeout_seconds: float = 60.0
    purpose: str


def command_line(command: Command, directory: str | None) -> str:
    """Return the text for the login shell: with ``directory`` before the PATH of the program that it begins with.

    It is the same in sh, csh and fish.
    """
    return command.text if directory is None else f'env PATH={shlex.quote(directory)}:"$PATH" {command.text}'


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command that ran to its end left behind. An absent exit status is never an answer."""

    stdout: bytes
    stderr: bytes
    exit_status: int


class Transport(Protocol):
    """An SSH connection to one host that is opened when needed and opened again after it broke."""

    @property
    def host(self) -> str:
        """The host's name, for messages."""
        ...

    async def run(self, command: Command) -> Answer:
        """Run one command to its end.

        Raises:
            TransportError: a subclass that tells whether the command may have run.
        """
        ...

    async def close(self) -> None:
        """Close the connection, if one is open."""
        ...
