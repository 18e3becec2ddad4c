"""From probability to cells: threshold, connectivity, size and field of interest, each by hand."""

import numpy as np
import pytest
from skimage import measure

from unetcore.instances import instances


def test_components_meet_at_corners():
    p = np.array([[0.9, 0, 0, 0.9], [0, 0.9, 0, 0.9]])
    expected = [[1, 0, 0, 2], [0, 1, 0, 2]]
    np.testing.assert_array_equal(instances(p, smallest_object=0), expected)


def test_threshold_is_strict():
    p = np.array([[0.5, 0.4, np.nextafter(0.5, 1)]])
    np.testing.assert_array_equal(instances(p, smallest_object=0), [[0, 0, 1]])
    np.testing.assert_array_equal(instances(p, threshold=0.3, smallest_object=0), [[1, 1, 1]])


@pytest.mark.parametrize(("area", "kept"), [(499, False), (500, False), (501, True)])
def test_objects_of_500_px_are_removed_and_of_501_kept(area, kept):
    p = np.zeros((20, 40))
    p.ravel()[:area] = 1
    assert instances(p).any() == kept


def test_numbers_are_consecutive_after_removal():
    p = np.array([[1, 0, 1, 1, 0, 1, 0, 1, 1]])
    expected = [[0, 0, 1, 1, 0, 0, 0, 2, 2]]
    found = instances(p, smallest_object=1)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint16


def test_objects_wholly_in_the_margin_are_removed_others_kept_whole():
    p = np.zeros((9, 12))
    p[0:2, 0:5] = 1  # wholly in the margin of 2 px
    p[1:4, 8:10] = 1  # reaches in by rows 2 and 3
    p[5:8, 10:12] = 1  # wholly in the margin of columns
    found = instances(p, smallest_object=0, field_of_interest=2)
    expected = np.zeros((9, 12))
    expected[1:4, 8:10] = 1
    np.testing.assert_array_equal(found, expected)
    assert instances(p, smallest_object=0).max() == 3


@pytest.mark.parametrize("margin", [1, 2])
def test_field_of_interest_begins_right_behind_the_margin(margin):
    p = np.zeros((7, 7))
    p[3, 1] = 1
    assert instances(p, smallest_object=0, field_of_interest=margin).any() == (margin == 1)


def test_empty_and_full_frames():
    assert not instances(np.zeros((30, 30))).any()
    np.testing.assert_array_equal(instances(np.ones((30, 30))), np.ones((30, 30)))


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_image(seed):
    rng = np.random.default_rng(seed)
    p = rng.uniform(size=(50, 60))
    smallest, margin = int(rng.integers(0, 6)), int(rng.integers(1, 15))
    components = measure.label(p > 0.7, connectivity=2)
    expected = np.zeros(p.shape, int)
    n = 0
    for region in measure.regionprops(components):
        rows, columns = region.coords.T
        inside = (rows >= margin) & (rows < 50 - margin) & (columns >= margin)
        if region.area > smallest and (inside & (columns < 60 - margin)).any():
            n += 1
            expected[rows, columns] = n
    found = instances(p, threshold=0.7, smallest_object=smallest, field_of_interest=margin)
    assert n > 3
    assert found.max() == n
    # the same objects, each under one number, in whatever order
    pairs = np.unique(np.stack((found.ravel(), expected.ravel())), axis=1)
    assert pairs.shape[1] == n + 1
