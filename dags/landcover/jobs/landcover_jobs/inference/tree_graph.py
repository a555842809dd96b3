"""Fitted trees of scikit-learn as one ONNX graph.

Written here because skl2onnx 1.20.0 cannot convert gradient boosting with onnx 1.23 (it mixes booleans into lists of
integers, which the newer protobuf refuses), and because all that is needed is one node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 9
Trees: TypeAlias = RandomForestClassifier | HistGradientBoostingClassifier
NEVER = -1e30  # as a logit: no softmax gives it more than 0


@dataclass(frozen=True)
class _Tree:
    """Arrays over a tree's nodes; where `leaf`, the others but `weights` mean nothing."""

    leaf: npt.NDArray[np.bool_]
    feature: npt.NDArray[np.integer]
    threshold: npt.NDArray[np.float64]  # to the left where a feature is at most this
    left: npt.NDArray[np.integer]
    right: npt.NDArray[np.integer]
    weights: npt.NDArray[np.float64]  # (node, column)


def tree_graph(model: Trees, shape: tuple[int, int], columns: int) -> ModelProto:
    """Return a graph from `features` (n, *shape) to `probabilities` (n, columns); a class never seen is 0 there.

    Raises:
        ValueError: the model knows labels that have no column, or splits by categories.
    """
    known = np.asarray(model.classes_, dtype=np.int64)
    if known.min() < 0 or known.max() >= columns:
        raise ValueError(f"the model knows the labels {known.tolist()}, which do not fit into {columns} classes")
    boosted = isinstance(model, HistGradientBoostingClassifier)
    if boosted:
        trees, base = list(_of_boosting(model, known, columns)), np.full(columns, NEVER)
        base[known] = 0.0
        base[known[-_outputs(model) :]] = np.ravel(model._baseline_prediction)  # noqa: SLF001 - there is no public one
    else:
        trees, base = list(_of_forest(model, known, columns)), np.zeros(columns)
    ensemble = helper.make_node(
        "TreeEnsembleRegressor", ["flat"], ["sums"], domain="ai.onnx.ml", aggregate_function="SUM",
        n_targets=columns, post_transform="NONE", **_attributes(trees),
    )  # fmt: skip
    # The base is no attribute of the ensemble: onnxruntime 1.31 leaves it out for columns that no leaf adds to.
    nodes = [
        helper.make_node("Reshape", ["features", "flat_shape"], ["flat"]),
        ensemble,
        helper.make_node("Add", ["sums", "base"], ["logits" if boosted else "probabilities"]),
        *([helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)] if boosted else []),
    ]
    constants: dict[str, npt.NDArray[Any]] = {
        "flat_shape": np.array([-1, shape[0] * shape[1]], dtype=np.int64),
        "base": base.astype(np.float32),
    }
    stored = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    given = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["pixels", *shape])
    found = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["pixels", columns])
    graph = helper.make_graph(nodes, "trees", [given], [found], stored)
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="landcover_jobs")


def _of_forest(model: RandomForestClassifier, known: npt.NDArray[np.int64], columns: int) -> Iterator[_Tree]:
    """Yield trees whose leaves hold a tree's share of the probabilities."""
    for estimator in model.estimators_:
        tree = estimator.tree_
        weights = np.zeros((tree.node_count, columns))
        weights[:, known] = tree.value[:, 0] / tree.value[:, 0].sum(axis=1, keepdims=True) / len(model.estimators_)
        leaf = tree.children_left < 0
        yield _Tree(leaf, tree.feature, tree.threshold, tree.children_left, tree.children_right, weights)


def _of_boosting(model: HistGradientBoostingClassifier, known: npt.NDArray[np.int64], columns: int) -> Iterator[_Tree]:
    """Yield trees whose leaves hold a step of one class's logit; of two classes the first one's is always 0."""
    for of_round in model._predictors:  # noqa: SLF001 - there is no public one
        for column, predictor in zip(known[-_outputs(model) :], of_round, strict=True):
            nodes = predictor.nodes
            if nodes["is_categorical"].any():
                raise ValueError("trees that split by categories have no graph here: all features are numbers")
            weights = np.zeros((len(nodes), columns))
            weights[:, column] = nodes["value"]
            leaf = nodes["is_leaf"].astype(bool)
            yield _Tree(leaf, nodes["feature_idx"], nodes["num_threshold"], nodes["left"], nodes["right"], weights)


def _outputs(model: HistGradientBoostingClassifier) -> int:
    return len(model._predictors[0])  # noqa: SLF001 - there is no public one


def _attributes(trees: list[_Tree]) -> dict[str, Any]:
    """Lay all trees' nodes, and the weights of their leaves, one behind the other."""
    leaf = np.concatenate([tree.leaf for tree in trees])
    sizes = [len(tree.leaf) for tree in trees]
    number = np.repeat(np.arange(len(trees)), sizes)
    place = np.concatenate([np.arange(size) for size in sizes])
    weights = np.concatenate([np.where(tree.leaf[:, None], tree.weights, 0.0) for tree in trees])
    at, column = np.nonzero(weights)

    def inner(name: str) -> npt.NDArray[Any]:
        return np.where(leaf, 0, np.concatenate([getattr(tree, name) for tree in trees]))

    return {
        "nodes_treeids": number.tolist(),
        "nodes_nodeids": place.tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_featureids": inner("feature").tolist(),
        "nodes_values": _rounded_down(inner("threshold")).tolist(),
        "nodes_truenodeids": inner("left").tolist(),
        "nodes_falsenodeids": inner("right").tolist(),
        "target_treeids": number[at].tolist(),
        "target_nodeids": place[at].tolist(),
        "target_ids": column.tolist(),
        "target_weights": weights[at, column].astype(np.float32).tolist(),
    }


def _rounded_down(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the greatest float32 up to each threshold: no float32 feature lies between the two."""
    single = thresholds.astype(np.float32)
    return np.where(single > thresholds, np.nextafter(single, np.float32(-np.inf)), single)
