"""The threshold for use, and the smallest object, by what people labelled."""

import numpy as np
import pytest

from unetcore.errors import InputError
from unetcore.labels import IGNORED
from unetcore.thresholds import choose_threshold, smallest_object

CUTTING = {"smallest_object": 0}


def two_cells(gap):
    """Two cells of 4 x 4 px with a membrane between them, whose probability is `gap`."""
    labels = np.zeros((1, 6, 11), np.uint16)
    labels[0, 1:5, 1:5], labels[0, 1:5, 6:10] = 1, 2
    probability = np.where(labels > 0, 0.95, 0.0).astype(np.float32)
    probability[0, 1:5, 5] = gap
    return labels, probability


@pytest.mark.parametrize("kind", ["mask", "instances"])
@pytest.mark.parametrize(("gap", "threshold"), [(0.0, 0.5), (0.55, 0.6), (0.75, 0.8), (0.45, 0.5)])
def test_cells_must_not_run_together(kind, gap, threshold):
    """Of all thresholds that part the cells, the one nearest to 0.5 is taken."""
    labels, probability = two_cells(gap)
    if kind == "mask":
        labels = np.minimum(labels, 1)
    assert choose_threshold(labels, probability, kind, CUTTING) == threshold


def test_ignored_pixels_have_no_say():
    labels, probability = two_cells(0.75)
    labels[0, :, 5:] = IGNORED  # the second cell, and the membrane
    assert choose_threshold(np.minimum(labels, IGNORED), probability, "instances", CUTTING) == 0.5


def test_images_without_a_cell_have_no_say():
    labels, probability = two_cells(0.75)
    labels = np.concatenate((labels * 0, labels))
    probability = np.concatenate((probability * 0 + 1, probability))
    assert choose_threshold(np.minimum(labels, 1), probability, "mask", CUTTING) == 0.8
    assert choose_threshold(labels[:1], probability[:1], "mask", CUTTING) == 0.5


@pytest.mark.parametrize("kind", ["mask", "instances"])
def test_smallest_object_is_a_quarter_of_small_cells(kind):
    """20 cells of 16 px and one of 4: the 5 % quantile of 21 areas is the second smallest."""
    labels = np.zeros((5 * 21, 5), np.uint16)
    for k in range(21):
        side = 2 if k == 7 else 4
        labels[5 * k : 5 * k + side, :side] = 1 if kind == "mask" else k + 1
    labels[-1] = IGNORED
    assert smallest_object([labels], kind) == 4


def test_no_cell_is_refused():
    with pytest.raises(InputError, match="labels: not one cell"):
        smallest_object([np.zeros((3, 3), np.uint16)], "mask")
