"""Which observations show the ground: the rule, the growing of clouds, and values that are missing."""

import numpy as np
import pytest
from landcover_jobs.configuration.images import Band, CloudMask
from landcover_jobs.preparation.cloud_mask import clear_of_mask, far_from_clouds, grown, valid_in_all


def test_only_the_listed_values_of_a_classification_are_clear():
    """Of Sentinel-2's scene classes: vegetation (4), bare soil (5) and unclassified (7)."""
    mask = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    clear = clear_of_mask(mask, CloudMask(clear=(4, 5, 7)))
    assert np.flatnonzero(clear).tolist() == [4, 5, 7]


def test_a_pixel_with_any_clouded_bit_is_not_clear():
    """Landsat's QA_PIXEL: 21824 clear, 22280 cloud, 23888 shadow, 1 nothing; bits 0 fill, 1 to 4 clouds, shadow."""
    mask = np.array([[[21824, 22280, 23888, 1]]], dtype=np.uint16)
    rule = CloudMask(band="QA_PIXEL", clouded_bits=(0, 1, 3, 4))
    assert clear_of_mask(mask, rule).ravel().tolist() == [True, False, False, False]
    assert clear_of_mask(mask.astype(np.float32), rule).ravel().tolist() == [True, False, False, False]


@pytest.mark.parametrize("rule", [CloudMask(clear=(4,)), CloudMask(clouded_bits=(3,))])
def test_a_mask_that_is_not_a_number_is_not_clear(rule):
    """Some readers hand out missing integers as NaN."""
    assert clear_of_mask(np.array([[[4.0, np.nan]]], dtype=np.float32), rule).ravel().tolist() == [True, False]


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 8, 60])
def test_a_cloud_grows_to_the_disk_of_pixels_within_its_radius(radius):
    """Compared with the definition, pixel by pixel, on random clouds in an odd rectangle; also beyond its size."""
    rng = np.random.default_rng(radius)
    clouds = rng.random((2, 23, 31)) < 0.01
    rows, columns = np.mgrid[:23, :31]
    expected = np.zeros_like(clouds)
    for date, row, column in np.argwhere(clouds):
        expected[date] |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    assert np.array_equal(grown(clouds, radius), expected)


def test_clouds_grow_but_the_edge_of_an_image_does_not():
    """A cloud takes two pixels on each side with it; where the image shows nothing, the pixel beside it stays."""
    clear = np.array([[[True, True, True, False, True, True, True, True, False]]])
    shown = np.array([[[True] * 8 + [False]]])
    assert far_from_clouds(clear, shown, 2).ravel().tolist() == [1, 0, 0, 0, 0, 0, 1, 1, 0]


def test_a_value_must_be_there_in_every_band():
    """0 is the nodata of both bands here, -1 of none; infinite is no value; a band without nodata takes all."""
    values = np.array([[1.0, 0.0, 1.0, np.nan, np.inf, -1.0], [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]], dtype=np.float32)
    both = valid_in_all(values.reshape(1, 2, 1, 6), [Band(), Band()])
    assert both.ravel().tolist() == [True, False, False, False, False, True]
    second_takes_all = valid_in_all(values.reshape(1, 2, 1, 6), [Band(), Band(nodata=None)])
    assert second_takes_all.ravel().tolist() == [True, False, True, False, False, True]
