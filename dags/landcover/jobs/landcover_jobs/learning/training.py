"""Training the transformer, on one process or many, so that being stopped and going on changes no bit of the weights.

After each epoch, and when asked to stop also between two batches, all that the training consists of is saved: weights,
optimiser, schedule, position, and the states of all random generators of every process. With as many processes and
threads, on the same kind of processor, a training that was killed and goes on ends with the weights of one that was
not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from landcover_jobs.job import say
from landcover_jobs.learning.checkpoint import (
    random_states,
    read_checkpoint,
    set_random_states,
    write_checkpoint,
)
from landcover_jobs.learning.recipe import Labelled, Progress, Recipe
from landcover_jobs.learning.transformer import PixelTransformer, probabilities
from landcover_jobs.learning.workers import Workers, reproducible
from landcover_jobs.records import key_of
from landcover_jobs.validation.accuracy import confusion, macro_f1

LABEL_SMOOTHING = 0.05
LONGEST_GRADIENT = 1.0
# Whether anyone was asked to stop is a message between processes, so not of every batch.
BATCHES_BETWEEN_QUESTIONS = 8


class Interrupted(Exception):
    """The training was asked to stop, and has saved all that it needs to go on."""


ALONE = Workers()
AfterEpoch = Callable[[Progress], None]


def fit(
    samples: Labelled,
    *,
    classes: int,
    days: Sequence[float],
    recipe: Recipe,
    inner: Labelled | None = None,
    workers: Workers = ALONE,
    checkpoint: Path | None = None,
    after_epoch: AfterEpoch = lambda _progress: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> PixelTransformer:
    """Train a model; of every batch each process takes its share, and gradients are those of the whole batch.

    With `patience_epochs` the weights are those of the epoch that was best on `inner`. `after_epoch` is called on every
    process once an epoch is saved, and once more where a training goes on after it.

    Raises:
        Interrupted: `interrupted` said so on some process; what is in `checkpoint` goes on from here.
    """
    training = _Training(samples, classes, days, recipe, workers=workers, inner=inner)
    training.begin(checkpoint)
    if training.progress.epoch and not training.progress.step:
        after_epoch(training.progress)
    while not training.over:
        training.run_epoch(checkpoint, interrupted)
        after_epoch(training.progress)
        if not training.over and workers.any_says(interrupted()):
            raise Interrupted
    return training.finished()


def drop_periods(hidden: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Hide further periods at random, as a cloudier year would, but never all of a pixel's."""
    dropped = hidden | (torch.rand(hidden.shape, generator=generator) < share)
    return torch.where(dropped.all(dim=1, keepdim=True), hidden, dropped)


def class_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Weigh rare classes up, by the square root of their rarity; those that are not there count nothing."""
    counts = torch.bincount(labels, minlength=classes).float()
    weights = torch.where(counts > 0, (counts.sum() / counts.clamp(min=1)).sqrt(), 0.0)
    return weights / weights[counts > 0].mean()


def reduced_precision(device: torch.device, *, wanted: bool) -> torch.dtype | None:
    """Return the type to compute in beside float32, None for float32 alone.

    On processors it is float32 alone: with bfloat16 (AVX-512) a step of these small models took only 3 to 12 % less.
    """
    if not wanted or device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


class _Training:
    """A model, what changes it, and where it is."""

    def __init__(
        self,
        samples: Labelled,
        classes: int,
        days: Sequence[float],
        recipe: Recipe,
        *,
        workers: Workers,
        inner: Labelled | None,
    ) -> None:
        reproducible()
        torch.manual_seed(recipe.seed)
        self.recipe, self.workers, self.inner, self.progress = recipe, workers, inner, Progress()
        device, settings = workers.device, recipe.settings
        self.x, self.masked, self.y = (torch.from_numpy(np.ascontiguousarray(each)) for each in samples)
        self.model = PixelTransformer(samples.features.shape[2], classes, days, settings).to(device)
        self.parallel: nn.Module = self.model
        if workers.count > 1:
            places = [device] if device.type == "cuda" else None
            self.parallel = DistributedDataParallel(self.model, device_ids=places, broadcast_buffers=False)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        steps = -(-len(self.y) // recipe.batch) * recipe.epochs
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimiser, settings.learning_rate, total_steps=steps)
        self.precision = reduced_precision(device, wanted=recipe.mixed_precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision is torch.float16)
        self.weights = class_weights(self.y, classes).to(device)
        self.order = torch.Generator().manual_seed(recipe.seed)
        self.hiding = torch.Generator().manual_seed(recipe.seed * 1000 + workers.rank)
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.best_weights: dict[str, torch.Tensor] | None = None
        # From here on processes differ: each drops other parts of its share.
        torch.manual_seed(recipe.seed * 1000 + 1 + workers.rank)

    @property
    def over(self) -> bool:
        """Whether all epochs are done, or the inner fold has not improved for too long."""
        now, patience = self.progress, self.recipe.patience_epochs
        tired = patience is not None and now.best is not None and now.epoch - now.best_epoch >= patience
        return now.epoch >= self.recipe.epochs or (tired and not now.step)

    @property
    def name(self) -> str:
        """A short name of what is trained and by how many."""
        labels = hashlib.sha256(self.y.numpy().tobytes()).hexdigest()
        recipe = {**vars(self.recipe), "settings": self.recipe.settings.model_dump()}
        shape, days = list(self.x.shape), list(self.model.days)
        parts = {"recipe": recipe, "labels": labels, "shape": shape, "days": days, "precision": str(self.precision)}
        return key_of({**parts, "processes": self.workers.count, "device": self.workers.device.type})

    def run_epoch(self, checkpoint: Path | None, interrupted: Callable[[], bool]) -> None:
        """Show each pixel once, judge, save.

        Raises:
            Interrupted: in the middle, once the state is saved.
        """
        before = self.order.get_state()
        # Every process shuffles alike, then takes each n-th pixel of a batch.
        batches = torch.split(torch.randperm(len(self.y), generator=self.order), self.recipe.batch)
        self.model.train()
        for step, batch in enumerate(batches):
            if step < self.progress.step:
                continue
            self._learn(batch)
            self.progress = replace(self.progress, step=step + 1)
            if self._asked(step, interrupted) and step + 1 < len(batches):
                self._save(checkpoint, before)
                raise Interrupted
        self._end_epoch(len(batches))
        self._save(checkpoint, self.order.get_state())

    def _asked(self, step: int, interrupted: Callable[[], bool]) -> bool:
        if self.workers.count > 1 and (step + 1) % BATCHES_BETWEEN_QUESTIONS:
            return False
        return self.workers.any_says(interrupted())

    def _learn(self, batch: torch.Tensor) -> None:
        device, mine = self.workers.device, batch[self.workers.rank :: self.workers.count]
        hidden = drop_periods(self.masked[mine], self.recipe.settings.period_dropout, self.hiding)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=self.precision, enabled=self.precision is not None):
            logits = self.parallel(self.x[mine].to(device), hidden.to(device))
        total = functional.cross_entropy(
            logits.float(), self.y[mine].to(device), self.weights, reduction="sum", label_smoothing=LABEL_SMOOTHING
        )
        # By the weight of the whole batch: the mean over the processes is its loss, however it was shared out.
        loss = total * self.workers.count / self.weights[self.y[batch].to(device)].sum()
        torch.autograd.backward(self.scaler.scale(loss))
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.model.parameters(), LONGEST_GRADIENT)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.schedule.step()
        self.loss += loss.detach()

    def _end_epoch(self, batches: int) -> None:
        epoch, now = self.progress.epoch + 1, self.progress
        loss = self.workers.sum(float(self.loss.item())) / self.workers.count / batches
        self.loss.zero_()
        score = self._score(epoch)
        best, best_epoch = now.best, now.best_epoch
        if score is not None and (best is None or score > best):
            best, best_epoch = score, epoch
            self.best_weights = {name: each.detach().cpu().clone() for name, each in self.model.state_dict().items()}
        self.progress = Progress(epoch, 0, loss, score, best, best_epoch)

    def _score(self, epoch: int) -> float | None:
        if self.inner is None or (epoch % self.recipe.score_every and epoch != self.recipe.epochs):
            return None
        score = 0.0
        if self.workers.first:
            said = probabilities(self.model, self.inner.features, self.inner.hidden).argmax(axis=1)
            score = macro_f1(confusion(self.inner.labels, said, self.model.classes))
        return self.workers.first_says(score)

    def finished(self) -> PixelTransformer:
        """Return the model as it is to be used."""
        if self.recipe.patience_epochs is not None and self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
        return self.model.eval()

    def _generators(self) -> dict[str, torch.Generator]:
        return {"hiding": self.hiding}

    def _save(self, checkpoint: Path | None, order: torch.Tensor) -> None:
        if checkpoint is None:
            return
        mine = {"random": random_states(self.workers.device, self._generators()), "loss": self.loss.cpu()}
        each = self.workers.of_all(mine)
        if not self.workers.first:
            return
        state: dict[str, Any] = {
            "made_for": self.name,
            "progress": vars(self.progress),
            "threads": torch.get_num_threads(),
            "model": self.model.state_dict(),
            "best_weights": self.best_weights,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "order": order,
            "each": each,
        }
        write_checkpoint(checkpoint, state)

    def begin(self, checkpoint: Path | None) -> None:
        """Go on from a checkpoint, where there is one of this training."""
        # The first process looks, since what others see of a shared file system may be older.
        stored = None
        if checkpoint is not None and self.workers.first:
            stored = read_checkpoint(checkpoint, self.name)
        stored = self.workers.first_says(stored)
        if stored is None:
            return
        mine = stored["each"][self.workers.rank]
        self.model.load_state_dict(stored["model"])
        self.best_weights = stored["best_weights"]
        self.optimiser.load_state_dict(stored["optimiser"])
        self.schedule.load_state_dict(stored["schedule"])
        self.scaler.load_state_dict(stored["scaler"])
        self.order.set_state(stored["order"])
        self.loss.copy_(mine["loss"])
        set_random_states(mine["random"], self.workers.device, self._generators())
        self.progress = Progress(**stored["progress"])
        if self.workers.first:
            self._tell(stored["threads"])

    def _tell(self, saved_threads: int) -> None:
        now, threads = self.progress, torch.get_num_threads()
        say(f"going on after epoch {now.epoch} of {self.recipe.epochs}" + (f", batch {now.step}" if now.step else ""))
        if saved_threads != threads:
            say(f"{threads} threads now, {saved_threads} before: weights may differ from those of an unbroken training")
