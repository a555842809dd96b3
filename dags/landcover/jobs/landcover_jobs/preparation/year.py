"""A whole year: the normalisation of all its tiles, computed, or as a set of models saw the year first."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Tile
from landcover_jobs.job import StepError, read_json
from landcover_jobs.preparation.normalisation import Normalisation, Statistics


def normalisation_of(folder: MapFolder, year: int, tiles: Sequence[Tile]) -> Normalisation:
    """Return the means and deviations of a year over all tiles, from the tiles' records.

    Raises:
        StepError: a tile is not prepared, or the year shows no pixel of any.
    """
    records = (folder.composites(year, tile.name).with_suffix(".json") for tile in tiles)
    parts = [Statistics.from_dict(read_json(record, "prepare")["statistics"]) for record in records]
    try:
        return Normalisation.of(parts)
    except ValueError as error:
        raise StepError(
            f"{year} shows no clear pixel in any of {len(parts)} tiles: check composites.cloud_mask,"
            " or whether the scenes of the year hold anything"
        ) from error


def frozen_normalisation(folder: MapFolder, model_key: str, year: int, tiles: Sequence[Tile]) -> Normalisation:
    """Return how a set of models sees a year: as it did first, else of all tiles now, kept from now on.

    Where several jobs come first at the same time, all return what one of them has written.

    Raises:
        StepError: it is not kept, and a tile is not prepared, or the year shows no pixel of any.
    """
    path = folder.normalisation(year, model_key)
    if not path.is_file():
        _write_first(path, normalisation_of(folder, year, tiles))
    return Normalisation.from_dict(json.loads(path.read_text(encoding="utf-8")))


def _write_first(path: Path, normalisation: Normalisation) -> None:
    """Write a file that appears whole, unless it is there: a link, unlike a rename, never replaces."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(normalisation.as_dict()) + "\n")
    temporary = Path(name)
    try:
        temporary.chmod(0o644)
        path.hardlink_to(temporary)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
