"""Outlines on images: where they are, in which colours, and how large the picture is."""

import numpy as np
import pytest

from unetcore.overlay import GAP, LARGEST_SIDE, VERMILION, YELLOW, in_colours, overlay

SQUARE = np.zeros((1, 100, 100), int)
SQUARE[0, 30:60, 40:80] = 7


def outlined(drawn, colour):
    return (drawn == colour).all(axis=-1)


def test_outline_of_a_square_is_on_its_edge():
    """100 px are shown ten times as large, and an outline has the pixels on either side."""
    pixels = np.random.default_rng(0).random((1, 1, 100, 100))
    drawn = overlay(pixels, SQUARE)
    assert (drawn.shape, drawn.dtype) == ((1000, 1000, 3), np.uint8)
    expected = np.zeros((1000, 1000), bool)
    expected[299:601, 399:801] = True
    expected[301:599, 401:799] = False
    expected[[299, 299, 600, 600], [399, 800, 399, 800]] = False  # corners touch by corners only
    np.testing.assert_array_equal(outlined(drawn, VERMILION)[expected], True)
    off = outlined(drawn, VERMILION) & ~expected
    assert off.sum() == 0
    assert np.ptp(drawn[~expected], axis=-1).max() == 0  # all else is grey


@pytest.mark.parametrize(
    ("shape", "n_slices"),
    [((3000, 40), 1), ((1501, 1600), 1), ((512, 512), 2), ((30, 1400), 9), ((1, 1), 40)],
)
def test_no_side_is_longer_than_what_one_can_look_at(shape, n_slices):
    pixels = np.broadcast_to(np.eye(*shape), (n_slices, 1, *shape))
    drawn = overlay(pixels, np.zeros((n_slices, *shape), int))
    assert max(drawn.shape) <= LARGEST_SIDE


def test_slices_are_shown_in_order():
    """Of 5 slices all are shown: in a row of three and one of two."""
    pixels = np.zeros((5, 1, 2, 2), np.uint8) + np.array([0, 255], np.uint8)
    cells = np.zeros((5, 2, 2), int)
    cells[3] = 1
    drawn = overlay(pixels, cells)
    side = (drawn.shape[1] - 2 * GAP) // 3
    assert drawn.shape[0] == 2 * side + GAP
    np.testing.assert_array_equal(drawn[side + GAP :, 2 * (side + GAP) :], 255)
    np.testing.assert_array_equal(drawn[side : side + GAP], 255)
    assert (drawn[:side, :side].reshape(-1, 3).max(axis=0) == 255).all()
    assert (drawn[0, 0] == 0).all()


def test_contrast_does_not_mind_a_few_hot_pixels():
    page = np.tile(np.linspace(100, 200, 1000), (20, 1))
    page[0, :3] = 60_000
    shown = in_colours(page[None])
    np.testing.assert_allclose(shown[5, [100, 500, 900], 0], [0.095, 0.5, 0.905], atol=0.02)


def test_colours_of_several_channels():
    channels = np.zeros((4, 40, 50))
    for c in range(4):
        channels[c, 10 * c : 10 * c + 10] = c + 1
    red, green, blue = np.eye(3)
    np.testing.assert_array_equal(
        in_colours(channels)[[0, 10, 20, 30], 0], [red, green, blue, 0 * red]
    )
    np.testing.assert_array_equal(in_colours(channels[:2])[[0, 10], 0], [red + blue, green])
    drawn = overlay(np.zeros((1, 2, 100, 100)), SQUARE)
    assert outlined(drawn, YELLOW).any()


def test_constant_image_is_black():
    assert not in_colours(np.full((1, 5, 5), 7, np.uint8)).any()
