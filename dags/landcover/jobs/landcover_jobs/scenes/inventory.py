"""The scenes of a map's year: what `search` found, `fetch` fetches and `prepare` reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.job import StepError, write_json
from landcover_jobs.records import key_of


@dataclass(frozen=True)
class Scene:
    """One acquisition: a date, its footprint in degrees and, for each band, its asset and its file."""

    id: str
    date: str  # ISO 8601, UTC
    bbox: tuple[float, float, float, float]  # west, south, east, north
    assets: dict[str, str]  # band (and the cloud mask's band) -> address, as the source names it, unsigned
    content: dict[str, str]  # band -> what the source says of the content (checksum, etag, size, date), "" if nothing

    @property
    def time(self) -> datetime:
        """The date, aware."""
        time = datetime.fromisoformat(self.date)
        return time if time.tzinfo else time.replace(tzinfo=UTC)


def inventory_key(configuration: MapConfiguration, scenes: list[Scene]) -> str:
    """Return a short name of what was asked for and what was found."""
    source = configuration.source.model_dump(mode="json", exclude={"transfer"})
    return key_of({"source": source, "scenes": sorted([scene.id, scene.content] for scene in scenes)})


def write_inventory(path: Path, scenes: list[Scene], key: str) -> None:
    """Write a year's scenes in the order of their dates."""
    ordered = sorted(scenes, key=lambda scene: (scene.date, scene.id))
    write_json(path, {"key": key, "scenes": [asdict(scene) for scene in ordered]})


def read_inventory(path: Path) -> list[Scene]:
    """Read a year's scenes.

    Raises:
        StepError: they were not searched for.
    """
    if not path.is_file():
        raise StepError(f"{path} is missing: run the step `search` for this year first")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return [Scene(**{**each, "bbox": tuple(each["bbox"])}) for each in content["scenes"]]


def scene_folder(scenes: Path, scene: Scene) -> Path:
    """Return the folder of a fetched scene: a file `<band>.tif` (or as the asset ends) for each band."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in scene.id)
    return scenes / safe.lstrip(".")
