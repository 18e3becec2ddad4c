"""Rescaling in and out: sizes, grey values and places stay."""

import numpy as np
import pytest
from scipy import ndimage

from unetcore.data.pixel_size import scale_factor
from unetcore.data.rescaling import rescaled, restored
from unetcore.errors import InputError


@pytest.mark.parametrize("factor", [0.2, 0.37, 0.5, 1.3, 2.0, 5.0])
@pytest.mark.parametrize("shape", [(40, 61), (7, 100), (1, 1)])
def test_size_comes_back_and_a_constant_stays(factor, shape):
    stack = np.full((2, 3, *shape), 0.3, np.float32)
    small = rescaled(stack, factor)
    assert small.shape == (2, 3, *(max(1, round(side * factor)) for side in shape))
    back = restored(small, shape)
    assert (back.shape, back.dtype) == (stack.shape, np.float32)
    np.testing.assert_allclose(back, stack, rtol=1e-5)


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.7, 1.5, 3.0])
def test_a_ramp_stays_where_it_is(factor):
    """What is linear is not changed by interpolation; a shift of half a pixel would be 0.005."""
    ramp = np.add.outer(np.arange(120), 0.5 * np.arange(160)).astype(np.float32) / 100
    back = restored(rescaled(ramp, factor), ramp.shape)
    margin = 12  # px, where smoothing and mirroring reach
    inner = slice(margin, -margin), slice(margin, -margin)
    np.testing.assert_allclose(back[inner], ramp[inner], atol=1e-3)


def test_a_blob_stays_where_it_is():
    blob = np.zeros((100, 120), np.float32)
    blob[30, 80] = 1
    blob = ndimage.gaussian_filter(blob, 5)
    for factor in (0.4, 1.7):
        back = restored(rescaled(blob, factor), blob.shape)
        np.testing.assert_allclose(ndimage.center_of_mass(back), (30, 80), atol=0.05)


def test_fine_stripes_are_smoothed_before_they_are_too_fine():
    """Every fourth row, from 1.5 on, is seen: of these stripes always a white one."""
    stripes = np.tile(np.array([0, 1, 1, 0], np.float32), (64, 16)).T
    np.testing.assert_allclose(rescaled(stripes, 0.25)[2:-2], 0.5, atol=0.1)


def test_factor_1_is_the_array_itself():
    stack = np.random.default_rng(0).random((2, 9, 8), np.float32)
    assert rescaled(stack, 1.0) is stack
    assert restored(stack, (9, 8)) is stack


@pytest.mark.parametrize(
    ("size", "wanted", "factor"),
    [(0.5, 0.25, 2.0), (0.25, 1.0, 0.25), (0.502, 0.5, 1.0), (0.3, None, 1.0), (None, None, 1.0)],
)
def test_factor_by_hand(size, wanted, factor):
    assert scale_factor(size, wanted, "a.tif") == factor


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (None, "a.tif: the file does not say the size of its pixels, and the model is for 0.5 um"),
        (250.0, "a.tif: pixels of 250 um, and the model is for 0.5 um, which is more than 10 "),
        (0.04, "a.tif: pixels of 0.04 um, and the model is for 0.5 um, which is more than 10 "),
    ],
)
def test_sizes_that_are_unknown_or_cannot_be_meant(size, words):
    with pytest.raises(InputError, match=words):
        scale_factor(size, 0.5, "a.tif")
