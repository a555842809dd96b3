"""What is learnt, how it is tuned, and what a version of the map consists of."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from landcover_jobs.configuration.place import Crs
from landcover_jobs.configuration.strict import Fraction, Strict

ModelKind = Literal["transformer", "random_forest", "gradient_boosting"]


class TransformerSettings(Strict):
    """The transformer's settings where no search has chosen any."""

    width: int = Field(32, ge=8, le=512, description="a multiple of twice the heads")
    layers: int = Field(2, ge=1, le=12, description="of the encoder")
    heads: int = Field(4, ge=1, le=16, description="of attention")
    dropout: Fraction = Field(0.1, description="of activations in training")
    learning_rate: float = Field(3e-3, gt=0, description="at its highest")
    weight_decay: float = Field(1e-2, ge=0, description="of AdamW")
    period_dropout: Fraction = Field(
        0.1, description="composites hidden at random in training, as a cloudier year would"
    )

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width ({self.width}) must be a multiple of twice the heads ({self.heads})")
        return self


class Model(Strict):
    """The kinds that compete on the same folds; the better one, by macro F1, draws the map."""

    kinds: tuple[ModelKind, ...] = Field(
        ("transformer", "random_forest"), min_length=1, description="which are trained"
    )
    transformer: TransformerSettings = Field(TransformerSettings(), description="before any search")
    epochs: int = Field(24, ge=1, le=10_000, description="of the transformer's training")
    patience_epochs: int | None = Field(None, ge=1, description="stop when the inner fold has not improved for so long")
    batch: int = Field(256, ge=8, description="pixels, over all processes")
    mixed_precision: bool = Field(True, description="AMP, where the processor has it")
    trees: int = Field(200, ge=10, le=5000, description="of a forest, or rounds of boosting")
    seed: int = Field(2018, description="of weights, batches and trees")


class Tuning(Strict):
    """When hyperparameters are searched anew: never, once, or also when the samples have changed enough."""

    when: Literal["never", "once", "changed"] = Field("once", description="anew: see above")
    trials: int = Field(10, ge=1, le=10_000, description="of each fold's own study")
    workers: int = Field(2, ge=1, le=1000, description="trials of a study at the same time")
    changed_share: Fraction = Field(0.2, description="of the samples that are new since the last search")
    epochs: int = Field(16, ge=1, description="of a trial; the worse ones end earlier")


class Product(Strict):
    """What a version of the map consists of."""

    vote: Literal["unseen", "all"] = Field(
        "unseen", description="each block by the models that never saw it, or every block by all models"
    )
    least_change_pixels: int = Field(4, ge=1, description="minimum mapping unit of the change layer")
    crs: Crs | None = Field(None, description="of the mosaic; needed where MGRS tiles lie in several zones")
    licence: str = Field("CC-BY-4.0", min_length=1, max_length=200, description="SPDX identifier, or words")
    attribution: str = Field(
        "contains modified Copernicus Sentinel data", max_length=500, description="whom users must name"
    )
    keep_versions: int | None = Field(None, ge=2, description="older versions of a year are removed")


class Resources(Strict):
    """What one step asks of Slurm, over its defaults."""

    cpus_per_task: int | None = Field(None, ge=1, description="cores, 1 by default")
    memory: str | None = Field(None, pattern=r"^\d+[KMGT]$", description="of a node, 2G by default")
    time_limit: str | None = Field(None, pattern=r"^(\d+-)?\d{1,2}:\d{2}:\d{2}$", description="01:00:00 by default")
    partition: str | None = Field(None, pattern=r"^[\w.,-]+$", description="the cluster's own default")
    nodes: int | None = Field(None, ge=1, description="of `train` and `tune`, above all")
    tasks_per_node: int | None = Field(
        None, ge=1, description="processes of a node in `train`; one for each GPU by default"
    )
    gpus_per_node: int | None = Field(None, ge=1, description="for `train` and `tune`")
    max_running: int | None = Field(None, ge=1, description="elements of an array at the same time")


StepName = Literal["search", "fetch", "prepare", "sample", "tune", "train", "classify", "mosaic", "validate", "publish"]


class Schedule(Strict):
    """When runs begin by themselves."""

    every: Literal["year", "never"] = Field("year", description="when it is over; never: by hand or new scenes alone")
    month: Annotated[int, Field(ge=1, le=12)] = Field(1, description="the month in which the year before is mapped")
    new_scenes: bool = Field(False, description="also when the asset `landcover_scenes_<name>` is updated")
