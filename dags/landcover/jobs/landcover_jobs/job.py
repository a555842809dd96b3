"""What every step shares: its place in the array, its paths, its result, and files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STARTED = time.monotonic()


class StepError(Exception):
    """A step cannot do its work; the text says why and what to do."""


def say(text: str) -> None:
    """Write a progress line that reaches the log at once."""
    sys.stdout.write(f"[{time.monotonic() - STARTED:6.1f} s] {text}\n")
    sys.stdout.flush()


def array_element() -> int:
    """Return this job's element number, or tell that it runs outside an array."""
    # An array beyond the site's MaxArraySize runs as several, each with Slurm's numbers from 0; headnode's go on.
    text = os.environ.get("HEADNODE_ELEMENT") or os.environ.get("SLURM_ARRAY_TASK_ID", "")
    if not text.isdigit():
        raise StepError("SLURM_ARRAY_TASK_ID is not set: submit this step as an array, or set it to try one element")
    return int(text)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` and move it there once the block has succeeded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file that readers see only complete."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path, made_by: str) -> dict[str, Any]:
    """Read a JSON file of an earlier step, or say which step must run."""
    if not path.is_file():
        raise StepError(f"{path} is missing: run the step `{made_by}` first")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def report(result: Mapping[str, Any]) -> None:
    """Hand the step's result to whoever submitted the job."""
    target = os.environ.get("HEADNODE_RESULT")
    say("result " + json.dumps(result, sort_keys=True))
    if target:
        write_json(Path(target), result)


def run(main: Callable[[], Mapping[str, Any] | None]) -> None:
    """Run a step, report what it returns, and end with its sentence alone where it cannot work."""
    try:
        result = main()
    except StepError as error:
        say(f"cannot go on: {error}")
        raise SystemExit(1) from error
    if result is not None:
        report(result)
