"""A small transformer encoder over a pixel's year, its training on one process or many, and its predictions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

DAYS_OF_YEAR = tuple(15 + 30.4 * month for month in range(12))
BATCH = 256
PREDICTION_BATCH = 4096


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the study tunes."""

    width: int = 32
    layers: int = 2
    heads: int = 4
    dropout: float = 0.1
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    month_dropout: float = 0.1

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


class PixelTransformer(nn.Module):
    """Monthly features in, one logit a class out; months that were never seen are not attended to."""

    def __init__(self, features: int, classes: int, settings: Settings) -> None:
        super().__init__()
        width = settings.width
        self.embed = nn.Linear(features, width)
        self.register_buffer("season", day_of_year_encoding(width), persistent=False)
        layer = nn.TransformerEncoderLayer(
            width, settings.heads, 2 * width, settings.dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, features: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Classify (pixel, month, feature); `hidden` (pixel, month) marks months to leave out."""
        tokens = self.embed(features) + self.season
        tokens = self.encoder(tokens, src_key_padding_mask=hidden)
        pooled = tokens.masked_fill(hidden[..., None], float("-inf")).amax(dim=1)
        logits: torch.Tensor = self.head(self.norm(pooled))
        return logits


def day_of_year_encoding(width: int) -> torch.Tensor:
    """Return sines and cosines of the day of the year (month, width); 31 December meets 1 January."""
    angle = torch.tensor(DAYS_OF_YEAR)[:, None] * (2 * math.pi / 365.25)
    harmonics = torch.arange(1, width // 2 + 1)[None]
    return torch.cat([torch.sin(angle * harmonics), torch.cos(angle * harmonics)], dim=1)


def hidden_months(observations: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Mark the months without any observation; a pixel never seen keeps its (filled) months."""
    hidden = observations == 0
    return np.where(hidden.all(axis=1, keepdims=True), False, hidden)


def drop_months(hidden: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Hide further months at random, as a cloudier year would, but never all of a pixel's."""
    dropped = hidden | (torch.rand(hidden.shape, generator=generator) < share)
    return torch.where(dropped.all(dim=1, keepdim=True), hidden, dropped)


def class_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Weigh rare classes up, by the square root of their rarity."""
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    weights = (counts.sum() / counts).sqrt()
    return weights / weights.mean()


@dataclass(frozen=True)
class Workers:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1


def fit(
    features: npt.NDArray[np.float32],
    hidden: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.int64],
    *,
    classes: int,
    settings: Settings,
    epochs: int,
    seed: int,
    workers: Workers = Workers(),
    after_epoch: Callable[[int, PixelTransformer], None] = lambda _epoch, _model: None,
) -> PixelTransformer:
    """Train a model; with several workers each takes its share of every batch and gradients are averaged."""
    torch.manual_seed(seed)
    model = PixelTransformer(features.shape[2], classes, settings)
    trained: nn.Module = DistributedDataParallel(model) if workers.count > 1 else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps = -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=epochs * steps)
    x, masked, y = torch.from_numpy(features), torch.from_numpy(hidden), torch.from_numpy(labels)
    loss_of = nn.CrossEntropyLoss(class_weights(y, classes), label_smoothing=0.05)
    order = torch.Generator().manual_seed(seed)
    months = torch.Generator().manual_seed(seed * 1000 + workers.rank)
    for epoch in range(epochs):
        model.train()
        # Every worker shuffles alike, then takes each n-th pixel: together they see each pixel once an epoch.
        for batch in torch.split(torch.randperm(len(y), generator=order), BATCH):
            mine = batch[workers.rank :: workers.count]
            optimiser.zero_grad(set_to_none=True)
            loss = loss_of(trained(x[mine], drop_months(masked[mine], settings.month_dropout, months)), y[mine])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        after_epoch(epoch, model)
    return model


def probabilities(
    model: PixelTransformer, features: npt.NDArray[np.float32], hidden: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Return the probability of each class (pixel, class)."""
    model.eval()
    with torch.inference_mode():
        parts = [
            model(x, masked).softmax(dim=1)
            for x, masked in zip(
                torch.split(torch.from_numpy(features), PREDICTION_BATCH),
                torch.split(torch.from_numpy(hidden), PREDICTION_BATCH),
                strict=True,
            )
        ]
    return torch.cat(parts).numpy()
