"""Where a map lies: its area and the grid of tiles that covers it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from landcover_jobs.configuration.strict import Strict

Crs = Annotated[str, Field(pattern=r"^EPSG:\d{4,6}$", examples=["EPSG:3035"])]
MgrsTile = Annotated[str, Field(pattern=r"^(0[1-9]|[1-5]\d|60)[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V]$")]
POLYGONS = ("Polygon", "MultiPolygon")
EAST_END, NORTH_END = 180, 90  # degrees


class Area(Strict):
    """One of: `bbox` in degrees, `bounds` in the grid's own units, or a GeoJSON `geometry` in degrees (WGS 84)."""

    bbox: tuple[float, float, float, float] | None = Field(None, description="west, south, east, north")
    bounds: tuple[float, float, float, float] | None = Field(None, description="left, bottom, right, top")
    geometry: dict[str, Any] | None = Field(None, description="a GeoJSON polygon; `geojson: FILE` reads one")

    @field_validator("bbox")
    @classmethod
    def _degrees(cls, bbox: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
        if bbox is not None:
            west, south, east, north = bbox
            if not (-EAST_END <= west < east <= EAST_END and -NORTH_END <= south < north <= NORTH_END):
                raise ValueError("west, south, east, north in degrees, with west < east and south < north")
        return bbox

    @field_validator("bounds")
    @classmethod
    def _ordered(cls, bounds: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
        if bounds is not None and not (bounds[0] < bounds[2] and bounds[1] < bounds[3]):
            raise ValueError("left, bottom, right, top, with left < right and bottom < top")
        return bounds

    @field_validator("geometry")
    @classmethod
    def _polygon(cls, geometry: dict[str, Any] | None) -> dict[str, Any] | None:
        if geometry is not None and geometry.get("type") not in POLYGONS:
            raise ValueError(f"a GeoJSON geometry of type {' or '.join(POLYGONS)}, not {geometry.get('type')!r}")
        return geometry

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("bbox", "bounds", "geometry") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of bbox, bounds, geojson; given: {', '.join(given) or 'none'}")
        return self


class RegularGrid(Strict):
    """Square tiles in one projection, numbered from an origin."""

    kind: Literal["regular"]
    crs: Crs = Field(description="the projection")
    resolution: float = Field(gt=0, description="edge of a pixel in units of the CRS, most often metres")
    tile_pixels: int = Field(ge=8, le=20_000, description="edge of a tile, without its overlap")
    overlap_pixels: int = Field(0, ge=0, le=512, description="how far a tile reaches over its edge, on each side")
    origin: tuple[float, float] = Field((0.0, 0.0), description="left and top of tile r0c0, in units of the CRS")


class MgrsGrid(Strict):
    """Sentinel-2's own tiles: 109.8 km, each in the UTM projection of its zone, 9.8 km over its neighbours."""

    kind: Literal["mgrs"]
    resolution: Literal[10, 20, 60] = Field(10, description="metres")
    tiles: tuple[MgrsTile, ...] = Field((), description="only these; where empty, those whose squares the area lies in")


Grid = Annotated[RegularGrid | MgrsGrid, Field(discriminator="kind")]


class Years(Strict):
    """The years to map; no `last` means every year from now on."""

    first: int = Field(ge=1972, le=2200, description="the first one")
    last: int | None = Field(None, ge=1972, le=2200, description="the last one")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.last is not None and self.last < self.first:
            raise ValueError(f"last ({self.last}) is before first ({self.first})")
        return self

    def holds(self, year: int) -> bool:
        """Tell whether a year is one of them."""
        return year >= self.first and (self.last is None or year <= self.last)
