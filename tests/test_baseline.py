"""The best threshold: it must be the best, and be applied as it was chosen."""

import numpy as np
import pytest

from unetcore.baseline import (
    best_level_for_cells,
    best_level_for_membranes,
    threshold_probability,
)
from unetcore.metrics import foreground_iou, rand_error

BOTH = [best_level_for_membranes, best_level_for_cells]


def two_cells(dark, bright):
    """One 8-bit slice: two bright cells with a dark line between them."""
    levels = np.full((1, 9, 11), bright)
    levels[:, :, 5] = dark
    return (levels / 255).astype(np.float32), (levels == bright).astype(np.uint8)


@pytest.mark.parametrize("best_level", BOTH)
def test_two_grey_levels_are_told_apart(best_level):
    images, labels = two_cells(40, 200)
    assert 40 <= 255 * best_level(images, labels) < 200
    found = threshold_probability(images, best_level(images, labels))
    np.testing.assert_array_equal(found, labels)
    assert found.dtype == np.float32


@pytest.mark.parametrize("best_level", BOTH)
def test_any_two_neighbouring_levels_of_8_bits_are_told_apart(best_level):
    missed = []
    for dark in range(0, 255, 3):
        images, labels = two_cells(dark, dark + 1)
        if not np.array_equal(threshold_probability(images, best_level(images, labels)), labels):
            missed.append(dark)
    assert missed == []


@pytest.mark.parametrize("best_level", BOTH)
def test_threshold_is_applied_as_it_was_chosen(best_level):
    # The score of the map must be the best that was found, for 8-bit images of every contrast.
    rng = np.random.default_rng(0)
    for _ in range(4):
        labels = np.kron(rng.integers(0, 2, (1, 4, 5)), np.ones((1, 6, 6), int))
        low, spread = rng.integers(0, 100), rng.integers(2, 30)
        levels = low + spread * labels + rng.integers(0, spread, labels.shape)
        images = (levels / 255).astype(np.float32)
        cuts = [levels > level for level in range(-1, 256)]
        found = threshold_probability(images, best_level(images, labels))
        if best_level is best_level_for_cells:
            best = max(foreground_iou(labels, cut) for cut in cuts if cut.any())
            assert foreground_iou(labels, found > 0.5) == best
        else:
            best = min(rand_error(labels, cut, thresholds=[0.5]).value for cut in cuts)
            assert rand_error(labels, found, thresholds=[0.5]).value == best


def test_the_level_for_cells_is_the_best_of_all_by_hand():
    # A cell of three pixels at 30, 20, 10 and background at 15, 5: levels 15..19 keep two of
    # three (IoU 2/3), 5..9 keep all and one wrong (3/4).
    images = (np.array([[[30, 20, 10, 15, 5]]]) / 255).astype(np.float32)
    labels = np.array([[[1, 1, 1, 0, 0]]])
    assert 5 <= round(255 * best_level_for_cells(images, labels)) <= 9
    found = threshold_probability(images, best_level_for_cells(images, labels))
    np.testing.assert_array_equal(found, [[[1, 1, 1, 1, 0]]])
