"""Erosion, clusters, allocation and draws, each by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from landcover_jobs.configuration.legend import Samples
from landcover_jobs.samples.erosion import inside_of_classes
from landcover_jobs.samples.pixels import Pixels
from landcover_jobs.samples.reliable import Clusters, without_small_objects
from landcover_jobs.samples.stratified import Draw, allocation, priorities
from scipy.ndimage import binary_erosion


def test_erosion_is_that_of_a_disk():
    """As scipy erodes each class by the disk, with what lies outside taken from the margin."""
    random = np.random.default_rng(4)
    radius = 3
    classes = np.kron(random.integers(0, 3, (6, 6)), np.ones((9, 9), dtype=int))
    covered = np.ones(classes.shape, dtype=bool)
    away = np.hypot(*np.ogrid[-radius : radius + 1, -radius : radius + 1])
    expected = np.zeros(classes.shape, dtype=bool)
    for value in range(3):
        expected |= binary_erosion(classes == value, away <= radius)
    found = inside_of_classes(classes, covered, radius)
    assert (found == expected[radius:-radius, radius:-radius]).all()
    assert 0 < found.sum() < found.size


def test_unknown_pixels_eat_and_uncovered_ones_do_not():
    """Where a map ends its classes need not."""
    classes = np.zeros((9, 9), dtype=int)
    classes[:, 0] = -1
    covered = np.ones(classes.shape, dtype=bool)
    assert not inside_of_classes(classes, covered, 2)[:, 0].any()
    covered[:, 0] = False
    assert inside_of_classes(classes, covered, 2).all()
    assert inside_of_classes(classes, covered, 0).sum() == 72


def test_clusters_keep_what_most_pixels_look_like():
    """Three large groups and a small one of mislabelled pixels: hardly any of these is believed."""
    random = np.random.default_rng(0)
    middles = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    good = np.concatenate([random.normal(middle, 0.3, (300, 2)) for middle in middles]).astype(np.float32)
    wrong = random.normal((8.0, 8.0), 0.3, (60, 2)).astype(np.float32)
    clusters = Clusters.of(np.concatenate([good, wrong]), Samples())
    assert not clusters.believe(wrong).any()
    assert clusters.believe(good).mean() == pytest.approx(0.75, abs=0.01)
    assert not clusters.believe(np.full((1, 2), np.nan, dtype=np.float32)).any()


def test_clusters_are_the_same_each_time():
    """The same pixels and seed, the same centres and limits."""
    features = np.random.default_rng(1).normal(size=(500, 6)).astype(np.float32)
    one, two = Clusters.of(features, Samples(seed=5)), Clusters.of(features, Samples(seed=5))
    assert (one.centres == two.centres).all()
    assert (one.limits == two.limits).all()


def test_fewer_different_pixels_than_clusters():
    """Two pixels, or many equal ones, are all believed."""
    for features in (np.array([[0.0], [1.0]]), np.zeros((30, 2))):
        assert Clusters.of(features.astype(np.float32), Samples(distance_quantile=1)).believe(features).all()


def test_small_objects_go_but_not_at_the_edge_of_the_block():
    """They may go on in the next block; pixels that touch at a corner are one object."""
    chosen = np.zeros((8, 8), dtype=bool)
    chosen[2, 2] = chosen[0, 5] = True
    chosen[4, 4] = chosen[5, 5] = True
    kept = without_small_objects(chosen, 2)
    assert kept.sum() == 3
    assert not kept[2, 2]
    assert without_small_objects(chosen, 1) is chosen
    assert without_small_objects(chosen, 3).sum() == 1


def test_a_rare_class_gets_its_share():
    """Areas of 90, 9.9 and 0.1 per cent; the rare one is raised to 2 per cent, the others keep their proportion."""
    assert allocation([9000, 990, 10], 1000, 0.02) == [883, 97, 20]
    assert allocation([9000, 0, 1000], 100, 0.0) == [90, 0, 10]
    assert allocation([1, 1, 1], 100, 0.9) == [34, 33, 33]
    assert allocation([0, 0], 100, 0.1) == [0, 0]


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=12).filter(any), st.integers(10, 10**6), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_allocation_deals_all_and_nothing_to_nobody(areas, total, share):
    """The sum is the total, a class without area gets nothing, and none falls below its share."""
    dealt = allocation(areas, total, share)
    assert sum(dealt) == total
    present = sum(area > 0 for area in areas)
    for area, count in zip(areas, dealt, strict=True):
        assert (count == 0) if area == 0 else (count >= int(total * min(share, 1 / present)) - 1)


def pixels_at(x):
    """Return pixels without much of a series at y = 0."""
    x = np.asarray(x, dtype=np.float64)
    count = len(x)
    zeros = np.zeros(count, dtype=np.int64)
    series = np.zeros((count, 1, 1), dtype=np.float32), np.zeros((count, 1), dtype=np.uint8)
    return Pixels(*series, zeros, zeros, x, np.zeros(count))


def drawn(order, most, *, seed=1, draw=0, parts=7):
    """Draw from pixels that are offered in some order and in several parts."""
    draws = Draw(most)
    for part in np.array_split(order, parts):
        offered = pixels_at(part * 10.0 + 5)
        numbers = priorities(offered.x, offered.y, resolution=10.0, seed=seed, draw=draw)
        wanted = draws.wants(numbers)
        draws.offer(numbers[wanted], offered.take(wanted))
    return sorted(draws.result().x.tolist())


def test_a_draw_does_not_depend_on_the_order():
    """Blocks and tiles may come as they like."""
    forwards, backwards = np.arange(1000), np.arange(1000)[::-1]
    assert drawn(forwards, 100) == drawn(backwards, 100, parts=3)
    assert len(drawn(forwards, 100)) == 100
    assert len(drawn(forwards, 5000)) == 1000


def test_draws_are_random_and_independent():
    """Any part of the ground has its share, and two draws share as many pixels as chance has it."""
    one, two = set(drawn(np.arange(10_000), 1000)), set(drawn(np.arange(10_000), 1000, draw=1))
    assert 60 < len(one & two) < 140
    assert 420 < sum(x < 50_000 for x in one) < 580
    assert one != set(drawn(np.arange(10_000), 1000, seed=2))


def test_most_pixels_stay_drawn_when_some_ground_is_added():
    """A new tile of a tenth of the size replaces about a tenth of the draw."""
    before, after = set(drawn(np.arange(9000), 900)), set(drawn(np.arange(10_000), 900))
    assert len(before & after) > 750
