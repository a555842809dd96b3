"""A training set from the old map: which pixels of which tiles, block by block, with memory bounded by what is kept.

The labels of all blocks are read first: areas give each class its share of a draw, values that the legend lacks come to
light, and it turns out which blocks have which class. Then, for reliable samples, what is normal for each class is
learnt from a bounded number of its pixels. At last composites are read, and pixels are drawn: all composites of a small
map, those of blocks chosen at random of a large one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.grid.folds import fold_of
from landcover_jobs.grid.frame import Frame, Tile
from landcover_jobs.job import StepError, say
from landcover_jobs.preparation.store import Series, open_store, read_block
from landcover_jobs.samples.erosion import inside_of_classes
from landcover_jobs.samples.ground import Block, blocks_of, centres, in_crs, owned
from landcover_jobs.samples.old_map import UNKNOWN, Classes, OldMapReader
from landcover_jobs.samples.outcome import Outcome, classes_kept, dropped_classes
from landcover_jobs.samples.pixels import Pixels, training_set_of
from landcover_jobs.samples.reliable import Clusters, judged_features, without_small_objects
from landcover_jobs.samples.stratified import Draw, allocation, priorities

LEARNT_FROM = 5_000  # pixels of a class: k-means of four clusters changes little with more
LEARNING_DRAW, BLOCKS_DRAW = -1, -2  # trials are draws 0, 1, …
# However large a map is, not more than this is read: of each class so many times the pixels that are drawn, out of so
# many blocks at least; the pixels that clusters are learnt from come from fewer.
CANDIDATES = 10
LEAST_BLOCKS_DRAWN, LEAST_BLOCKS_LEARNT = 200, 50
MOST_OF_ALL = 5_000_000
OF_WHAT = {"reliable": "reliable pixels", "stratified": "pixels to draw from", "all": "labelled pixels"}

Counts = npt.NDArray[np.int64]


@dataclass
class Survey:
    """What the old map says of the tiles."""

    areas: Counts  # (class,) pixels that the old map has, each place once
    candidates: dict[Block, Counts] = field(default_factory=dict)  # (class,) after erosion; blocks without any left out
    covered: dict[str, float] = field(default_factory=dict)  # tile name -> share that the old map covers

    @property
    def candidates_of_class(self) -> Counts:
        """How many pixels of each class may be chosen, seen or not."""
        return sum(self.candidates.values(), np.zeros_like(self.areas))


@dataclass(frozen=True)
class Chooser:
    """Chooses samples of one map."""

    folder: MapFolder
    configuration: MapConfiguration
    tiles: Sequence[Tile]
    mosaic: Frame
    reader: OldMapReader

    def choose(self) -> Outcome:
        """Return the training set.

        Raises:
            StepError: the old map does not cover any tile, or has values that its legend lacks; fewer than two
                classes have enough pixels; or there are too many for `selection: all`.
        """
        settings, names = self.configuration.samples, self.configuration.class_names
        survey = self.survey()
        notes = _uncovered(survey, self.reader.source.name)
        may_be = survey.candidates_of_class
        inside = "pixels" if self._radius == 0 else f"pixels more than {self._radius} from the edge of the class"
        enough = classes_kept(may_be.tolist(), names, settings.least_of_class, f"{inside} in the old map")
        wanted = self._wanted(np.where(enough, survey.areas, 0), np.where(enough, may_be, 0))
        normal = self._learn(survey, enough) if settings.selection == "reliable" else {}
        draws, found = self._draw(survey, wanted, normal)
        about = (np.where(enough, found, may_be).tolist(), names, settings.least_of_class, OF_WHAT[settings.selection])
        kept, dropped = classes_kept(*about), dropped_classes(*about)
        trials = [
            Pixels.joined([each for index, draw in enumerate(trial) if kept[index] and (each := draw.result())])
            for trial in draws
        ]
        notes += _short(found.tolist(), [most if keep else 0 for most, keep in zip(wanted, kept, strict=True)], names)
        return Outcome(training_set_of(trials, self.tiles[0].frame.resolution), dropped, notes)

    @property
    def _radius(self) -> int:
        settings = self.configuration.samples
        return 0 if settings.selection == "all" else settings.erosion_pixels

    def survey(self) -> Survey:
        """Read the labels of all blocks once."""
        count = len(self.configuration.classes)
        survey = Survey(np.zeros(count, dtype=np.int64))
        for block in blocks_of(self.tiles, self.configuration.composites.block_pixels):
            radius = self._radius
            classes, covered = self.reader.read(block.frame, radius)
            core = tuple(slice(radius, size - radius) for size in classes.shape)
            mine = owned(block, self.tiles)
            survey.areas += _counted(classes[core][mine], count)
            found = _counted(classes[core][mine & inside_of_classes(classes, covered, radius)], count)
            if found.any():
                survey.candidates[block] = found
            pixels = block.tile.frame.height * block.tile.frame.width
            share = float(covered[core].sum()) / pixels
            survey.covered[block.tile.name] = survey.covered.get(block.tile.name, 0.0) + share
        self.reader.refuse_unlisted()
        return survey

    def _labels(self, block: Block) -> Classes:
        """Return the class (height, width) of the pixels that may be chosen, UNKNOWN of all others."""
        classes, covered = self.reader.read(block.frame, self._radius)
        inside = inside_of_classes(classes, covered, self._radius)
        core = tuple(slice(self._radius, size - self._radius) for size in classes.shape)
        return np.where(inside & owned(block, self.tiles), classes[core], np.int16(UNKNOWN))

    def _series(self, block: Block) -> Series:
        group = open_store(self.folder.composites(self.configuration.training_year, block.tile.name))
        return read_block(group, block.window, self.configuration)

    def _wanted(self, areas: Counts, candidates: Counts) -> list[int]:
        """Return how many pixels of each class a draw has."""
        settings = self.configuration.samples
        if settings.selection != "all":
            return allocation(areas.tolist(), settings.total, settings.rare_share)
        if candidates.sum() > MOST_OF_ALL:
            raise StepError(
                f"samples.selection is all, but {candidates.sum()} pixels are labelled, more than {MOST_OF_ALL}: "
                "choose stratified or reliable"
            )
        return [int(each) for each in candidates]

    def _learn(self, survey: Survey, enough: Sequence[bool]) -> dict[int, Clusters]:
        """Learn what is normal for each class, from as few blocks as have enough of it."""
        settings = self.configuration.samples
        draws = {index: Draw(LEARNT_FROM) for index, kept in enumerate(enough) if kept}
        # Twice as many, for some pixels are never seen.
        enough_of_each = dict.fromkeys(draws, 2 * LEARNT_FROM)
        for block in _some_blocks(survey, enough_of_each, LEAST_BLOCKS_LEARNT, settings.seed):
            series, labels = self._series(block), self._labels(block).ravel()
            for index, draw in draws.items():
                chosen = series.seen & (labels == index)
                self._offer(draw, LEARNING_DRAW, block, series, chosen=chosen, index=index)
        normal = {}
        for index, draw in draws.items():
            found = draw.result()
            if found is not None:
                judged = judged_features(Series(found.features, found.observations), self.configuration)
                normal[index] = Clusters.of(judged, settings)
        return normal

    def _draw(
        self, survey: Survey, wanted: Sequence[int], normal: dict[int, Clusters]
    ) -> tuple[list[list[Draw]], Counts]:
        """Return the draws, (trial, class), and how many pixels of each class there were to draw from."""
        settings = self.configuration.samples
        draws = [[Draw(most) for most in wanted] for _ in range(settings.trials)]
        available = np.zeros(len(wanted), dtype=np.int64)
        for block in self._blocks_to_draw_from(survey, wanted):
            series, labels = self._series(block), self._labels(block).ravel()
            seen = series.seen
            for index in np.unique(labels[labels >= 0]).tolist():
                chosen = seen & (labels == index)
                if settings.selection == "reliable":
                    chosen = self._reliable(block, series, chosen, normal.get(index))
                available[index] += int(chosen.sum())
                for trial, draw in enumerate(draws):
                    self._offer(draw[index], trial, block, series, chosen=chosen, index=index)
        return draws, available

    def _blocks_to_draw_from(self, survey: Survey, wanted: Sequence[int]) -> list[Block]:
        settings = self.configuration.samples
        if settings.selection == "all":
            return list(survey.candidates)
        enough = {index: CANDIDATES * most for index, most in enumerate(wanted) if most}
        found = _some_blocks(survey, enough, LEAST_BLOCKS_DRAWN, settings.seed)
        if len(found) < len(survey.candidates):
            say(f"samples are drawn from {len(found)} blocks, chosen at random out of {len(survey.candidates)}")
        return found

    def _reliable(
        self, block: Block, series: Series, chosen: npt.NDArray[np.bool_], clusters: Clusters | None
    ) -> npt.NDArray[np.bool_]:
        """Return which of the chosen pixels of a class look as it does, in objects that are not too small."""
        if clusters is None:
            return np.zeros_like(chosen)
        believed = chosen.copy()
        some = Series(series.features[chosen], series.observations[chosen])
        believed[chosen] = clusters.believe(judged_features(some, self.configuration))
        shaped = believed.reshape(block.frame.shape)
        return without_small_objects(shaped, self.configuration.samples.least_object_pixels).ravel()

    def _offer(
        self, draw: Draw, number: int, block: Block, series: Series, *, chosen: npt.NDArray[np.bool_], index: int
    ) -> None:
        """Offer pixels of a class to a draw."""
        pixel = np.flatnonzero(chosen)
        grid_x, grid_y = centres(block.frame)
        x, y = in_crs(grid_x.ravel()[pixel], grid_y.ravel()[pixel], block.frame.crs, self.mosaic.crs)
        resolution, seed = block.frame.resolution, self.configuration.samples.seed
        numbers = priorities(x, y, resolution=resolution, seed=seed, draw=number)
        better = draw.wants(numbers)
        pixel, x, y = pixel[better], x[better], y[better]
        validation = self.configuration.validation
        folds = fold_of(x, y, block_size=validation.block_size, folds=validation.folds)
        labels = np.full(len(pixel), index, dtype=np.int64)
        draw.offer(numbers[better], Pixels(series.features[pixel], series.observations[pixel], labels, folds, x, y))


def _counted(classes: Classes, count: int) -> Counts:
    return np.bincount(classes[classes >= 0], minlength=count).astype(np.int64)


def _some_blocks(survey: Survey, enough: Mapping[int, int], least: int, seed: int) -> list[Block]:
    """Return blocks, chosen at random, that together have enough of each class: at least `least`, or all there are.

    Args:
        survey: the blocks and their pixels of each class.
        enough: class index -> how many of its pixels.
        least: how many blocks a class comes from at least, so that it is known from many places.
        seed: of the choice; a block keeps its rank when others come or go.
    """
    blocks = list(survey.candidates)
    counts = np.stack([survey.candidates[block] for block in blocks])
    middles = np.array([(block.frame.bounds[0], block.frame.bounds[3]) for block in blocks])
    resolution = blocks[0].frame.resolution
    ranks = priorities(middles[:, 0], middles[:, 1], resolution=resolution, seed=seed, draw=BLOCKS_DRAW)
    order = np.argsort(ranks, kind="stable")
    chosen = np.zeros(len(blocks), dtype=bool)
    for index, pixels in enough.items():
        having = order[counts[order, index] > 0]
        before = np.cumsum(counts[having, index]) - counts[having, index]
        chosen[having[(before < pixels) | (np.arange(len(having)) < least)]] = True
    return [block for block, taken in zip(blocks, chosen.tolist(), strict=True) if taken]


def _short(found: Sequence[int], wanted: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    """Say which classes have fewer pixels than a draw wants of them."""
    notes = tuple(
        f"{name}: {count} pixels could be chosen; a draw wants {most}"
        for name, count, most in zip(names, found, wanted, strict=True)
        if count < most
    )
    for note in notes:
        say(note)
    return notes


def _uncovered(survey: Survey, old_map: str) -> tuple[str, ...]:
    """Say which tiles the old map does not cover.

    Raises:
        StepError: it covers none.
    """
    if not any(survey.covered.values()):
        raise StepError(
            f"the old map {old_map} covers none of the {len(survey.covered)} tiles: check its projection and extent "
            "(`rio info`), and area"
        )
    notes = tuple(
        f"the old map covers {share:.1%} of tile {name}; no samples come from the rest"
        for name, share in survey.covered.items()
        if share < 1 - 1e-9
    )
    for note in notes:
        say(f"warning: {note}")
    return notes
