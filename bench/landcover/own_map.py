"""The labelled year of one of the project's own maps, as the steps `sample` and `tune` have left it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from landcover_jobs.configuration.reading import read_map
from landcover_jobs.folder import MapFolder
from landcover_jobs.learning.plan import read_samples
from landcover_jobs.learning.recipe import Labelled
from landcover_jobs.learning.settings import chosen_settings
from landcover_jobs.learning.transformer import days_of_periods

from bench.landcover.cross_validation import Candidate, Split
from bench.landcover.data_sets import DataSet, numbered


def read_own_map(map_file: Path, data: Path) -> tuple[Split, dict[int, Candidate]]:
    """Return the first draw of a map's samples in its own folds, and the settings that each fold's study has chosen."""
    configuration = read_map(map_file)
    folder = MapFolder(data.resolve() / configuration.name)
    _, drawn = read_samples(configuration, folder)
    index = configuration.class_values.index
    rows = drawn.trials[0]
    whole = Labelled(drawn.features, drawn.series.hidden, drawn.labels)
    edge = configuration.validation.block_size
    found = DataSet(
        name=configuration.name,
        samples=whole.only(rows),
        classes=configuration.class_names,
        days=days_of_periods(configuration.composites.periods),
        blocks=numbered(np.floor(np.stack([drawn.x, drawn.y], axis=1) / edge)[rows]),
        years=np.full(int(rows.sum()), configuration.training_year),
        places=numbered(np.stack([drawn.x, drawn.y], axis=1)[rows]),
        groups={name: [index(value) for value in values] for name, values in configuration.validation.groups.items()},
    )
    settings, model = chosen_settings(configuration, folder).of_fold, configuration.model
    chosen = {fold: Candidate(each, model.epochs, model.batch) for fold, each in enumerate(settings)}
    return Split(found, drawn.folds[rows]), chosen
