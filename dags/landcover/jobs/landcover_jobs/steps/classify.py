"""Classify a tile (an array element) with the better kind of current models; an unchanged tile is not done again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.inference.classifier import threads_here
from landcover_jobs.inference.members import Members, check_models
from landcover_jobs.inference.tile import classify_tile
from landcover_jobs.invocation import Invocation, element_of, invoked
from landcover_jobs.job import StepError, array_element, read_json, run, say
from landcover_jobs.learning.model_set import ModelSet
from landcover_jobs.preparation.normalisation import Normalisation
from landcover_jobs.preparation.year import frozen_normalisation
from landcover_jobs.records import already_made, code_key, key_of, record_made

CODE = (
    "grid.folds",
    "grid.frame",
    "inference.classifier",
    "inference.members",
    "inference.tile",
    "preparation.normalisation",
    "preparation.store",
    "product.predictions",
    "steps.classify",
)


def main() -> dict[str, Any]:
    """Write this element's class probabilities, and a record of from what they were made."""
    given = invoked("classify")
    tiles, mosaic = read_tiles(given.folder)
    names = [tile.name for tile in tiles]
    tile = tiles[names.index(element_of(names, array_element()))]
    models = ModelSet.current(given.folder)
    check_models(models, given.map)
    composites = _composites_key(given, tile)
    normalisation = frozen_normalisation(given.folder, models.key, given.year, tiles)
    target = given.folder.predictions(given.year, tile.name)
    record = target.with_suffix(".json")
    key = _key(given, tile, mosaic, composites=composites, models=models, normalisation=normalisation)
    kept = already_made(record, key)
    if kept is not None:
        say(f"tile {tile.name}, {given.year}: neither composites nor models have changed, its predictions stay")
        return {**_result(kept), "reused": True}
    content = _classify(given, tile, mosaic, models, normalisation)
    record_made(record, key, [target], content)
    return {**_result(content), "reused": False}


def _classify(
    given: Invocation, tile: Tile, mosaic: Frame, models: ModelSet, normalisation: Normalisation
) -> dict[str, Any]:
    members, threads = Members.load(models, given.map.product.vote), threads_here()
    say(f"tile {tile.name}, {given.year}: {models.better}, {threads} threads, {members.first.provider}")
    found = classify_tile(
        given.folder.composites(given.year, tile.name),
        given.folder.predictions(given.year, tile.name),
        tile,
        configuration=given.map,
        mosaic_crs=mosaic.crs,
        normalisation=normalisation,
        members=members,
        threads=threads,
    )
    pixels = dict(zip(given.map.class_names, found.of_class, strict=True))
    counted = ", ".join(f"{name} {count} px" for name, count in pixels.items())
    say(f"tile {tile.name}, {given.year}: {counted}, never seen {found.unseen} px")
    return {
        "tile": tile.name,
        "year": given.year,
        "by": models.better,
        "models": models.key,
        "members": list(members.names),
        "provider": members.first.provider,
        "pixels": pixels,
        "unseen": found.unseen,
    }


def _result(content: dict[str, Any]) -> dict[str, Any]:
    return {name: content[name] for name in ("tile", "year", "by", "pixels", "unseen")}


def _composites_key(given: Invocation, tile: Tile) -> str:
    """Return from what the tile's composites were made, if they are complete."""
    record: Path = given.folder.composites(given.year, tile.name).with_suffix(".json")
    key = str(read_json(record, made_by="prepare")["key"])
    if already_made(record, key) is None:
        raise StepError(f"the composites beside {record} are not those that it tells of: run the step `prepare` again")
    return key


def _key(
    given: Invocation, tile: Tile, mosaic: Frame, *, composites: str, models: ModelSet, normalisation: Normalisation
) -> str:
    """Name all that a tile's predictions depend on."""
    return key_of(
        {
            "composites": composites,
            "models": models.key,
            "by": models.better,
            "normalisation": normalisation.as_dict(),
            "vote": given.map.product.vote,
            "fold_blocks": given.map.validation.block_size,
            "frame": tile.frame.as_dict(),
            "mosaic_crs": mosaic.crs,
            "code": code_key(*CODE),
        }
    )


if __name__ == "__main__":
    run(main)
