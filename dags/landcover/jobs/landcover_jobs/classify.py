"""Classify a tile (an array element) with both kinds of models, every block by models that never saw it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from landcover_jobs.classes import NAMES
from landcover_jobs.job import arguments, array_element, read_json, replacing, run, say
from landcover_jobs.layout import SCENE_SIZE, Layout, check_year
from landcover_jobs.models import MODELS, predict_unseen
from landcover_jobs.scene import load_series, pixel_folds, tile_pixels


def main() -> dict[str, Any]:
    """Write the class probabilities of this element's tile."""
    given = arguments("classify", "year")
    layout, year, tile = Layout(given.data), check_year(given.year), array_element()
    torch.set_num_threads(1)
    better = read_json(layout.training_record, made_by="train")["better"]
    # The whole scene is loaded because a year is standardised over all of it.
    series, pixels = load_series(layout, year), tile_pixels(tile)
    wanted = np.zeros(SCENE_SIZE**2, dtype=bool)
    wanted[pixels] = True
    said = {kind: predict_unseen(layout, kind, series, pixel_folds(), wanted)[pixels] for kind in MODELS}
    with replacing(layout.predictions(year, tile)) as temporary:
        counts = series.observations[pixels].sum(axis=1)
        np.savez_compressed(temporary, allow_pickle=False, observations=counts, **said)
    seen = series.seen[pixels]
    found = np.bincount(said[better][seen].argmax(axis=1), minlength=len(NAMES))
    say(f"tile {tile}, {year}, by {better}: " + ", ".join(f"{n} {c} px" for n, c in zip(NAMES, found, strict=True)))
    return {"tile": tile, "year": year, "by": better, "pixels": dict(zip(NAMES, found.tolist(), strict=True))}


if __name__ == "__main__":
    run(main)
