"""The configuration of one map, whole, with what only the parts together can get wrong."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from landcover_jobs.configuration.images import Band, Composites, RomaniaSource, Source
from landcover_jobs.configuration.learning import Model, Product, Resources, Schedule, StepName, Tuning
from landcover_jobs.configuration.legend import LandCoverClass, OldMap, Samples, Validation
from landcover_jobs.configuration.place import Area, Grid, Years
from landcover_jobs.configuration.strict import BandName, Name, Strict

NO_DATA = 0


class MapConfiguration(Strict):
    """A land-cover map: what, where, when, from what, how, how good."""

    name: Name = Field(description="of its DAG, `landcover_<name>`, and of its folder on the cluster")
    title: str = Field(min_length=1, max_length=120, description="for people")
    description: str = Field("", description="a paragraph, for the DAG's page and the catalogue")
    area: Area = Field(description="where")
    grid: Grid = Field(description="in which pixels and tiles")
    years: Years = Field(description="which")
    source: Source = Field(description="of the images")
    bands: dict[BandName, Band] = Field(min_length=1, description="what models learn from")
    composites: Composites = Field(description="how a year of images becomes a series")
    classes: tuple[LandCoverClass, ...] = Field(min_length=2, max_length=250, description="of the map")
    old_map: OldMap | None = Field(None, description="which gives the labels; needed without `samples.given`")
    samples: Samples = Field(Samples(), description="which labelled pixels models learn from")
    model: Model = Field(Model(), description="what learns")
    tuning: Tuning = Field(Tuning(), description="the search for the transformer's settings")
    validation: Validation = Field(description="how good the map must be, and by what measure")
    product: Product = Field(Product(), description="what is published")
    schedule: Schedule = Field(Schedule(), description="when")
    resources: dict[StepName, Resources] = Field(
        default_factory=dict, description="by step, what is unlike the defaults"
    )

    @property
    def class_values(self) -> tuple[int, ...]:
        """The classes' values in the files, in the order of their indices."""
        return tuple(each.value for each in self.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names, in the order of their indices."""
        return tuple(each.name for each in self.classes)

    @property
    def features(self) -> tuple[str, ...]:
        """What models see of each composite: the bands, then the indices."""
        return (*self.bands, *self.composites.indices)

    @property
    def training_year(self) -> int:
        """The year whose images the labels belong to."""
        if self.samples.given is not None:
            return self.samples.given.year
        assert self.old_map is not None  # noqa: S101 - one of the two is there, as _labels has checked
        return self.old_map.year

    def years_needed(self, year: int) -> tuple[int, ...]:
        """Return the years whose images the map of `year` needs: it and the year of the labels."""
        return tuple(sorted({year, self.training_year}))

    @model_validator(mode="after")
    def _classes(self) -> Self:
        for what in ("value", "name"):
            all_of_it = [getattr(each, what) for each in self.classes]
            twice = {each for each in all_of_it if all_of_it.count(each) > 1}
            if twice:
                raise ValueError(f"classes: the {what} {min(twice)!r} is there twice")
        return self

    @model_validator(mode="after")
    def _bands(self) -> Self:
        if self.composites.cloud_mask.band in self.bands:
            raise ValueError(
                f"bands: {self.composites.cloud_mask.band} is the cloud mask's band, not one to learn from"
            )
        for index, pair in self.composites.indices.items():
            unknown = [band for band in pair if band not in self.bands]
            if unknown:
                raise ValueError(
                    f"composites.indices.{index}: no band {unknown[0]!r}; there are {', '.join(self.bands)}"
                )
            if index in self.bands:
                raise ValueError(f"composites.indices.{index}: a band has the same name")
        return self

    @model_validator(mode="after")
    def _labels(self) -> Self:
        if self.old_map is None and self.samples.given is None:
            raise ValueError("give old_map, or samples.given")
        if self.old_map is None:
            return self
        for entry in self.old_map.legend:
            if entry.becomes not in self.class_values:
                raise ValueError(f"old_map.legend: becomes {entry.becomes}, but classes has no such value")
        return self

    @model_validator(mode="after")
    def _groups(self) -> Self:
        grouped = [value for values in self.validation.groups.values() for value in values]
        if grouped and sorted(grouped) != sorted(self.class_values):
            raise ValueError("validation.groups: each class must be in exactly one group")
        return self

    @model_validator(mode="after")
    def _place(self) -> Self:
        if self.area.bounds is not None and self.grid.kind == "mgrs":
            raise ValueError("area.bounds: it is in the units of a regular grid's CRS; give bbox or geojson with mgrs")
        if isinstance(self.source, RomaniaSource) and self.grid.kind != "regular":
            raise ValueError("source: the Romanian images need a regular grid")
        return self
