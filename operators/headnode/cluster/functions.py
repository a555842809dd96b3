"""Functions that run as jobs: the files that go with one, and the exception that it leaves in its directory."""

from __future__ import annotations

import base64
import json
import shlex
from dataclasses import dataclass
from typing import Any, Final

from headnode.cluster.procedures import Procedure, ask, shell
from headnode.errors import UnreadableAnswer

#: What runs in front of the function, its source, and its name with the arguments.
RUNNER_NAME: Final = "run_function.py"
SOURCE_NAME: Final = "function.py"
CALL_NAME: Final = "call.pickle"
EXCEPTION_NAME: Final = "exception.json"
#: The exit code of a job whose function has raised (EX_SOFTWARE of sysexits.h).
RAISED: Final = 70
_LONGEST_BYTES: Final = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Raised:
    """What a function has raised; ``type_name`` is the class's own name, ``traceback`` may have lost its middle."""

    type_name: str
    message: str
    traceback: str


def read_exception(directory: str) -> Procedure[Raised | None]:
    """Return what the function of the job in ``directory`` has raised, None where it left nothing that can be read.

    Raises:
        UnreadableAnswer: the answer was cut.
    """
    path = f"{shlex.quote(directory)}/{EXCEPTION_NAME}"
    body = f"[ ! -s {path} ] || head -c {_LONGEST_BYTES} {path} | base64 -w0"
    output = yield from ask(shell(body, purpose="reading the function's exception"))
    try:
        content = base64.b64decode(output.stdout, validate=True)
    except ValueError as error:
        raise UnreadableAnswer(f"reading the function's exception: {error}") from error
    return _parse(content)


def _parse(content: bytes) -> Raised | None:
    try:
        told: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None  # the file is the job's own: asking again would show the same
    if not isinstance(told, dict) or not all(isinstance(told.get(k), str) for k in ("type", "message", "traceback")):
        return None
    return Raised(type_name=told["type"], message=told["message"], traceback=told["traceback"])
