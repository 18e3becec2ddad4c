"""The best threshold: it must be the best, and be applied as it was chosen."""

import numpy as np
import pytest

from unetcore.baseline import (
    Threshold,
    best_level_for_cells,
    best_level_for_membranes,
    best_threshold,
    levels_of,
    threshold_probability,
)
from unetcore.labels import IGNORED
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


@pytest.mark.parametrize("cells", [False, True])
@pytest.mark.parametrize("scale", [1, 1 / 16, 1 / 1000])
def test_own_images_are_told_apart_whatever_part_of_their_scale_they_use(cells, scale):
    """12 bits in 16, and less: the levels are those of the images."""
    images, labels = two_cells(40, 44)
    found = best_threshold(images * np.float32(scale), labels, cells=cells, either_way=True)
    np.testing.assert_array_equal(found.probability(images * np.float32(scale)), labels)


@pytest.mark.parametrize("cells", [False, True])
def test_cells_may_be_dark_where_that_is_allowed(cells):
    images, labels = two_cells(200, 40)  # the line is bright
    found = best_threshold(images, labels, cells=cells, either_way=True)
    assert found.is_dark
    assert found.described()["cells_are_dark"]
    np.testing.assert_array_equal(found.probability(images), labels)
    assert not best_threshold(images, labels, cells=cells, either_way=False).is_dark
    assert str(Threshold(0.25, True)) == "below grey level 0.750"


def test_ignored_pixels_choose_no_threshold():
    images, labels = two_cells(40, 200)
    labels = labels.astype(np.uint16)
    noisy = np.concatenate((images, images[:, :4] * 0 + 0.99), axis=1)
    unknown = np.full_like(labels[:, :4], IGNORED)
    known = np.concatenate((labels, unknown), axis=1)
    found = best_threshold(noisy, known, cells=True, either_way=True)
    np.testing.assert_array_equal(found.probability(images), labels)


def test_many_values_have_256_levels_with_as_many_pixels_between_them():
    values = np.random.default_rng(0).normal(0, 1, 100_000).astype(np.float32)
    levels = levels_of(values)
    assert len(levels) == 256
    between, _ = np.histogram(values, levels)
    assert between.min() > 300
    assert between.max() < 500
