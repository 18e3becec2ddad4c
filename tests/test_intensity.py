"""Grey values as the network sees them."""

import numpy as np
import pytest

from unetcore.data.intensity import NORMALISATIONS, normalise
from unetcore.errors import InputError


def test_unit_leaves_the_values():
    images = np.random.default_rng(0).uniform(size=(2, 5, 6)).astype(np.float32)
    np.testing.assert_array_equal(normalise(images, "unit"), images)


def test_slice_by_hand():
    # mean 0.5 and 0.2; standard deviation 0.5 and 0.1
    images = np.array([[[0, 1], [1, 0]], [[0.1, 0.3], [0.3, 0.1]]], np.float32)
    expected = [[[-1, 1], [1, -1]], [[-1, 1], [1, -1]]]
    found = normalise(images, "slice")
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32


def test_slice_gives_every_slice_mean_0_and_std_1():
    rng = np.random.default_rng(1)
    images = (rng.uniform(0.05, 0.1, (5, 1, 1)) * rng.uniform(size=(5, 40, 50)) + 0.8).astype("f4")
    found = normalise(images, "slice").astype(float)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=(1, 2)), 1, atol=1e-5)


def test_slice_does_not_depend_on_brightness_contrast_or_the_other_slices():
    images = np.random.default_rng(2).uniform(size=(3, 20, 30)).astype(np.float32)
    found = normalise(images, "slice")
    np.testing.assert_allclose(normalise(0.3 * images + 0.5, "slice"), found, atol=1e-5)
    np.testing.assert_array_equal(normalise(images[1:2], "slice"), found[1:2])


def test_constant_slice_becomes_zero():
    np.testing.assert_array_equal(normalise(np.full((1, 4, 4), 0.7, np.float32), "slice"), 0)


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_normalisation_is_affine(kind):
    images = np.linspace(0, 1, 24, dtype=np.float32).reshape(1, 4, 6) ** 2
    slope, offset = np.polyfit(images.ravel(), normalise(images, kind).ravel(), 1)
    np.testing.assert_allclose(normalise(images, kind), slope * images + offset, atol=1e-6)
    assert slope > 0


def test_unknown_normalisation_is_refused():
    with pytest.raises(InputError, match="normalisation 'minmax': need one of unit, slice"):
        normalise(np.zeros((1, 2, 2), np.float32), "minmax")
