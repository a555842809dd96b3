"""A small transformer encoder over a pixel's year: the model, its file and its predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from landcover_jobs.configuration.learning import TransformerSettings
from landcover_jobs.job import StepError, replacing

DAYS_OF_YEAR = 365.25
PREDICTION_BATCH = 4096


def days_of_periods(periods: int) -> tuple[float, ...]:
    """Return the day of the year in the middle of each of so many equal parts of it."""
    return tuple((number + 0.5) * DAYS_OF_YEAR / periods for number in range(periods))


def day_of_year_encoding(days: Sequence[float], width: int) -> torch.Tensor:
    """Return sines and cosines of days of the year (period, width); 31 December meets 1 January."""
    angle = torch.tensor(list(days), dtype=torch.float64)[:, None] * (2 * math.pi / DAYS_OF_YEAR)
    harmonics = torch.arange(1, width // 2 + 1)[None]
    return torch.cat([torch.sin(angle * harmonics), torch.cos(angle * harmonics)], dim=1).float()


class PixelTransformer(nn.Module):
    """Features of each period in, one logit a class out; hidden periods are not attended to.

    `days` are the days of the year of the periods, in their order, which may begin in any month.
    """

    def __init__(self, features: int, classes: int, days: Sequence[float], settings: TransformerSettings) -> None:
        super().__init__()
        self.features, self.classes, self.days, self.settings = features, classes, tuple(days), settings
        width = settings.width
        self.embed = nn.Linear(features, width)
        self.register_buffer("season", day_of_year_encoding(self.days, width), persistent=False)
        layer = nn.TransformerEncoderLayer(
            width, settings.heads, 2 * width, settings.dropout, activation="gelu", batch_first=True, norm_first=True
        )
        # Random numbers for each pair of periods would take a quarter of the time of a training; the others remain.
        layer.self_attn.dropout = 0.0
        self.encoder = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, features: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Classify float32 (n, period, feature); `hidden` bool (n, period) marks what to leave out, never all."""
        tokens = self.encoder(self.embed(features) + self.season, src_key_padding_mask=hidden)
        pooled = tokens.masked_fill(hidden[..., None], float("-inf")).amax(dim=1)
        logits: torch.Tensor = self.head(self.norm(pooled))
        return logits


def save_transformer(path: Path, model: PixelTransformer) -> None:
    """Store what load_transformer needs to build the model again."""
    content = {
        "features": model.features,
        "classes": model.classes,
        "days": list(model.days),
        "settings": model.settings.model_dump(),
        "weights": {name: tensor.cpu() for name, tensor in model.state_dict().items()},
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_transformer(path: Path) -> PixelTransformer:
    """Build a stored model again, on the processor.

    Raises:
        StepError: it is not there.
    """
    if not path.is_file():
        raise StepError(f"{path} is missing: run the step `train` first")
    stored = torch.load(path, map_location="cpu", weights_only=True)
    settings = TransformerSettings(**stored["settings"])
    model = PixelTransformer(stored["features"], stored["classes"], stored["days"], settings)
    model.load_state_dict(stored["weights"])
    return model.eval()


def probabilities(
    model: PixelTransformer,
    features: npt.NDArray[np.float32],
    hidden: npt.NDArray[np.bool_],
    *,
    batch: int = PREDICTION_BATCH,
) -> npt.NDArray[np.float32]:
    """Return the probability of each class (n, class); the model is left as it was, training or not."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        parts = [
            model(x.to(device), masked.to(device)).float().softmax(dim=1).cpu()
            for x, masked in zip(
                torch.split(torch.from_numpy(features), batch),
                torch.split(torch.from_numpy(hidden), batch),
                strict=True,
            )
        ]
    model.train(was_training)
    said: npt.NDArray[np.float32] = torch.cat(parts).numpy()
    return said
