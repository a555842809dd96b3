"""Train on made-up pixels, alone or by torchrun: checkpoint after each epoch, weights at the end, 75 when warned.

However late its reader is, it goes no further than asked before it is warned or killed.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from landcover_jobs.configuration.learning import TransformerSettings
from landcover_jobs.learning.recipe import Labelled, Recipe
from landcover_jobs.learning.training import Interrupted, fit
from landcover_jobs.learning.transformer import days_of_periods, probabilities
from landcover_jobs.learning.workers import joined

PIXELS = 600


def made_up_pixels():
    """Return pixels of three classes that differ in summer, two composites of each hidden."""
    random = np.random.default_rng(5)
    labels = random.integers(0, 3, PIXELS)
    features = random.normal(size=(PIXELS, 12, 4)).astype(np.float32)
    features[:, 5:8, 0] += 2.5 * (labels[:, None] - 1)
    hidden = np.zeros((PIXELS, 12), dtype=bool)
    hidden[np.arange(PIXELS), random.integers(0, 12, PIXELS)] = True
    return Labelled(features, hidden, labels)


def say(line):
    """Write a line as one piece: torchrun has Python print its end by itself, and another process's may be between."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main():
    """Train, and tell where it is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--hold-after", type=int, help="the epoch after which to wait for a warning")
    given = parser.parse_args()
    warned = []
    signal.signal(signal.SIGUSR1, lambda *_: warned.append(1))

    def tell(progress):
        say(f"epoch {progress.epoch}")
        while progress.epoch == given.hold_after and not warned:
            time.sleep(0.02)

    samples = made_up_pixels()
    with joined() as workers:
        say(f"pid {os.getpid()}")
        try:
            model = fit(
                samples,
                classes=3,
                days=days_of_periods(12),
                recipe=Recipe(
                    settings=TransformerSettings(width=16, layers=1, heads=2, learning_rate=5e-3),
                    epochs=given.epochs,
                    seed=3,
                    batch=64,
                ),
                workers=workers,
                checkpoint=given.folder / "checkpoint.pt",
                after_epoch=tell,
                interrupted=lambda: bool(warned),
            )
        except Interrupted:
            sys.exit(75)
        if workers.first:
            right = (probabilities(model, samples.features, samples.hidden).argmax(axis=1) == samples.labels).mean()
            torch.save({"weights": model.state_dict(), "right": float(right)}, given.folder / "model.pt")


main()
