"""Where the images come from, and how they become composites."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from landcover_jobs.configuration.strict import BandName, ClusterPath, Strict


class Band(Strict):
    """One band: reflectance = stored value x scale + offset; the nodata value is left out."""

    asset: str | None = Field(None, description="the asset's key in STAC, or {band} in a file's name; the band's name")
    scale: float = Field(0.0001, gt=0, description="reflectance of a stored value of 1")
    offset: float = Field(0.0, description="reflectance of a stored value of 0")
    nodata: float | None = Field(0, description="the stored value of pixels without an observation")
    resampling: Literal["nearest", "bilinear", "cubic", "average"] = Field(
        "bilinear", description="where the source's pixels are not the grid's"
    )


class Transfer(Strict):
    """How assets are fetched over the network."""

    mode: Literal["whole", "window"] = Field("whole", description="whole files, resumed; or only the area's window")
    attempts: int = Field(5, ge=1, le=50, description="at a file, before the scene counts as broken")
    wait_seconds: float = Field(2.0, ge=0, description="before the second attempt; doubles, with jitter, up to 300 s")
    timeout_seconds: float = Field(60.0, gt=0, description="without a byte")
    at_once: int = Field(8, ge=1, le=64, description="files")
    broken_scenes: Literal["fail", "leave_out"] = Field(
        "fail", description="what a scene means that cannot be had; leave_out: at most one in ten is left out"
    )


class StacSource(Strict):
    """A STAC API, or a static catalogue (catalog.json) over HTTP or on the cluster."""

    kind: Literal["stac"]
    url: str = Field(pattern=r"^(https?://|/|~/|\{data\})[^\x00-\x20]+$", description="of the API, or of catalog.json")
    collection: str = Field(pattern=r"^[^\x00-\x20/]+$", description="its id")
    signing: Literal["none", "planetary_computer"] = Field("none", description="how assets' addresses are opened")
    max_cloud_percent: float | None = Field(None, ge=0, le=100, description="scenes with more are left out")
    query: dict[str, Any] = Field(default_factory=dict, description="further conditions, as the API's query extension")
    exclude: tuple[str, ...] = Field((), description="scenes, by their ids, that are not to be used")
    transfer: Transfer = Field(Transfer(), description="how assets are fetched")


class FolderSource(Strict):
    """GeoTIFF files on the cluster, found by a pattern with {date} (YYYYMMDD) and {band}."""

    kind: Literal["folder"]
    path: ClusterPath = Field(description="the folder")
    pattern: str = Field("{date}/{band}.tif", pattern=r"^[^\x00-\x1f]+$", description="of files in it")
    exclude: tuple[str, ...] = Field((), description="scenes, by their ids, that are not to be used")

    @model_validator(mode="after")
    def _fields(self) -> Self:
        missing = [field for field in ("{date}", "{band}") if field not in self.pattern]
        if missing:
            raise ValueError(f"pattern: {' and '.join(missing)} must be in it")
        return self


class RomaniaSource(Strict):
    """The images that a package on the Python index carries: a Romanian valley, 2015 to 2020, Sentinel-2, 20 m."""

    kind: Literal["romania"]


Source = Annotated[StacSource | FolderSource | RomaniaSource, Field(discriminator="kind")]


class CloudMask(Strict):
    """A pixel is clear where the band's value is one of `clear`, or where none of `clouded_bits` is set."""

    band: BandName = Field("SCL", description="which says what is to be seen; its asset has the same name")
    clear: tuple[int, ...] | None = Field(None, description="its values of clear ground")
    clouded_bits: tuple[Annotated[int, Field(ge=0, le=31)], ...] | None = Field(
        None, description="or its bits, from 0, of which one hides the ground"
    )
    grow_pixels: int = Field(0, ge=0, le=100, description="clouds reach so much farther")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.clear is None) == (self.clouded_bits is None):
            raise ValueError("give either clear (values) or clouded_bits")
        return self


class Composites(Strict):
    """Medians of the clear observations of each period of the year; gaps are interpolated around the year."""

    period: Literal["month", "ten_days"] = Field("month", description="what a composite is the median of")
    cloud_mask: CloudMask = Field(description="what is left out")
    indices: dict[BandName, tuple[BandName, BandName]] = Field(
        default_factory=dict, description="normalised differences: name: [high, low]"
    )
    block_pixels: int = Field(512, ge=16, le=4096, description="edge of the blocks that are worked on one by one")
    least_clear_share: float = Field(
        0.0, ge=0, le=1, description="fail a tile of which less than this share of pixels is seen in the year"
    )

    @property
    def periods(self) -> int:
        """How many composites a year has."""
        return 12 if self.period == "month" else 36
