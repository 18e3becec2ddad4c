"""Files that were taken for one another."""

import numpy as np
import pytest
from scipy import ndimage

from unetcore.data.phantom_cells import draw_sequence
from unetcore.data.swapped import looks_like_grey_values, misplaced_labels
from unetcore.labels import IGNORED


@pytest.fixture(scope="module")
def movie():
    return draw_sequence(np.random.default_rng(1), 3, 128)


def test_cells_of_a_movie_are_no_grey_values_and_its_images_are(movie):
    images, cells = movie
    assert not any(map(looks_like_grey_values, cells))
    assert all(map(looks_like_grey_values, images))
    assert not looks_like_grey_values((cells[0] > 0).astype(np.uint8))


def blobs(seed):
    """Bright blobs on dark ground with noise, (1, H, W), and their mask."""
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.normal(size=(200, 300)), 12) > 0.01
    image = 50.0 * mask + rng.normal(0, 20, mask.shape)
    return image[None], mask.astype(np.uint16)


def test_misplaced_labels_are_found_and_right_ones_are_left_alone():
    images, labels = zip(*map(blobs, range(5)), strict=True)
    assert misplaced_labels(images, labels) == []
    order = [0, 4, 2, 3, 1]
    assert misplaced_labels(images, [labels[k] for k in order]) == [(1, 4), (4, 1)]


def test_labels_that_are_one_image_off_are_found():
    images, labels = zip(*map(blobs, range(5)), strict=True)
    shifted = [*labels[1:], labels[0]]  # image 1 has labels 2, which fit image 2
    assert misplaced_labels(images, shifted) == [(0, 4), (1, 0), (2, 1), (3, 2), (4, 3)]


def test_dark_cells_and_ignored_regions_make_no_difference():
    images, labels = zip(*map(blobs, range(3)), strict=True)
    images = [100 - image for image in images]
    labels = [np.where(np.arange(300) < 40, IGNORED, page).astype(np.uint16) for page in labels]
    assert misplaced_labels(images, labels) == []
    assert misplaced_labels(images, [labels[2], labels[1], labels[0]]) == [(0, 2), (2, 0)]


def test_images_of_other_sizes_or_without_contrast_are_not_compared():
    images, labels = zip(*map(blobs, range(2)), strict=True)
    swapped = [labels[1], labels[0][:, :250]]
    assert misplaced_labels([images[0], images[1][:, :, :250]], swapped) == []
    flat = [np.zeros((1, 200, 300))] * 2
    assert misplaced_labels(flat, labels[::-1]) == []


def test_blank_images_and_those_without_known_labels_say_nothing():
    """Their own labels do not fit, and those of others might: that is no mistake."""
    images, labels = zip(*map(blobs, range(3)), strict=True)
    images = [images[0], images[1] * 0 + 7, images[2]]
    labels = [labels[0], labels[2], np.full_like(labels[2], IGNORED)]
    assert misplaced_labels(images, labels) == []
