"""The changes that are made to labels are what their names say."""

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.label_noise import CHANGES, RADIUS, displaced, measure, widened, with_gaps
from unetcore.errors import InputError

SIDE = 48


def random():
    return np.random.default_rng(0)


def grid(n=3):
    """n x n cells with membranes of 4 px between them."""
    cells = np.ones((SIDE, SIDE), bool)
    for k in range(1, n):
        place = k * SIDE // n
        cells[place - 2 : place + 2] = False
        cells[:, place - 2 : place + 2] = False
    return cells


def test_a_membrane_grows_by_one_pixel_to_each_side():
    cells = np.ones((5, 7), bool)
    cells[:, 3] = False
    expected = np.ones((5, 7), bool)
    expected[:, 2:5] = False
    np.testing.assert_array_equal(widened(cells, random()), expected)


def test_displacements_have_the_length_that_they_are_named_by(monkeypatch):
    seen = []

    def moved(cells, positions, **options):
        seen.append(positions - np.indices(cells.shape))
        return cells

    monkeypatch.setattr(ndimage, "map_coordinates", moved)
    displaced(grid(), random(), std=2)
    (vectors,) = seen
    assert vectors.std(axis=(1, 2)) == pytest.approx([2, 2])
    assert np.abs(np.diff(vectors, axis=1)).max() < 1  # smooth: neighbours stay neighbours


def test_no_displacement_changes_nothing():
    np.testing.assert_array_equal(displaced(grid(), random(), std=0), grid())


@pytest.mark.parametrize("n", [1, 2])
def test_every_gap_joins_two_cells(n):
    opened = with_gaps(grid(), random(), n)
    assert (opened >= grid()).all()
    _, before = ndimage.label(grid())
    _, after = ndimage.label(opened)
    assert (before, after) == (9, 9 - n)  # with this seed not twice between the same cells
    _, discs = ndimage.label(opened & ~grid())
    assert discs == n
    assert (opened & ~grid()).sum() <= n * 3.2 * RADIUS**2


def test_where_no_two_cells_face_each_other_there_is_no_gap():
    with pytest.raises(InputError, match="no place is left for 1 more gaps"):
        with_gaps(np.ones((SIDE, SIDE), bool), random(), 1)


def test_labels_score_perfectly_against_themselves_and_worse_after_a_change():
    labels = np.stack([grid(), grid(4)]).astype(np.uint8)
    assert measure(labels, CHANGES["none"]) == {
        "warping_error": 0, "rand_error": 0, "pixel_error": 0, "v_rand": 1, "v_info": 1
    }  # fmt: skip
    shifted = measure(labels, CHANGES["borders moved by 1 px"])
    opened = measure(labels, CHANGES["one gap per slice"])
    assert opened["v_rand"] < shifted["v_rand"]
    assert opened["pixel_error"] < shifted["pixel_error"]
