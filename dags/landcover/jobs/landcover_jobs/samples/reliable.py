"""Which pixels of a class look as most of it does: those are the ones to believe an old map on.

After Paris et al. (JSTARS 2022): of each class apart, features are scaled to 0..1 and clustered by k-means; the largest
clusters are kept, and of each the pixels that are not too far from its centre. Objects of very few pixels go as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from landcover_jobs.configuration.legend import Samples
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.preparation.store import Series

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

STARTS = 4  # of k-means, of which the best counts
LEAST_RANGE = np.float32(1e-6)


def judged_features(series: Series, configuration: MapConfiguration) -> Floats:
    """Return what pixels are compared by, (pixel, value): all periods of the indices, of the bands where none."""
    first = len(configuration.bands) if configuration.composites.indices else 0
    return series.features[:, :, first:].reshape(len(series.features), -1)


@dataclass(frozen=True)
class Clusters:
    """What is normal for one class."""

    low: Floats  # (value,) the least of the pixels learnt from
    span: Floats  # (value,) from least to greatest
    centres: Floats  # (cluster, value), scaled
    limits: Floats  # (cluster,) greatest distance believed; negative: nothing of that cluster is

    @classmethod
    def of(cls, features: Floats, settings: Samples) -> Clusters:
        """Learn from pixels of one class, (pixel, value), at least one and all seen."""
        low = features.min(axis=0)
        span = np.maximum(features.max(axis=0) - low, LEAST_RANGE)
        scaled = (features - low) / span
        count = min(settings.clusters, len(np.unique(scaled, axis=0)))
        # One thread: sums in another order would move the centres by a rounding, and pixels across a limit.
        with threadpool_limits(limits=1):
            fitted = KMeans(count, n_init=STARTS, random_state=settings.seed).fit(scaled)
        centres = fitted.cluster_centers_.astype(np.float32)
        nearest, distance = _nearest(scaled, centres)
        sizes = np.bincount(nearest, minlength=count)
        limits = np.full(count, -1, dtype=np.float32)
        for cluster in np.argsort(-sizes, kind="stable")[: settings.keep_clusters]:
            if sizes[cluster]:
                limits[cluster] = np.quantile(distance[nearest == cluster], settings.distance_quantile)
        return cls(low, span, centres, limits)

    def believe(self, features: Floats) -> Bools:
        """Tell which pixels (pixel, value) are near enough to the centre of a kept cluster; never an unseen one."""
        nearest, distance = _nearest((features - self.low) / self.span, self.centres)
        return np.asarray(distance <= self.limits[nearest])


def _nearest(scaled: Floats, centres: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the nearest centre of each pixel and how far it is; one centre at a time, for memory's sake."""
    squares = np.stack([np.square(scaled - centre).sum(axis=1) for centre in centres], axis=1)
    nearest = squares.argmin(axis=1)
    return nearest, np.sqrt(squares[np.arange(len(squares)), nearest])


def without_small_objects(chosen: Bools, least: int) -> Bools:
    """Drop objects (pixels that touch at an edge or a corner) of fewer than `least` pixels from a block (y, x).

    An object at the block's edge may go on beyond it, and stays.
    """
    if least <= 1 or not chosen.any():
        return chosen
    objects, count = label(chosen, structure=np.ones((3, 3)))
    large = np.bincount(objects.ravel(), minlength=count + 1) >= least
    for edge in (objects[0], objects[-1], objects[:, 0], objects[:, -1]):
        large[edge] = True
    large[0] = False
    return np.asarray(large[objects])
