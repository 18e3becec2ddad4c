"""Affine resampling: a line and a parabola by hand, and parity with SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from unetcore.resampling.affine import resample_affine

IDENTITY = np.eye(2)


def turn(angle):
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def by_scipy(image, matrix, offset, shape):
    return np.stack(
        [
            ndimage.affine_transform(
                channel, matrix, offset, output_shape=shape, order=3, mode="mirror"
            )
            for channel in image
        ]
    )


def test_moved_by_whole_pixels_an_image_is_itself_and_its_mirror_image():
    image = np.array([[[1.0, 4.0, 2.0]]])
    moved = resample_affine(image, IDENTITY, np.array([0.0, -2.0]), (1, 7))
    np.testing.assert_allclose(moved, [[[2, 4, 1, 4, 2, 4, 1]]], atol=1e-14)


def test_half_way_between_two_pixels_the_spline_of_a_row_by_hand():
    # Samples 0, 1, 0 have the coefficients -1, 2, -1, mirrored: 2, -1, 2, -1. Half-way their
    # weights are 1, 23, 23 and 1 of 48.
    image = np.array([[[0.0, 1.0, 0.0]]])
    found = resample_affine(image, IDENTITY, np.array([0.0, 0.5]), (1, 1))
    np.testing.assert_allclose(found, (2 - 23 + 46 - 1) / 48)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (31, 50), (150, 70)])
@pytest.mark.parametrize("turns", [1, 2, 5])
def test_rotations_are_those_of_scipy(shape, turns):
    rng = np.random.default_rng(turns)
    image, matrix = rng.normal(size=(2, *shape)), turn(2 * np.pi * turns / 7)
    canvas, offset = (shape[0] + 40, shape[1] + 23), rng.uniform(-30, 30, 2)
    found = resample_affine(image, matrix, offset, canvas)
    np.testing.assert_allclose(found, by_scipy(image, matrix, offset, canvas), atol=1e-12)


def test_float32_images_give_the_float32_numbers_of_scipy():
    image = np.random.default_rng(0).normal(size=(1, 80, 90)).astype(np.float32)
    matrix, offset = turn(1.1), np.array([5.5, -30.2])
    found = resample_affine(image, matrix, offset, (100, 100))
    expected = by_scipy(image, matrix, offset, (100, 100))
    assert found.dtype == expected.dtype == np.float32
    assert np.abs(found - expected).max() <= np.spacing(np.abs(expected).max())
    assert (found == expected).mean() > 0.999
