"""From fitted models to ONNX files that onnxruntime runs, and the check that both say the same.

All files take `features`, float32 (n, period, feature), normalised; a transformer also `hidden`, bool (n, period). All
give `probabilities`, float32 (n, class). n is free.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from landcover_jobs.inference.classifier import OUTPUT, Classifier
from landcover_jobs.inference.plain_transformer import with_plain_encoders
from landcover_jobs.inference.tree_graph import Trees, tree_graph
from landcover_jobs.job import replacing

OPSET = 23  # the first with attention as one operation

Predict = Callable[[npt.NDArray[np.float32], npt.NDArray[np.bool_]], npt.NDArray[np.floating[Any]]]


class _WithSoftmax(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(features, hidden)
        return logits.softmax(dim=1)


def export_transformer(model: nn.Module, path: Path, periods: int, features: int) -> None:
    """Write a model with `forward(features, hidden) -> logits` as ONNX; `model` itself is left as it is.

    Its `nn.TransformerEncoder`s are written as few operations on the same weights (`inference.plain_transformer`);
    PyTorch's own fast path is no part of a graph.
    """
    whole = _WithSoftmax(with_plain_encoders(copy.deepcopy(model).cpu())).eval().requires_grad_(requires_grad=False)
    pixels = {0: torch.export.Dim("pixels", min=2)}
    example = torch.zeros(2, periods, features), torch.zeros(2, periods, dtype=torch.bool)
    with _without_remarks():
        program = torch.onnx.export(
            whole, example, input_names=["features", "hidden"], output_names=[OUTPUT], opset_version=OPSET,
            dynamic_shapes={"features": pixels, "hidden": pixels}, dynamo=True, verbose=False,
        )  # fmt: skip
    assert program is not None  # noqa: S101 - dynamo=True always returns one
    _write(program.model_proto, path)


def export_trees(model: Trees, path: Path, periods: int, features: int, *, classes: int | None = None) -> None:
    """Write a fitted RandomForestClassifier or HistGradientBoostingClassifier as ONNX.

    Args:
        model: fitted on (n, period x feature), labels from 0 to `classes` - 1.
        path: the file to write.
        periods: composites of a year.
        features: values of a composite.
        classes: how many columns the result has, those that the model has never seen 0; None: up to the last it knows.

    Raises:
        ValueError: the model knows labels that have no column, or splits by categories.
    """
    columns = int(model.classes_.max()) + 1 if classes is None else classes
    _write(tree_graph(model, (periods, features), columns), path)


def parity(path: Path, predict: Predict, features: npt.NDArray[np.float32], hidden: npt.NDArray[np.bool_]) -> float:
    """Return the share of series to which an exported model gives the same class as `predict`, its origin."""
    exported = Classifier(path).probabilities(features, hidden).argmax(axis=1)
    return float((exported == predict(features, hidden).argmax(axis=1)).mean())


@contextlib.contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep the exporter's remarks out of the log: on torchvision, which no model has, and on its own deprecations."""
    speaker = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = speaker.level
    speaker.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
            yield
    finally:
        speaker.setLevel(level)


def _write(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph without what the exporter noted about this machine (paths of source files), whole or not at all."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for part in (model, model.graph, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.checker.check_model(model)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
