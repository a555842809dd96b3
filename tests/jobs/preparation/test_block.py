"""Blocks: the same pixels however they are cut, what stands where nothing was seen, and what is noted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from landcover_jobs.grid.frame import Window
from landcover_jobs.preparation.block import Summary, by_period, composites_of, summary_of
from landcover_jobs.preparation.normalisation import Statistics
from landcover_jobs.preparation.store import NEVER_SEEN, create_store, read_block

CLOUD, SHOWS_NOTHING = 9, 0


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    grow=st.integers(0, 6),
    edge=st.integers(4, 60),
    margin=st.integers(0, 8),
    period=st.sampled_from(["month", "ten_days"]),
)
def test_blocks_of_any_size_are_parts_of_the_whole(make_map, make_cube, frame, seed, grow, edge, margin, period):  # noqa: PLR0917
    """Clouds grow over the edges of blocks; the image goes on beyond the tile, and so do its clouds."""
    mask = {"band": "SCL", "clear": [4], "grow_pixels": grow}
    small = make_map(composites={"cloud_mask": mask, "period": period})
    cube = make_cube(seed, margin=margin, clouds=0.01)
    periods = by_period(cube.scenes, small)
    whole = composites_of(cube, periods, frame, small)
    assert 0 < np.count_nonzero(whole.observations == 0) < whole.observations.size
    for window in frame.blocks(edge):
        rows, columns = window.slices
        part = composites_of(cube, periods, frame.part(window), small)
        assert np.array_equal(part.bands, whole.bands[:, :, rows, columns])
        assert np.array_equal(part.observations, whole.observations[:, rows, columns])


def test_a_cloud_beyond_the_block_takes_its_edge(make_map, make_cube, frame):
    """One cloudy pixel two columns to the right of the block hides its last column on that date, where clouds grow."""
    cube = make_cube(0, clouds=0.0, dates=1)
    values = np.full_like(cube.values, 4)
    values[0, 2, 5, 12] = CLOUD
    cube = replace(cube, values=values)
    small = make_map(composites={"cloud_mask": {"band": "SCL", "clear": [4], "grow_pixels": 2}})
    block = composites_of(cube, by_period(cube.scenes, small), frame.part(Window(0, 0, 11, 11)), small)
    hidden = np.argwhere(block.observations.sum(axis=0) == 0)
    assert hidden.tolist() == [[5, 10]]


def test_the_order_in_which_scenes_are_listed_does_not_matter(make_map, make_cube, frame):
    """They are put in the order of their dates."""
    cube, small = make_cube(3), make_map()
    one = composites_of(cube, by_period(cube.scenes, small), frame, small)
    other = composites_of(cube, by_period(cube.scenes[::-1], small), frame, small)
    assert np.array_equal(one.bands, other.bands)
    assert np.array_equal(one.observations, other.observations)


def test_a_month_of_clouds_is_interpolated_and_says_so(make_map, frame, make_cube):
    """Between 1000 in January and 3000 in March lies 2000, of no observation; the summary names the month."""
    cube = make_cube(0, dates=3, clouds=0.0)
    values = np.full_like(cube.values, 4)
    values[:, :2] = np.array([1000, 7777, 3000], dtype=np.uint16)[:, None, None, None]
    values[1, 2] = CLOUD
    cube = replace(cube, values=values, dates=("2018-01-15", "2018-02-14", "2018-03-16"))
    small = make_map()
    block = composites_of(cube, by_period(cube.scenes, small), frame, small)
    assert np.unique(block.bands[1]).tolist() == [2000]
    assert not block.observations[1].any()
    assert summary_of(block, small).empty_periods == (1, 3, 4, 5, 6, 7, 8, 9, 10, 11)


def test_a_pixel_that_is_never_seen_is_marked_in_all_periods_and_left_out_of_the_statistics(make_map, make_cube, frame):
    """The others are as they were."""
    cube, small = make_cube(1), make_map()
    before = composites_of(cube, by_period(cube.scenes, small), frame, small)
    cube.values[:, 1, 7, 8] = SHOWS_NOTHING
    block = composites_of(cube, by_period(cube.scenes, small), frame, small)
    assert np.unique(block.bands[:, :, 7, 8]).tolist() == [NEVER_SEEN]
    assert not block.observations[:, 7, 8].any()
    others = np.ones(frame.shape, dtype=np.bool_)
    others[7, 8] = False
    assert np.array_equal(block.bands[:, :, others], before.bands[:, :, others])
    summary = summary_of(block, small)
    assert summary.pixels_never_seen == 1
    assert summary.statistics.count == frame.height * frame.width - 1


def test_the_summary_is_that_of_the_features_that_readers_get(make_map, make_cube, frame, tmp_path):
    """Read back from the store; in float64, to 1 in a million."""
    cube, small = make_cube(2), make_map()
    block = composites_of(cube, by_period(cube.scenes, small), frame, small)
    group = create_store(tmp_path / "tile.zarr", small, frame, 2018)
    group["bands"][:], group["observations"][:] = block.bands, block.observations
    series = read_block(group, Window(0, 0, *frame.shape), small)
    expected, noted = Statistics.of(series.features), summary_of(block, small)
    assert noted.statistics.count == expected.count
    assert noted.statistics.mean == pytest.approx(expected.mean, rel=1e-6)
    assert noted.statistics.squares == pytest.approx(expected.squares, rel=1e-6)
    assert noted.observations == series.observations.sum()


def test_a_summary_survives_json_and_those_of_blocks_add_up(make_map, make_cube, frame):
    """To the bit through JSON; sums of blocks are those of the whole."""
    cube, small = make_cube(4), make_map()
    periods = by_period(cube.scenes, small)
    whole = summary_of(composites_of(cube, periods, frame, small), small)
    parts = [summary_of(composites_of(cube, periods, frame.part(window), small), small) for window in frame.blocks(16)]
    again = Summary.from_dict(json.loads(json.dumps(whole.as_dict())))
    assert json.dumps(again.as_dict()) == json.dumps(whole.as_dict())
    total = parts[0]
    for part in parts[1:]:
        total = total.merged(part)
    assert (total.pixels, total.observations, total.seen_in_period) == (
        whole.pixels,
        whole.observations,
        whole.seen_in_period,
    )
    assert total.statistics.mean == pytest.approx(whole.statistics.mean, rel=1e-9)
    assert total.statistics.squares == pytest.approx(whole.statistics.squares, rel=1e-9)
