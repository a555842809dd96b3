"""Models as fast as trained ones, for measurements: the default transformer, its weights as they fell."""

from __future__ import annotations

import shutil

import torch
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.inference.export import export_transformer
from landcover_jobs.job import write_json
from landcover_jobs.learning.model_set import RECORD, member_name
from landcover_jobs.learning.transformer import PixelTransformer, days_of_periods

KEY = "untrained"


def write_models(folder: MapFolder, configuration: MapConfiguration) -> None:
    """Make a set of models with a member for each fold, and let it count."""
    torch.manual_seed(0)
    features, periods = len(configuration.features), configuration.composites.periods
    place = folder.models(KEY)
    place.mkdir(parents=True)
    model = PixelTransformer(
        features, len(configuration.classes), days_of_periods(periods), configuration.model.transformer
    )
    members = [place / f"{member_name('transformer', 0, fold)}.onnx" for fold in range(configuration.validation.folds)]
    export_transformer(model.eval(), members[0], periods, features)
    for member in members[1:]:
        shutil.copy(members[0], member)
    record = {
        "better": "transformer",
        "classes": list(configuration.class_names),
        "features": list(configuration.features),
        "folds": configuration.validation.folds,
        "key": KEY,
        "kinds": ["transformer"],
        "periods": periods,
        "trials": 1,
    }
    write_json(place / RECORD, record)
    write_json(folder.current_models, {"key": KEY})
