"""The labelled year of one of the project's own maps, as the step `sample` has drawn it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from landcover_jobs.configuration.reading import read_map
from landcover_jobs.folder import MapFolder
from landcover_jobs.learning.plan import read_samples
from landcover_jobs.learning.recipe import Labelled
from landcover_jobs.learning.transformer import days_of_periods

from bench.landcover.cross_validation import Split
from bench.landcover.data_sets import DataSet, numbered


def read_split(map_file: Path, data: Path) -> Split:
    """Return the first draw of a map's samples in the map's own folds."""
    configuration = read_map(map_file)
    _, drawn = read_samples(configuration, MapFolder(data.resolve() / configuration.name))
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
    )
    return Split(found, drawn.folds[rows])
