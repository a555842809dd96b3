"""Python files that travel with a job, and the interpreter on the cluster that runs them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from headnode.errors import JobSpecError


def interpreter_words(python: Any) -> list[str]:
    """Return the words that start the interpreter: a program, or a list of a program and its arguments.

    Raises:
        JobSpecError: it is neither.
    """
    words = [python] if isinstance(python, str) else python
    if not isinstance(words, list) or not words or not all(isinstance(each, str) and each for each in words):
        raise JobSpecError("python", f"{python!r} must be a program, or a list of a program and its arguments")
    return words


def content_digest(files: Mapping[str, bytes]) -> str:
    """Return a name for the content of the files, in their order: 64 hexadecimal digits."""
    return hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in files.values())).hexdigest()


def as_text(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the files as a trigger keeps them, in Base64."""
    return {name: base64.b64encode(content).decode() for name, content in files.items()}
