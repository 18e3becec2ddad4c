"""Warping error on pictures small enough to warp by hand."""

import numpy as np
import pytest

from unetcore.errors import InputError
from unetcore.metrics import Mismatch, warped_label, warping_error, warping_mismatches


def picture(*rows):
    """Bool image of rows of text, `#` = white."""
    return np.array([[pixel == "#" for pixel in row] for row in rows])


OBJECT = picture(
    ".......",
    ".#####.",
    ".#####.",
    ".#####.",
    ".......",
)
CUT = picture(
    ".......",
    ".##.##.",
    ".##.##.",
    ".##.##.",
    ".......",
)


def test_pure_split():
    # The line is entered from the top: each pixel still has white on three sides and is simple.
    # The last one joins left and right alone and has to stay.
    result = warping_error(OBJECT, CUT, thresholds=[0.5])
    (counts,) = result.counts[0]
    assert (counts.splits, counts.mergers) == (1, 0)
    assert result.value == 1 / 35
    places = warping_mismatches(OBJECT, CUT, 0.5)
    assert np.argwhere(places == Mismatch.SPLIT).tolist() == [[3, 3]]
    assert np.count_nonzero(places) == 1


def test_pure_merger():
    # The same two pictures exchanged. Black is 8-connected: adding any wall pixel to the objects
    # joins two objects or, at the ends, still touches both. None is simple: all three stay.
    result = warping_error(CUT, OBJECT, thresholds=[0.5])
    (counts,) = result.counts[0]
    assert (counts.splits, counts.mergers) == (0, 3)
    assert result.value == 3 / 35
    places = warping_mismatches(CUT, OBJECT, 0.5)
    assert np.argwhere(places == Mismatch.MERGER).tolist() == [[1, 3], [2, 3], [3, 3]]


def test_the_surest_pixel_flips_first():
    # As in the pure split, but the line is surest at its lower end: the upper one stays.
    probability = np.where(OBJECT, 0.9, 0.1)
    probability[1:4, 3] = 0.4, 0.2, 0.0
    places = warping_mismatches(OBJECT, probability, 0.5)
    assert np.argwhere(places == Mismatch.SPLIT).tolist() == [[1, 3]]


def test_a_shifted_object_costs_nothing():
    shifted = np.roll(OBJECT, 1, axis=1)
    np.testing.assert_array_equal(warped_label(OBJECT, shifted, 0.5), shifted)
    result = warping_error(OBJECT, shifted)
    assert result.value == result.classic == 0.0


@pytest.mark.parametrize(
    ("change", "of_label", "expected"),
    [
        ((2, 3), False, Mismatch.HOLE_ADDITION),  # the proposal has a hole that the label has not
        ((2, 3), True, Mismatch.HOLE_DELETION),  # the label has a hole that the proposal has not
    ],
)
def test_holes_are_seen_but_not_counted(change, of_label, expected):
    holed = OBJECT.copy()
    holed[change] = False
    pair = (holed, OBJECT) if of_label else (OBJECT, holed)
    places = warping_mismatches(*pair, 0.5)
    assert places[change] == expected
    assert np.count_nonzero(places) == 1
    result = warping_error(*pair)
    assert result.value == 0.0
    assert result.classic == 1 / 35


def test_objects_are_seen_but_not_counted():
    empty, dot = np.zeros((2, 5, 5), bool)
    dot[2, 2] = True
    assert warping_mismatches(empty, dot, 0.5)[2, 2] == Mismatch.OBJECT_ADDITION
    assert warping_mismatches(dot, empty, 0.5)[2, 2] == Mismatch.OBJECT_DELETION
    assert warping_error(empty, dot).value == warping_error(dot, empty).value == 0.0


@pytest.mark.parametrize(("side", "expected"), [(9, "HOLE_DELETION"), (60, "SPLIT")])
def test_a_ring_cut_open_is_a_split_where_the_window_is_smaller(side, expected):
    # One cut leaves a ring connected. The official program looks no further than 20 px: in a large
    # ring the two ends are apart within the window, and the cut counts as a split.
    ring = np.zeros((side, side), bool)
    ring[1:-1, 1:-1] = True
    ring[2:-2, 2:-2] = False
    cut = ring.copy()
    cut[1, side // 2] = False
    places = warping_mismatches(ring, cut, 0.5)
    assert np.argwhere(places).tolist() == [[1, side // 2]]
    assert places[1, side // 2] == Mismatch[expected]


def long_ring(length, shape):
    """Image with a ring that is 5 px wide and reaches `length` px down from the middle of its top.

    Returns the image and the same with that middle pixel cut out: the way round is the ring.
    """
    ring = np.zeros(shape, bool)
    ring[1 : length + 2, 1:6] = True
    ring[2 : length + 1, 2:5] = False
    cut = ring.copy()
    cut[1, 3] = False
    return ring, cut


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize(("length", "expected"), [(20, "HOLE_DELETION"), (21, "SPLIT")])
def test_window_reaches_20_px_to_each_side(turns, length, expected):
    ring, cut = (np.rot90(image, turns) for image in long_ring(length, (40, 40)))
    (code,) = set(warping_mismatches(ring, cut, 0.5).ravel().tolist()) - {0}
    assert code == Mismatch[expected]


@pytest.mark.parametrize("turns", range(2))
@pytest.mark.parametrize(("side", "expected"), [(19, "HOLE_DELETION"), (20, "SPLIT")])
def test_window_is_the_whole_image_where_a_side_is_below_20_px(turns, side, expected):
    ring, cut = (np.rot90(image, turns) for image in long_ring(30, (40, side)))
    (code,) = set(warping_mismatches(ring, cut, 0.5).ravel().tolist()) - {0}
    assert code == Mismatch[expected]


def test_a_wholly_white_slice_reports_its_split():
    # The official program misses this one; the artefact is not imitated.
    label, cut = np.ones((2, 5, 5), bool)
    cut[:, 2] = False
    (counts,) = warping_error(label, cut, thresholds=[0.5]).counts[0]
    assert (counts.splits, sum(counts)) == (1, 1)


def test_classes_are_pooled_over_slices():
    result = warping_error(np.stack([OBJECT, CUT]), np.stack([CUT, OBJECT]), thresholds=[0.5])
    assert [counts.splits for counts in result.counts[0]] == [1, 0]
    assert [counts.mergers for counts in result.counts[0]] == [0, 3]
    assert result.value == 4 / 70


@pytest.mark.parametrize("places", [warped_label, warping_mismatches])
def test_images_are_of_one_slice(places):
    with pytest.raises(InputError, match=r"label of shape \(2, 5, 7\)"):
        places(np.stack([OBJECT, CUT]), np.stack([OBJECT, CUT]), 0.5)
    with pytest.raises(InputError, match="shapes must be equal"):
        places(OBJECT, CUT.T, 0.5)
    with pytest.raises(InputError, match="finite number"):
        places(OBJECT, CUT, np.nan)
