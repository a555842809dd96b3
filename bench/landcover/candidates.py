"""The transformer's settings that the bench chooses from."""

from __future__ import annotations

from typing import Final

from landcover_jobs.configuration.learning import TransformerSettings

from bench.landcover.cross_validation import Candidate

DEFAULT: Final = Candidate(
    TransformerSettings(width=48, layers=2, dropout=0.1, learning_rate=3e-3, weight_decay=0.01, period_dropout=0.1),
    epochs=40,
    batch=64,
)
LARGER: Final = Candidate(
    TransformerSettings(width=64, layers=3, dropout=0.1, learning_rate=2e-3, weight_decay=0.01, period_dropout=0.1),
    epochs=40,
    batch=64,
)
CANDIDATES: Final = (DEFAULT, LARGER)
