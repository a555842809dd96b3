"""Maps as `mosaic` and `validate` leave them: real files, written by the pipeline's own code, of invented land."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from landcover_jobs.configuration.map_configuration import NO_DATA, MapConfiguration
from landcover_jobs.configuration.reading import parse_map
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.frame import Frame
from landcover_jobs.job import write_json
from landcover_jobs.learning.model_set import ModelSet
from landcover_jobs.product.change import incomparable, previous_map, write_change
from landcover_jobs.product.counting import Counts
from landcover_jobs.product.layers import (
    CHANGE,
    CONFIDENCE,
    CONFIDENCE_NO_DATA,
    OBSERVATIONS,
    RECORD_FILE,
    Layer,
    class_layer,
    new_draft,
    publishable,
    tags_of,
)
from landcover_jobs.publishing.publication import Outcome, publish
from landcover_jobs.publishing.sources import Product, read_product
from landcover_jobs.records import file_sha256, record_made
from landcover_jobs.scenes.inventory import Scene, write_inventory
from landcover_jobs.validation.accuracy import confusion, scores_with_groups
from landcover_jobs.validation.judging import Evidence, judged
from landcover_jobs.validation.points import PointsFound

VALUES = (10, 20, 30, 80)
MODELS = "0123456789abcdef"


def described(**changes: Any) -> dict[str, Any]:
    """Return the text of a map's configuration, with changes."""
    return {
        "name": "valley",
        "title": "Land cover of the valley",
        "description": "A test of land, forest and water.",
        "area": {"bounds": [5271980, 2521000, 5283980, 2533000]},
        "grid": {"kind": "regular", "crs": "EPSG:3035", "resolution": 20, "tile_pixels": 256},
        "years": {"first": 2016, "last": 2020},
        "source": {"kind": "stac", "url": "https://stac.example.org/v1", "collection": "sentinel-2-l2a"},
        "bands": {"B4": {}, "B8": {}},
        "composites": {"cloud_mask": {"band": "SCL", "clear": [4, 5, 7]}},
        "classes": [
            {"value": 10, "name": "Forest", "colour": "#1b6e3c"},
            {"value": 20, "name": "Grassland", "colour": "#c5d86d"},
            {"value": 30, "name": "Cropland", "colour": "#e8a33d"},
            {"value": 80, "name": "Water", "colour": "#3a7ca5"},
        ],
        "old_map": {"path": "{data}/old.tif", "year": 2018, "legend": [{"becomes": 10, "values": [1]}]},
        "validation": {"block_size": 200, "least_overall_accuracy": 0.8},
    } | changes


def land(size: int, seed: int = 1) -> npt.NDArray[np.uint8]:
    """Return class values (y, x): smooth patches, a river, and a corner that was never seen."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:size, 0:size] / size
    height = np.zeros((size, size))
    for _ in range(12):
        row, column, wide = random.uniform(0, 1), random.uniform(0, 1), random.uniform(0.08, 0.25)
        height += random.uniform(-1, 1) * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * wide**2))
    values = np.array(VALUES[:3], dtype=np.uint8)[np.digitize(height, np.quantile(height, [0.35, 0.7]))]
    values[np.abs(columns - 0.55 - 0.12 * np.sin(6 * rows)) < 0.025] = 80
    values[: max(size // 12, 1), : max(size // 12, 1)] = NO_DATA
    return values


@dataclass
class Maps:
    """A data folder, and what earlier steps would have put there."""

    configuration: MapConfiguration
    folder: MapFolder

    def reconfigured(self, **changes: Any) -> "Maps":
        """Return the same folder under another configuration."""
        return Maps(parse_map(described(**changes), "test"), self.folder)

    def prepared(self, year: int, values: npt.NDArray[np.uint8], *, points: bool = True) -> Product:
        """Write a year's mosaic, validation and scenes, and return what `publish` reads of them."""
        home = self.folder.mosaic(year)
        home.mkdir(parents=True, exist_ok=True)
        frame = Frame("EPSG:3035", 5271980.0, 2533000.0, 20.0, *values.shape)
        tags = tags_of(self.configuration, year, f"random_forest {MODELS}")
        seen = values != NO_DATA
        rows, columns = np.mgrid[0 : values.shape[0], 0 : values.shape[1]] / max(values.shape)
        shade = 78 + 20 * np.sin(9 * rows) * np.cos(7 * columns)
        written: list[Layer] = []
        for layer, pixels in (
            (class_layer(self.configuration), values),
            (CONFIDENCE, np.where(seen, shade, CONFIDENCE_NO_DATA)),
            (OBSERVATIONS, np.where(seen, shade / 6, 0)),
        ):
            self._write(layer, pixels.astype(np.uint8), frame, home, tags)
            written.append(layer)
        change = self._change(year, home, frame, tags)
        if change["change"] is not None:
            written.append(CHANGE)
        counts = Counts(frame)
        counts.add(values, next(iter(frame.blocks(max(frame.shape)))))
        content = change | {
            "year": year, "by": "random_forest", "models": MODELS, "no_data_pixels": int(counts.pixels[NO_DATA]),
            "pixels": {each.name: int(counts.pixels[each.value]) for each in self.configuration.classes},
            "hectares": {each.name: float(counts.hectares[each.value]) for each in self.configuration.classes},
            "pixel_metres": 20.0, "tiles": {"all": f"{year}"},
            "layers": [
                {"file": each.file, "bands": list(each.bands), "sha256": file_sha256(home / each.file)}
                for each in written
            ],
        }  # fmt: skip
        record_made(home / RECORD_FILE, f"key-{year}", [home / each.file for each in written], content)
        self._validate(year, content, points=points)
        for each in self.configuration.years_needed(year):
            write_inventory(self.folder.inventory(each), [scene(each, number) for number in range(24)], "key")
        return read_product(self.configuration, self.folder, year)

    def published(self, year: int, values: npt.NDArray[np.uint8], **options: Any) -> Outcome:
        """Prepare a year and publish it."""
        return publish(self.prepared(year, values, **options), self.folder)

    def _write(
        self, layer: Layer, pixels: npt.NDArray[np.uint8], frame: Frame, home: Path, tags: dict[str, str]
    ) -> None:
        draft = home / "draft.tif"
        with new_draft(draft, layer, frame) as file:
            file.write(pixels, 1)
        publishable(draft, home / layer.file, layer, tags)
        draft.unlink()

    def _change(self, year: int, home: Path, frame: Frame, tags: dict[str, str]) -> dict[str, Any]:
        previous = previous_map(self.folder, year)
        reason = incomparable(previous, self.configuration)
        if previous is None or reason is not None:
            return {"previous": None, "change": None, "change_note": reason}
        change = write_change(home, frame, previous, self.configuration, tags).as_dict(self.configuration, frame)
        return {"previous": previous.named(), "change": change, "change_note": None}

    def _validate(self, year: int, mosaic: dict[str, Any], *, points: bool) -> None:
        configuration, classes = self.configuration, self.configuration.classes
        random = np.random.default_rng(7)
        mapped = random.integers(0, len(classes), 600)
        wrong = random.random(600) < 0.08
        reference = np.where(wrong, random.integers(0, len(classes), 600), mapped)
        matrix = confusion(reference, mapped, len(classes))
        scores = scores_with_groups(
            matrix, configuration.class_names, configuration.class_values, configuration.validation.groups
        )
        record = {"better": "random_forest", "scores": {"random_forest": scores}}
        content = judged(
            Evidence(
                configuration=configuration,
                year=year,
                models=ModelSet(self.folder.models(MODELS), record),
                mapped_pixels=np.array(list(mosaic["pixels"].values()), dtype=np.int64),
                pixel_metres=20.0,
                by_fold=None,
                points=PointsFound(matrix, matrix, 0, 0) if points else None,
                previous_year=mosaic["previous"]["year"] if mosaic["previous"] else None,
                change=mosaic["change"],
            )
        )
        write_json(self.folder.validation(year), {"key": "key", "outputs": {}, **content})


def scene(year: int, number: int) -> Scene:
    """Return one of a year's scenes."""
    name = f"S2A_{year}{number // 2 + 1:02d}{1 + 14 * (number % 2):02d}_35TLL"
    assets = {band: f"https://data.example.org/{name}/{band}.tif" for band in ("B4", "B8", "SCL")}
    date = f"{year}-{number // 2 + 1:02d}-{1 + 14 * (number % 2):02d}T09:10:31Z"
    return Scene(name, date, (24.1, 45.4, 24.3, 45.6), assets, dict.fromkeys(assets, ""))


@pytest.fixture(scope="session")
def make_maps() -> Callable[[Path], Maps]:
    """Return what opens the data folder of a map of four classes."""
    return lambda folder: Maps(parse_map(described(), "test"), MapFolder(folder / "data" / "valley"))


@pytest.fixture
def maps(make_maps: Callable[[Path], Maps], tmp_path: Path) -> Maps:
    """Return an empty data folder."""
    return make_maps(tmp_path)


@pytest.fixture(scope="session")
def make_land() -> Callable[..., npt.NDArray[np.uint8]]:
    """Return what invents land."""
    return land


@pytest.fixture
def make_description() -> Callable[..., dict[str, Any]]:
    """Return what writes a configuration."""
    return described


@pytest.fixture(autouse=True)
def _outside_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "LANDCOVER_", "HEADNODE_")):
            monkeypatch.delenv(name)
