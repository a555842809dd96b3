"""What a training is given and where it is: labelled pixels, the recipe, the progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.learning import TransformerSettings


class Labelled(NamedTuple):
    """Labelled pixels."""

    features: npt.NDArray[np.float32]  # (n, period, feature), normalised
    hidden: npt.NDArray[np.bool_]  # (n, period), never all of a pixel's
    labels: npt.NDArray[np.int64]  # (n,)

    def only(self, rows: npt.NDArray[np.bool_]) -> Labelled:
        """Return some of them."""
        return Labelled(self.features[rows], self.hidden[rows], self.labels[rows])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained; `batch` is of all processes together."""

    settings: TransformerSettings
    epochs: int
    seed: int
    batch: int = 256
    patience_epochs: int | None = None
    score_every: int = 1  # epochs, of the inner fold
    mixed_precision: bool = True


@dataclass(frozen=True)
class Progress:
    """Where a training is: `epoch` is how many are over, `step` how many batches of the next one."""

    epoch: int = 0
    step: int = 0
    loss: float | None = None  # mean of the last whole epoch
    macro_f1: float | None = None  # of the inner fold after it, if it was scored then
    best: float | None = None
    best_epoch: int = 0
