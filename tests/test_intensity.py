"""Grey values as the network sees them."""

import numpy as np
import pytest

from unetcore.data.intensity import NORMALISATIONS, normalise
from unetcore.data.io import grey_values, to_unit_range
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


def test_each_channel_of_each_slice_has_its_own_map():
    rng = np.random.default_rng(3)
    images = rng.normal(rng.random((2, 3, 1, 1)), 0.1, (2, 3, 9, 8)).astype(np.float32)
    found = normalise(images, "slice")
    for z, c in np.ndindex(2, 3):
        np.testing.assert_array_equal(found[z, c], normalise(images[z, c][None], "slice")[0])


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**-3, 1.0, 2.0**9, 2.0**200])
def test_floats_of_any_size_are_seen_alike(scale):
    images = np.random.default_rng(4).random((2, 2, 9, 8)) * scale
    found = normalise(grey_values(images - scale, "slice", "a.tif"), "slice")
    np.testing.assert_array_equal(
        found, normalise(grey_values((images - scale) / scale, "slice", "a.tif"), "slice")
    )
    np.testing.assert_allclose(found.std(axis=(2, 3)), 1, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pictures_are_seen_as_the_stacks_of_the_pipeline(dtype):
    rng = np.random.default_rng(5)
    whole = rng.integers(0, 200, (2, 9, 8)).astype(dtype)
    images = whole / np.float32(200) if dtype == "float32" else whole
    expected = normalise(to_unit_range(images, "a.tif"), "slice")
    found = normalise(grey_values(images[:, None], "slice", "a.tif"), "slice")
    np.testing.assert_array_equal(found[:, 0], expected)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.array([0.5, 1.5]), "a.tif: float values from 0.5 to 1.5, expected 0 to 1"),
        (np.array([1, 2], np.int16), "a.tif: values of type int16, expected uint8, uint16 or"),
    ],
)
def test_without_normalisation_white_must_be_known(pixels, words):
    assert grey_values(pixels, "slice", "a.tif").dtype == np.float32
    with pytest.raises(InputError, match=words):
        grey_values(pixels, "unit", "a.tif")


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
