"""The classes of a map, and what the values of the old map mean in them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from landcover_jobs.configuration.strict import ClassValue, ClusterPath, Fraction, Strict


class LandCoverClass(Strict):
    """One class: its value in the files, its name and its colour."""

    value: ClassValue = Field(description="in the files; 0 is no data")
    name: str = Field(min_length=1, max_length=80, description="for people")
    colour: str = Field(pattern=r"^#[0-9a-fA-F]{6}$", description="in the class map and its styles")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three numbers from 0 to 255."""
        return int(self.colour[1:3], 16), int(self.colour[3:5], 16), int(self.colour[5:7], 16)


class LegendEntry(Strict):
    """Which values of the old map are which class: single `values`, or all `between` two, both included."""

    becomes: ClassValue = Field(description="the class's value")
    values: tuple[int, ...] = Field((), description="of the old map")
    between: tuple[int, int] | None = Field(None, description="least and greatest value, both included")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.values and self.between is None:
            raise ValueError("give values, or between: [least, greatest]")
        if self.between is not None and self.between[0] > self.between[1]:
            raise ValueError(f"between: {self.between[0]} is more than {self.between[1]}")
        return self

    def holds(self, value: int) -> bool:
        """Tell whether a value of the old map is this class."""
        return value in self.values or (self.between is not None and self.between[0] <= value <= self.between[1])


class OldMap(Strict):
    """The map that is updated, and from which the labels are drawn."""

    path: ClusterPath = Field(description="a raster that GDAL reads, on the cluster or over HTTP")
    year: int = Field(ge=1972, le=2200, description="whose ground it shows: models learn from images of this year")
    legend: tuple[LegendEntry, ...] = Field(min_length=1, description="what its values become")
    unknown: tuple[int, ...] = Field((), description="values that say nothing, beside the file's own nodata")
    unlisted: Literal["refuse", "unknown"] = Field("refuse", description="what a value that is nowhere listed means")


class GivenSamples(Strict):
    """Labelled points: a CSV with the columns lon, lat, class (and fold, if wanted), or GeoJSON points."""

    path: ClusterPath = Field(description="the file")
    year: int = Field(ge=1972, le=2200, description="whose ground they tell of")


class Samples(Strict):
    """How pixels are chosen for training; after Paris et al. 2022 where `selection` is reliable."""

    selection: Literal["reliable", "stratified", "all"] = Field(
        "reliable", description="typical pixels of each class; any, by the classes' shares; or every pixel"
    )
    erosion_pixels: int = Field(3, ge=0, le=50, description="radius of the disk that eats the edges of the classes")
    clusters: int = Field(4, ge=1, le=50, description="of each class, by k-means over its spectra")
    keep_clusters: int = Field(3, ge=1, le=50, description="the largest ones")
    distance_quantile: Fraction = Field(0.75, description="pixels farther from their cluster's centre are left out")
    least_object_pixels: int = Field(2, ge=1, le=10_000, description="what is smaller is left out")
    total: int = Field(20_000, ge=10, le=5_000_000, description="pixels of a trial, all classes together")
    least_of_class: int = Field(100, ge=1, description="a class with fewer pixels is dropped, and said to be")
    rare_share: Fraction = Field(0.02, description="no class gets fewer of a trial's pixels, if it has as many")
    trials: int = Field(1, ge=1, le=25, description="draws, each with a model of its own; the map is their majority")
    given: GivenSamples | None = Field(None, description="in place of the old map")
    seed: int = Field(2018, description="of the draws")

    @model_validator(mode="after")
    def _clusters(self) -> Self:
        if self.keep_clusters > self.clusters:
            raise ValueError(f"keep_clusters ({self.keep_clusters}) is more than clusters ({self.clusters})")
        return self

    @model_validator(mode="after")
    def _one_trial_of_all(self) -> Self:
        if self.trials > 1 and self.selection == "all":
            raise ValueError(f"trials: {self.trials} draws of all pixels would be equal; selection: all has one")
        return self


GroupName = Annotated[str, Field(min_length=1, max_length=80)]


class Validation(Strict):
    """How good a map must be before it is published, and on what that is measured."""

    folds: int = Field(5, ge=2, le=20, description="each judged by models that never saw it")
    block_size: float = Field(gt=0, description="edge of the blocks of a fold, in units of the map's CRS")
    groups: dict[GroupName, tuple[ClassValue, ...]] = Field(
        default_factory=dict, description="classes that count as one for the threshold; all classes where empty"
    )
    least_overall_accuracy: Fraction = Field(0.85, description="below it, a person is asked")
    least_macro_f1: Fraction = Field(0.0, description="the same")
    points: ClusterPath | None = Field(None, description="independent points: CSV with lon, lat, class, or GeoJSON")
    window_pixels: Literal[1, 3, 5] = Field(1, description="a point is right where its class is within this window")
    approval_timeout_hours: float = Field(
        72.0, gt=0, le=8760, description="how long a person is asked about a map below the bar"
    )
