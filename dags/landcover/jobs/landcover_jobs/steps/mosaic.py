"""Put a year's tiles together: the map's layers, and what has changed since the map of the year before.

`mosaic.json` has, beside its key: `year`, `by` (kind of the models) and `models` (their key), `pixels` and `hectares`
(of each class, by name), `no_data_pixels`, `pixel_metres`, `layers` (file, bands, sha256), `tiles` (name: key of its
predictions), `previous` (year and version that `change.tif` compares with, or null), `change` (see
`product.change.Transitions.as_dict`, or null) and `change_note` (why there is none, or that it was resampled).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landcover_jobs.configuration.map_configuration import NO_DATA
from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.invocation import Invocation, invoked
from landcover_jobs.job import StepError, read_json, run, say
from landcover_jobs.learning.model_set import ModelSet
from landcover_jobs.product.change import Previous, incomparable, previous_map, write_change
from landcover_jobs.product.counting import SQUARE_METRES_OF_HECTARE, Counts, hectares_of_rows
from landcover_jobs.product.layers import CHANGE, CHANGE_FILE, RECORD_FILE, Layer, tags_of
from landcover_jobs.product.mosaic import Source, threads_allowed, write_layers
from landcover_jobs.records import already_made, code_key, file_sha256, key_of, record_made

RESULT = ("year", "by", "pixels", "hectares", "no_data_pixels", "previous", "change_note")


def main() -> dict[str, Any]:
    """Write the year's layers, and a record of from what they were made."""
    given = invoked("mosaic")
    tiles, frame = read_tiles(given.folder)
    models = ModelSet.current(given.folder)
    keys = {tile.name: _predictions_key(given, tile, models) for tile in tiles}
    previous = previous_map(given.folder, given.year)
    record = given.folder.mosaic(given.year) / RECORD_FILE
    key = _key(given, frame, keys, models, previous)
    kept = already_made(record, key)
    if kept is not None:
        say(f"{given.year}: no tile has changed, the mosaic stays")
        return _result(kept, record.parent, reused=True)
    content = _made(given, tiles, frame, models, previous)
    files = _moved(given, record)
    record_made(record, key, files, content | {"tiles": keys})
    return _result(content, record.parent, reused=False)


def _made(
    given: Invocation, tiles: Sequence[Tile], frame: Frame, models: ModelSet, previous: Previous | None
) -> dict[str, Any]:
    """Write all layers into a new folder beside the old one, and return what the record says of them."""
    folder, classes = _new(given), len(given.map.classes)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sources = [Source.checked(tile, given.folder.predictions(given.year, tile.name), frame, classes) for tile in tiles]
    tags = tags_of(given.map, given.year, f"{models.better} {models.key}")
    say(f"{given.year}: {len(tiles)} tiles, {frame.height} x {frame.width} pixels in {frame.crs}")
    layers, counts = write_layers(folder, frame, sources, given.map, tags, threads=threads_allowed())
    changed = _changes(given, folder, frame, previous, tags)
    if changed["change"] is not None:
        layers = (*layers, CHANGE)
    described = [_described(folder, layer) for layer in layers]
    by = {"year": given.year, "by": models.better, "models": models.key}
    return by | _amounts(given, frame, counts) | changed | {"layers": described}


def _changes(
    given: Invocation, folder: Path, frame: Frame, previous: Previous | None, tags: dict[str, str]
) -> dict[str, Any]:
    reason = incomparable(previous, given.map)
    if previous is None or reason is not None:
        say(f"{given.year}: no change layer: {reason}")
        return {"previous": None, "change": None, "change_note": reason}
    since = {"CHANGE_SINCE": f"{previous.year} {previous.version}"}
    change = write_change(folder, frame, previous, given.map, tags | since).as_dict(given.map, frame)
    note = f"the map of {previous.year} has another frame and was resampled, nearest" if change["resampled"] else None
    say(
        f"{given.year}: {change['changed_pixels']} pixels changed since {previous.year} ({previous.version}), "
        f"{change['below_least_pixels']} more in patches below {change['least_pixels']} pixels"
        + (f"; {note}" if note else "")
    )
    return {"previous": previous.named(), "change": change, "change_note": note}


def _amounts(given: Invocation, frame: Frame, counts: Counts) -> dict[str, Any]:
    pixel_hectares = float(hectares_of_rows(frame).mean())
    return {
        "pixels": {each.name: int(counts.pixels[each.value]) for each in given.map.classes},
        "hectares": {each.name: round(float(counts.hectares[each.value]), 4) for each in given.map.classes},
        "no_data_pixels": int(counts.pixels[NO_DATA]),
        "pixel_metres": (pixel_hectares * SQUARE_METRES_OF_HECTARE) ** 0.5,
    }


def _described(folder: Path, layer: Layer) -> dict[str, Any]:
    return {"file": layer.file, "bands": list(layer.bands), "sha256": file_sha256(folder / layer.file)}


def _moved(given: Invocation, record: Path) -> list[Path]:
    """Let the new layers take the old ones' place; a step killed in between leaves no record, so it is done again.

    The figures of the old layers go first: they must never be taken for those of the new ones.
    """
    new = _new(given)
    record.parent.mkdir(parents=True, exist_ok=True)
    for old in (given.folder.validation(given.year), record, record.parent / CHANGE_FILE):
        old.unlink(missing_ok=True)
    files = [path.replace(record.parent / path.name) for path in sorted(new.iterdir())]
    new.rmdir()
    return files


def _new(given: Invocation) -> Path:
    folder = given.folder.mosaic(given.year)
    return folder.with_name(f".{folder.name}.new")


def _predictions_key(given: Invocation, tile: Tile, models: ModelSet) -> str:
    """Return from what a tile's predictions were made, if they are complete and by the current models."""
    record = given.folder.predictions(given.year, tile.name).with_suffix(".json")
    again = f"run the step `classify` for the tile {tile.name} and {given.year}"
    if not record.is_file():
        raise StepError(f"{record} is missing: {again} first")
    stored = read_json(record, made_by="classify")
    if already_made(record, str(stored.get("key"))) is None:
        raise StepError(f"the predictions beside {record} are not those that it tells of: {again} again")
    made_by, current = (stored.get("by"), stored.get("models")), (models.better, models.key)
    if made_by != current:
        raise StepError(
            f"the tile {tile.name} was classified by {' '.join(map(str, made_by))}, but the current models are "
            f"{' '.join(current)}: {again} again"
        )
    return str(stored["key"])


def _key(
    given: Invocation, frame: Frame, predictions: dict[str, str], models: ModelSet, previous: Previous | None
) -> str:
    """Name all that a year's layers depend on."""
    return key_of(
        {
            "predictions": predictions,
            "frame": frame.as_dict(),
            "by": models.better,
            "tags": tags_of(given.map, given.year, models.key),
            "classes": [each.model_dump(mode="json") for each in given.map.classes],
            "least_change_pixels": given.map.product.least_change_pixels,
            "previous": previous.named() if previous is not None else None,
            "code": code_key("product", "steps.mosaic", "grid.frame"),
        }
    )


def _result(content: dict[str, Any], folder: Path, *, reused: bool) -> dict[str, Any]:
    change = content["change"]
    changed = {"changed_pixels": change["changed_pixels"] if change is not None else None}
    return {name: content[name] for name in RESULT} | changed | {"folder": str(folder), "reused": reused}


if __name__ == "__main__":
    run(main)
