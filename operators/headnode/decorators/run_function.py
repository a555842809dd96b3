"""What runs on the cluster around a function: it reads the arguments, calls, and leaves the result or the exception.

Plain Python, 3.6 or newer, with nothing beside the standard library. The job's directory, in which this file is, holds
the function's source (``function.py``) and ``call.pickle``, a dict with the function's name, its args and its kwargs.
"""

import __future__

import json
import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

# EX_SOFTWARE of sysexits.h: neither what a shell says of commands (126, 127, 128 and more) nor RUN_AGAIN (75).
RAISED = 70
_LONGEST_TRACEBACK = 12 * 1024
_LONGEST_MESSAGE = 2 * 1024


def main() -> int:
    """Run the function; return the exit code."""
    directory = Path(__file__).resolve().parent
    left = directory / "exception.json"
    if left.exists():
        left.unlink()  # of a run before the job was requeued
    try:
        result = _call(directory)
        if result is not None:
            Path(os.environ["HEADNODE_RESULT"]).write_text(_as_json(result), encoding="utf-8")
    except Exception as error:  # noqa: BLE001 - whatever a function raises is told
        _leave(left, error)
        return RAISED
    return 0


def _call(directory: Path) -> Any:
    content = (directory / "call.pickle").read_bytes()
    try:
        call = pickle.loads(content)  # nosec B301  # noqa: S301 - Airflow's worker wrote it
    except Exception as error:
        raise RuntimeError(
            f"the arguments can't be read by {sys.executable}, Python {sys.version.split()[0]}, on the cluster"
            f" ({type(error).__name__}: {error}): it needs the modules that their types come from, in fitting versions;"
            " pass plain data, or name the environment that has them with python="
        ) from error
    path = directory / "function.py"
    # Annotations name what is imported in the DAG's file, and so are not read; Python 3.6 can't leave them unread.
    lazily = getattr(__future__, "annotations", None)
    flags = lazily.compiler_flag if lazily is not None else 0
    code = compile(path.read_text(encoding="utf-8"), str(path), "exec", flags, dont_inherit=True)
    # The function lives in __main__, so that processes which it starts find it there.
    names = sys.modules["__main__"].__dict__
    exec(code, names)  # nosec B102  # noqa: S102 - the DAG author's own function
    return names[call["name"]](*call["args"], **call["kwargs"])


def _as_json(result: Any) -> str:
    try:
        return json.dumps(result, default=_plain)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"the function returned a {type(result).__name__} that can't be written as JSON ({error}): return numbers,"
            " texts, lists and dicts, or write a file on the cluster and return its path"
        ) from None


def _plain(value: Any) -> Any:
    # Arrays and numbers of NumPy and its like.
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"there is a {type(value).__name__} in it")


def _leave(path: Path, error: BaseException) -> None:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    sys.stdout.flush()
    sys.stderr.write(text)
    if len(text) > _LONGEST_TRACEBACK:
        text = text[: _LONGEST_TRACEBACK // 4] + "\n[...]\n" + text[-_LONGEST_TRACEBACK * 3 // 4 :]
    message = str(error)[:_LONGEST_MESSAGE]
    if isinstance(error, NameError):
        message += " (the function runs without the DAG's file: import within it, and pass what it uses as arguments)"
    told = {"type": type(error).__name__, "message": message, "traceback": text}
    new = path.with_name(path.name + ".new")
    try:
        new.write_text(json.dumps(told), encoding="utf-8")
        new.rename(path)
    except OSError as failed:
        sys.stderr.write(f"the exception can't be left for Airflow: {failed}\n")


if __name__ == "__main__":
    sys.exit(main())
