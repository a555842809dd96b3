"""A transport that answers from a script, for tests of what can't be had: a supercomputer in the wanted state.

Public: tests of other people's code may use it in place of a connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from headnode.errors import HeadnodeError
from headnode.ssh.port import Answer, Command


class ScriptExhausted(HeadnodeError, AssertionError):
    """A command came for which the script holds no answer."""


class ScriptedTransport:
    """Gives the scripted answers (or raises the scripted errors) in order, and keeps the commands it was given."""

    def __init__(self, answers: Iterable[Answer | Exception], *, host: str = "scripted") -> None:
        self.host = host
        self.commands: list[Command] = []
        self._answers = deque(answers)

    async def run(self, command: Command) -> Answer:
        """Return or raise what the script says comes next."""
        return self.answer(command)

    def answer(self, command: Command) -> Answer:
        """Do the same for synchronous callers.

        Raises:
            ScriptExhausted: the script has come to its end.
        """
        self.commands.append(command)
        if not self._answers:
            raise ScriptExhausted(f"no answer left for: {command.purpose}")
        answer = self._answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing is open."""
