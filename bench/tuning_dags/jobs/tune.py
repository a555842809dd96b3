"""An objective that waits most of the time, as one does whose work is done on GPUs."""

from __future__ import annotations

import time
from typing import Any

STEPS = 10


def objective(trial: Any) -> float:
    """Take 1 to 4 s by the parameters, in steps that are reported."""
    x = trial.suggest_float("x", 0, 1)
    seconds = 1 + 3 * trial.suggest_float("size", 0, 1)
    for step in range(STEPS):
        time.sleep(seconds / STEPS)
        trial.report(x * step, step)
    return float(x)
