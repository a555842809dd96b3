"""Everything that a training needs to go on as if it had never stopped, in one file that is whole or not there."""

from __future__ import annotations

import pickle
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landcover_jobs.job import replacing, say

UNREADABLE = (EOFError, OSError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError)


def random_states(device: torch.device, generators: Mapping[str, torch.Generator]) -> dict[str, Any]:
    """Return the states of all generators of random numbers of this process, as tensors and plain values."""
    numpy_state: dict[str, Any] = dict(np.random.get_state(legacy=False))  # noqa: NPY002 - the global one, if any used it
    inner = numpy_state["state"]
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "generators": {name: each.get_state() for name, each in generators.items()},
        "python": random.getstate(),
        "numpy": {
            "bit_generator": str(numpy_state["bit_generator"]),
            "key": torch.from_numpy(np.asarray(inner["key"]).astype(np.int64)),
            "pos": int(inner["pos"]),
            "has_gauss": int(numpy_state["has_gauss"]),
            "gauss": float(numpy_state["gauss"]),
        },
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(
    states: Mapping[str, Any], device: torch.device, generators: Mapping[str, torch.Generator]
) -> None:
    """Put back what random_states returned."""
    torch.set_rng_state(states["torch"])
    for name, each in generators.items():
        each.set_state(states["generators"][name])
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    stored = states["numpy"]
    np.random.set_state(  # noqa: NPY002 - the global one, if any used it
        {
            "bit_generator": stored["bit_generator"],
            "state": {"key": stored["key"].numpy().astype(np.uint32), "pos": stored["pos"]},
            "has_gauss": stored["has_gauss"],
            "gauss": stored["gauss"],
        }
    )
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the checkpoint; whoever is killed in between leaves the one before."""
    with replacing(path) as temporary:
        torch.save(dict(content), temporary)


def read_checkpoint(path: Path, made_for: str) -> dict[str, Any] | None:
    """Return a checkpoint of the training named `made_for`; None, said in the log, where it is of no use."""
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = content["made_for"]
    except UNREADABLE as error:
        say(f"the checkpoint {path} can't be read ({error}): this training begins anew")
        return None
    if found != made_for:
        say(f"the checkpoint {path} is of another training (settings, samples or processes): this one begins anew")
        return None
    return content
