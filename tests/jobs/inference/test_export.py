"""Exported models say what their origins say."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from landcover_jobs.configuration.learning import TransformerSettings
from landcover_jobs.inference.classifier import Classifier
from landcover_jobs.inference.export import export_transformer, export_trees, parity
from landcover_jobs.learning.recipe import Labelled, Recipe
from landcover_jobs.learning.training import fit
from landcover_jobs.learning.transformer import days_of_periods, probabilities
from landcover_jobs.learning.trees import fit_trees, tree_probabilities
from landcover_jobs.preparation.normalisation import Normalisation, Statistics
from torch import nn

PERIODS, FEATURES, CLASSES = 12, 3, 3
REAL = Path(__file__).parents[4] / "shared/data/mt_modis_samples.npz"


def flat(features):
    """Lay the periods of each series side by side."""
    return features.reshape(len(features), -1)


def test_a_transformer_exports_with_its_probabilities(transformer, series):
    """The graph, written as plain products, gives PyTorch's numbers."""
    features, hidden = series(3000, seed=5)
    exported = Classifier(transformer.path).probabilities(features, hidden)
    np.testing.assert_allclose(exported, transformer.predict(features, hidden), atol=2e-5)
    assert parity(transformer.path, transformer.predict, features, hidden) >= 0.999
    assert len(np.unique(exported.argmax(axis=1))) > 1


@pytest.mark.parametrize("kind", ["random_forest", "gradient_boosting"])
def test_trees_export_with_their_probabilities(tmp_path, kind, fitted, series):
    """Both kinds of trees give scikit-learn's numbers, from series that are not flat."""
    model, path = fitted(kind), tmp_path / "trees.onnx"
    export_trees(model, path, PERIODS, FEATURES)
    features, hidden = series(3000, seed=6)
    exported = Classifier(path).probabilities(features, hidden)
    np.testing.assert_allclose(exported, model.predict_proba(flat(features)), atol=1e-5)
    assert parity(path, lambda x, _: model.predict_proba(flat(x)), features, hidden) >= 0.999


@pytest.mark.parametrize("kind", ["random_forest", "gradient_boosting"])
@pytest.mark.parametrize("known", [(0, 2), (1, 2)])
def test_a_class_that_trees_never_saw_has_a_column_of_zeros(tmp_path, kind, known, fitted, series):
    """A fold may lack a class; the columns stay those of the map."""
    model, path = fitted(kind, classes=known), tmp_path / "trees.onnx"
    export_trees(model, path, PERIODS, FEATURES, classes=CLASSES)
    features, hidden = series(200, seed=8)
    exported = Classifier(path).probabilities(features, hidden)
    expected = np.zeros((200, CLASSES))
    expected[:, known] = model.predict_proba(flat(features))
    np.testing.assert_allclose(exported, expected, atol=1e-5)


@pytest.fixture(scope="module")
def crop_years():
    """Return real series of nine classes, every other date and four bands, normalised."""
    if not REAL.is_file():
        pytest.skip(f"{REAL} is not there: the real series are no part of the project")
    with np.load(REAL, allow_pickle=False) as stored:
        features, labels = stored["X"][:, ::2, :4].astype(np.float32), stored["y"].astype(np.int64)
    features = Normalisation.of([Statistics.of(features)]).apply(features)
    hidden = np.random.default_rng(1).random(features.shape[:2]) < 0.2
    hidden[:, 0] = False
    return Labelled(features, hidden, labels)


def fitted_to(crop_years, kind):
    """Return a function from series to probabilities, and one that writes its model."""
    learnt = crop_years.only(np.arange(len(crop_years.labels)) % 3 == 0)
    periods, bands = learnt.features.shape[1:]
    if kind == "transformer":
        settings = TransformerSettings(width=16, layers=2, heads=2)
        recipe = Recipe(settings=settings, epochs=6, batch=32, seed=1)
        model = fit(learnt, classes=9, days=days_of_periods(periods), recipe=recipe)
        return lambda x, hidden: probabilities(model, x, hidden), lambda path: export_transformer(
            model, path, periods, bands
        )
    trees = fit_trees(kind, learnt.features, learnt.labels, trees=5, seed=1, threads=1)
    return lambda x, _: tree_probabilities(trees, x, 9), lambda path: export_trees(
        trees, path, periods, bands, classes=9
    )


@pytest.mark.parametrize("kind", ["transformer", "random_forest", "gradient_boosting"])
def test_real_series_are_classified_alike(crop_years, tmp_path, kind):
    """All kinds, on series of several classes that the models have learnt to tell apart."""
    predict, export = fitted_to(crop_years, kind)
    export(tmp_path / "model.onnx")
    share = parity(tmp_path / "model.onnx", predict, crop_years.features, crop_years.hidden)
    assert share >= 0.999
    said = predict(crop_years.features, crop_years.hidden).argmax(axis=1)
    assert len(np.unique(said)) >= 3
    assert (said == crop_years.labels).mean() > 0.5


def test_labels_without_a_column_are_refused(tmp_path, fitted):
    """Trees that know label 2 do not fit into two classes."""
    with pytest.raises(ValueError, match=r"\[0, 1, 2\].* do not fit into 2 classes"):
        export_trees(fitted("random_forest"), tmp_path / "trees.onnx", PERIODS, FEATURES, classes=2)
    assert not list(tmp_path.iterdir())


def test_parity_finds_models_that_differ(tmp_path, fitted, series):
    """Another forest's classes are not all the same."""
    path = tmp_path / "trees.onnx"
    export_trees(fitted("random_forest", seed=1), path, PERIODS, FEATURES)
    other = fitted("random_forest", seed=2, classes=(0, 1))
    share = parity(path, lambda x, _: other.predict_proba(flat(x)), *series(500, seed=3))
    assert 0.2 < share < 0.95


def test_a_layer_that_normalises_afterwards_exports_as_well(tmp_path, series):
    """Both orders of PyTorch's encoder layer, and both of its activations, are written alike."""

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(FEATURES, 8)
            layer = nn.TransformerEncoderLayer(8, 2, 16, activation="relu", batch_first=True, norm_first=False)
            self.encoder = nn.TransformerEncoder(layer, 1, norm=nn.LayerNorm(8), enable_nested_tensor=False)
            self.head = nn.Linear(8, CLASSES)

        def forward(self, features, hidden):
            return self.head(self.encoder(self.embed(features), src_key_padding_mask=hidden).mean(dim=1))

    torch.manual_seed(3)
    model = Small().eval()
    features, hidden = series(50)
    with torch.no_grad():
        tokens = model.encoder.layers[0](model.embed(torch.from_numpy(features)), None, torch.from_numpy(hidden))
        expected = model.head(model.encoder.norm(tokens).mean(dim=1)).softmax(dim=1).numpy()
    export_transformer(model, tmp_path / "small.onnx", PERIODS, FEATURES)
    exported = Classifier(tmp_path / "small.onnx").probabilities(features, hidden)
    np.testing.assert_allclose(exported, expected, atol=1e-5)


def test_a_model_is_left_as_it_was(transformer, tmp_path):
    """Exporting in the middle of training changes neither mode, nor weights, nor layers."""
    before = {name: tensor.clone() for name, tensor in transformer.model.state_dict().items()}
    transformer.model.train()
    export_transformer(transformer.model, tmp_path / "again.onnx", PERIODS, FEATURES)
    assert transformer.model.training
    assert isinstance(transformer.model.encoder, nn.TransformerEncoder)
    assert all(torch.equal(before[name], tensor) for name, tensor in transformer.model.state_dict().items())
    transformer.model.eval()


def test_the_same_weights_give_the_same_file_which_names_no_place(transformer, tmp_path):
    """The file depends on the model alone: no path of this machine's sources is in it."""
    export_transformer(transformer.model, tmp_path / "again.onnx", PERIODS, FEATURES)
    content = transformer.path.read_bytes()
    assert (tmp_path / "again.onnx").read_bytes() == content
    assert b".py" not in content
    given = {each.name: each.type.tensor_type.elem_type for each in onnx.load(transformer.path).graph.input}
    assert given == {"features": onnx.TensorProto.FLOAT, "hidden": onnx.TensorProto.BOOL}
