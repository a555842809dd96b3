"""What runs on the cluster when a training ends: it makes the job's result of the metrics that it has printed.

Plain Python, 3.6 or newer, with nothing beside the standard library. Metrics are JSON objects behind ``METRICS``
anywhere in a line of the standard output, of all submissions of the try. ``metric.json`` beside this file says which of
the numbers counts, and whether its ``min`` or ``max`` is best.
"""

# ruff: noqa: UP006, UP035, UP045 - as Python 3.6 has it

import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

MARK = b"METRICS "
MAX_HISTORY_BYTES = 128 * 1024
_LONGEST_LINE = 64 * 1024
_OWNER = re.compile(r"[A-Za-z0-9-]{1,64}")

Metrics = Dict[str, Any]


def main() -> int:
    """Write the result, and say in a line what was best; return the exit code."""
    directory = Path(__file__).resolve().parent
    wanted = json.loads((directory / "metric.json").read_text(encoding="utf-8"))
    metric, mode = wanted["metric"], wanted["mode"]
    history = [each for log in logs(directory) for each in read_metrics(log)]
    best = best_of(history, metric, mode)
    path = Path(os.environ["HEADNODE_RESULT"])
    result = {
        "metric": metric,
        "mode": mode,
        "best": best,
        "last": history[-1] if history else None,
        "history": thinned(history, best),
        "reported": len(history),
        "result": None,
    }  # type: Metrics
    if path.exists():
        try:
            result["result"] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return 0  # it is said to be no JSON when it is read
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(result), encoding="utf-8")
    new.rename(path)
    sys.stdout.write(summary(history, best, metric) + "\n")
    return 0


def logs(directory: Path) -> Iterator[Path]:
    """Yield the logs of all submissions of the try, those first whose checkpoint it has taken over."""
    owner, _, number = directory.name.rpartition("-")
    own = [directory.with_name(f"{owner}-{each}") for each in range(1, int(number) + 1)]
    earlier = None  # type: Optional[str]
    for each in own:
        left = each / "checkpoint_of"
        if left.exists() and _OWNER.fullmatch(left.read_text().strip()):
            earlier = left.read_text().strip()
    if earlier is not None:
        others = directory.parent.glob(earlier + "-*")
        own = sorted((each for each in others if each.name[len(earlier) + 1 :].isdigit()), key=_number) + own
    for each in own:
        if (each / "output.log").exists():
            yield each / "output.log"


def read_metrics(log: Path) -> Iterator[Metrics]:
    """Yield what the lines of a log report, in their order, with the number of the submission."""
    decoder = json.JSONDecoder()
    with log.open("rb") as lines:
        for line in lines:
            # Several processes may have written into one line.
            for part in line[:_LONGEST_LINE].split(MARK)[1:]:
                try:
                    value, _ = decoder.raw_decode(part.decode("utf-8", "replace").lstrip())
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, dict):
                    yield {"submission": _number(log.parent), **_plain(value)}


def best_of(history: List[Metrics], metric: str, mode: str) -> Optional[Metrics]:
    """Return the first of the best, None where none has a finite number for the metric."""
    known = [each for each in history if _is_number(each.get(metric))]
    if not known:
        return None
    return (min if mode == "min" else max)(known, key=lambda each: each[metric])


def thinned(history: List[Metrics], best: Optional[Metrics]) -> List[Metrics]:
    """Return the history, of a long one every second (fourth, ...) entry, with the best and the last."""
    step = 1
    kept = history
    while len(json.dumps(kept)) > MAX_HISTORY_BYTES and len(kept) > 2:  # noqa: PLR2004
        step *= 2
        last = len(history) - 1
        kept = [each for at, each in enumerate(history) if at % step == 0 or at == last or each is best]
    return kept


def summary(history: List[Metrics], best: Optional[Metrics], metric: str) -> str:
    """Return the line for the log."""
    if best is not None:
        return f"best {metric}: {json.dumps(best)}, of {len(history)} lines of metrics"
    if not history:
        return f'no metrics: the job has printed no line such as METRICS {{"epoch": 1, "{metric}": 0.5}}'
    names = ", ".join(sorted({str(name) for each in history for name in each}))[:500]
    return f"none of {len(history)} lines of metrics has a number for {metric}; they have {names}"


def _plain(value: Any) -> Any:
    """Return it without what is no JSON (NaN, Infinity) or no number of 64 bits."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(directory: Path) -> int:
    return int(directory.name.rpartition("-")[2])


if __name__ == "__main__":
    sys.exit(main())
