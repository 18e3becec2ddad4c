"""From probability to cells: threshold, connectivity, size and field of interest, each by hand."""

import numpy as np
import pytest
from scipy import ndimage
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
    found = instances(p, smallest_object=0, border=2)
    expected = np.zeros((9, 12))
    expected[1:4, 8:10] = 1
    np.testing.assert_array_equal(found, expected)
    assert instances(p, smallest_object=0).max() == 3


@pytest.mark.parametrize("margin", [1, 2])
def test_field_of_interest_begins_right_behind_the_margin(margin):
    p = np.zeros((7, 7))
    p[3, 1] = 1
    assert instances(p, smallest_object=0, border=margin).any() == (margin == 1)


RING = """
    aaaaaaa...
    a.....a...
    a.bbb.a.c.
    a.b.b.a.cc
    a.bbb.a.c.
    a.....a...
    aaaaaaa...
"""


def drawn(text):
    """Cells of a drawing: a number for each letter in its order, 0 for points."""
    rows = [[max(0, ord(letter) - 96) for letter in line] for line in text.split()]
    return np.array(rows)


def test_holes_of_one_cell_are_filled_and_gaps_between_two_are_not():
    cells = drawn(RING)
    expected = drawn(RING)
    expected[3, 3] = 2  # touches b alone; what lies around b touches a as well
    found = instances(cells > 0, smallest_object=0, fill_holes=True)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(instances(cells > 0, smallest_object=0), cells)


def test_a_hole_is_filled_though_something_small_lies_in_it_and_makes_no_cell_larger():
    """The ring has 24 px, what is in it 9: with that it would be larger than the bound."""
    ring = drawn(RING)
    found = instances(ring > 0, smallest_object=23, fill_holes=True)
    expected = np.zeros((7, 10))
    expected[:, :7] = 1
    np.testing.assert_array_equal(found, expected)
    assert not instances(ring > 0, smallest_object=24, fill_holes=True).any()


def test_a_bay_and_a_gap_that_is_open_at_a_corner():
    """Background is connected by sides, so a corner closes a hole, and the edge opens one."""
    p = drawn("aaaa. a..a. a.a.. .a... ..... aaa.. a.a..")
    expected = p.copy()
    expected[1:3, 1], expected[1, 2] = 1, 1
    found = instances(p, smallest_object=0, fill_holes=True)
    np.testing.assert_array_equal(found > 0, expected > 0)


@pytest.mark.parametrize("seed", range(5))
def test_filled_cells_are_those_that_scikit_image_fills_one_by_one(seed):
    rng = np.random.default_rng(seed)
    p = ndimage.gaussian_filter(rng.uniform(size=(60, 70)), 1)
    cells = instances(p, smallest_object=3)
    found = instances(p, smallest_object=3, fill_holes=True)
    np.testing.assert_array_equal(found[cells > 0], cells[cells > 0])
    n_filled = 0
    for region in measure.regionprops(cells):
        rows, columns = region.slice
        holes, n = ndimage.label(region.image_filled & ~region.image)
        for hole in range(1, n + 1):
            inner = cells[rows, columns][holes == hole]
            n_filled += not inner.any()
            owners = found[rows, columns][holes == hole]
            assert (owners == region.label).all() == (not inner.any())
    assert n_filled > 5


def test_more_cells_than_uint16_can_number():
    p = np.zeros((514, 514))
    p[::2, ::2] = 1  # 257 x 257 = 66,049 cells
    for fill in (False, True):
        found = instances(p, smallest_object=0, fill_holes=fill)
        assert (found.dtype, found.max()) == (np.uint32, 257**2)
        assert len(np.unique(found)) == 257**2 + 1


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
    found = instances(p, threshold=0.7, smallest_object=smallest, border=margin)
    assert n > 3
    assert found.max() == n
    # the same objects, each under one number, in whatever order
    pairs = np.unique(np.stack((found.ravel(), expected.ravel())), axis=1)
    assert pairs.shape[1] == n + 1
