"""What `mosaic` and `validate` have left of a year's map, read and checked before anything is published."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.job import StepError, read_json
from landcover_jobs.product.layers import CHANGE_FILE, CLASSES_FILE, CONFIDENCE_FILE, OBSERVATIONS_FILE, RECORD_FILE
from landcover_jobs.publishing.scores import Scores
from landcover_jobs.records import code_key, file_sha256, key_of

NEEDED = (CLASSES_FILE, CONFIDENCE_FILE, OBSERVATIONS_FILE)
TEMPLATE = Path(__file__).with_name("report.html.j2")
OF_RECORDS = ("key", "outputs", "mosaic")  # from what it was made, which may differ where the content does not
# What bears neither on the pixels nor on the texts of a version.
BESIDE_THE_MAP: Any = {
    "schedule": True, "resources": True, "years": True, "product": {"keep_versions"}, "source": {"transfer"},
    "tuning": {"workers"},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Product:
    """A year's map before it is published."""

    configuration: MapConfiguration
    year: int
    folder: Path
    mosaic: dict[str, Any]
    validation: dict[str, Any]

    @property
    def layers(self) -> dict[str, str]:
        """The files and their SHA-256, as `mosaic` has noted them."""
        return {str(layer["file"]): str(layer["sha256"]) for layer in self.mosaic["layers"]}

    @property
    def has_change(self) -> bool:
        """Whether there is a map before to compare with."""
        return CHANGE_FILE in self.layers

    @property
    def previous(self) -> dict[str, Any] | None:
        """Year and version of the map that the change layer is against."""
        found: dict[str, Any] | None = self.mosaic["previous"]
        return found

    @property
    def model(self) -> dict[str, str]:
        """Which models drew the map."""
        return {"kind": str(self.mosaic["by"]), "key": str(self.mosaic["models"])}

    @property
    def hectares(self) -> dict[str, float]:
        """The mapped area of each class."""
        return {str(name): float(area) for name, area in self.mosaic["hectares"].items()}

    @property
    def scores(self) -> Scores:
        """How good the map is."""
        return Scores.of(self.validation)

    @property
    def lineage(self) -> str:
        """How the map was made, in sentences."""
        configuration, kind = self.configuration, self.model["kind"].replace("_", " ")
        period = "monthly" if configuration.composites.period == "month" else "ten-day"
        labels = (
            f"given samples of {configuration.training_year}"
            if configuration.samples.given is not None
            else f"the land-cover map of {configuration.training_year} that it updates"
        )
        return (
            f"Clouds were masked, and {period} medians of the clear observations of {self.year} were classified, pixel "
            f"by pixel, by a {kind} that has learnt from {labels}."
        )

    def content_key(self) -> str:
        """Name what a version consists of: equal layers, scores, parameters and code have equal names."""
        return key_of(
            {
                "layers": self.layers,
                "validation": _without_record(self.validation),
                "configuration": self.configuration.model_dump(mode="json", exclude=BESIDE_THE_MAP),
                "code": [code_key("publishing", "steps.publish"), file_sha256(TEMPLATE)],
            }
        )


def read_product(configuration: MapConfiguration, folder: MapFolder, year: int) -> Product:
    """Read a year's layers' record and scores.

    Raises:
        StepError: a step has not run, or its files are not those that it has noted.
    """
    home = folder.mosaic(year)
    mosaic = read_json(home / RECORD_FILE, made_by="mosaic")
    validation = read_json(folder.validation(year), made_by="validate")
    product = Product(configuration=configuration, year=year, folder=home, mosaic=mosaic, validation=validation)
    missing = [name for name in NEEDED if name not in product.layers]
    if missing:
        raise StepError(f"{home / RECORD_FILE} names no {missing[0]}: run the step `mosaic` again")
    unlike = sorted(set(configuration.class_names) ^ set(product.hectares))
    if unlike:
        raise StepError(
            f"{home / RECORD_FILE} has other classes than {configuration.name} ({', '.join(unlike)}): run the steps "
            "from `sample` on again"
        )
    return product


def copy_checked(source: Path, target: Path, sha256: str) -> None:
    """Copy a layer, and see that every byte is as `mosaic` has written it.

    Raises:
        StepError: the file is missing, or has changed since.
    """
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise StepError(f"{source} is missing: run the step `mosaic` again") from error
    if file_sha256(target) != sha256:
        raise StepError(f"{source} is not what `mosaic` has written (another hash): run the step `mosaic` again")


def _without_record(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in OF_RECORDS}
