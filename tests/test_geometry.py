"""Sizes, halo, mirroring and operations of the valid network, by hand and by walking through it."""

import numpy as np
import pytest

from unetcore import geometry
from unetcore.errors import InputError


def walk(size, depth):
    """Output size by the drawing of Fig. 1, or None where a size does not fit."""
    for _ in range(depth):
        size -= 4
        if size <= 0 or size % 2:
            return None
        size //= 2
    size -= 4
    for _ in range(depth):
        size = 2 * size - 4
    return size if size > 0 else None


@pytest.mark.parametrize(("given", "expected"), [(188, 4), (572, 388), (700, 516)])
def test_sizes_of_the_paper(given, expected):
    assert geometry.output_size(given) == expected
    assert geometry.input_size(expected) == given


def test_every_size_that_fits_is_188_plus_16_k():
    fitting = {size: out for size in range(1, 1001) if (out := walk(size, 4))}
    assert list(fitting) == list(range(188, 1001, 16))
    for size, out in fitting.items():
        assert geometry.output_size(size) == out == size - 184


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_sizes_agree_with_a_walk_through_the_network(depth):
    for size in range(1, 600):
        expected = walk(size, depth)
        if expected is None:
            with pytest.raises(InputError):
                geometry.output_size(size, depth)
        else:
            assert geometry.output_size(size, depth) == expected
            assert size - expected == 2 * geometry.halo(depth)


def test_halo_of_four_poolings():
    # Two 3x3 convolutions take 2 px per side, at scales 1, 2, 4, 8 twice and at scale 16 once.
    assert geometry.halo() == 2 * (2 * (1 + 2 + 4 + 8) + 16) == 92
    assert geometry.phase() == 2 * 2 * 2 * 2


@pytest.mark.parametrize(
    ("size", "nearest"), [(570, "556 and 572"), (573, "572 and 588"), (100, "188 and 204")]
)
def test_input_that_does_not_fit_names_the_nearest(size, nearest):
    with pytest.raises(
        InputError, match=rf"input tile of {size} px: .* 188 \+ 16 k, .* {nearest}$"
    ):
        geometry.output_size(size)


@pytest.mark.parametrize(("size", "nearest"), [(400, "388 and 404"), (0, "4 and 20")])
def test_output_that_does_not_fit_names_the_nearest(size, nearest):
    with pytest.raises(InputError, match=rf"output tile of {size} px: .* 4 \+ 16 k, .* {nearest}$"):
        geometry.input_size(size)


def test_round_up_takes_the_smallest_output_tile():
    tiles = range(4, 1000, 16)
    for size in range(1, 900):
        expected = next(tile for tile in tiles if tile >= size)
        assert geometry.round_up_to_output_tile(size) == expected


def test_mirror_is_numpys_reflect_however_far_it_reaches():
    rng = np.random.default_rng(0)
    for size in [1, 2, 3, *rng.integers(4, 40, 30)]:
        before, after = rng.integers(0, 150, 2)
        expected = np.pad(np.arange(size), (before, after), mode="reflect")
        found = geometry.mirror_index(-before, size + after, size)
        np.testing.assert_array_equal(found, expected)


def test_mirror_of_a_range_that_does_not_touch_the_image():
    np.testing.assert_array_equal(geometry.mirror_index(5, 9, 4), [1, 0, 1, 2])  # 0 1 2 3 2|1 0 1 2


def sides_of_skips_and_ups(size, depth):
    """Sides of skip connections and of what they are joined to, by the drawing of Fig. 1."""
    skips, ups = [], []
    for _ in range(depth):
        size -= 4
        skips.append(size)
        size //= 2
    for _ in range(depth):
        size = 2 * (size - 4)
        ups.append(size)
    return skips, ups[::-1]


@pytest.mark.parametrize("depth", [1, 2, 4, 5])
def test_margin_of_a_skip_connection_is_what_its_crop_loses(depth):
    for k in range(4):
        skips, ups = sides_of_skips_and_ups(4 + 2 * geometry.halo(depth) + k * 2**depth, depth)
        for level, (skip, up) in enumerate(zip(skips, ups, strict=True)):
            assert geometry.skip_margin(level, depth) == (skip - up) // 2


def test_margins_of_the_paper():
    # Fig. 1: 568 to 392, 280 to 200, 136 to 104, 64 to 56.
    assert [geometry.skip_margin(level) for level in range(4)] == [88, 40, 16, 4]


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_levels_of_the_expansive_path_make_just_what_the_next_one_needs(depth):
    for size in range(1, 100):
        *below, last = geometry.expansive_sizes(size, depth)
        assert last == size
        for given, made in zip(below, [*below[1:], last], strict=True):
            assert 2 * given - 4 in (made, made + 1)  # an up-convolution makes even sizes


def test_largest_tile_within_a_slice_and_its_mirror_images():
    # 128 px and twice the 127 beside the edge pixel: 382 = 188 + 16 * 12 + 2.
    assert geometry.mirrored_size(128) == 382
    assert geometry.largest_tile_for((128, 512)) == geometry.largest_tile_for((512, 128)) == 196
    for depth in (1, 3, 4):
        for side in range(-(-(geometry.input_size(4, depth) + 2) // 3), 300):
            tile = geometry.largest_tile_for((side, side + 5), depth)
            mirrored = len({*range(1 - side, 2 * side - 1)})
            assert geometry.input_size(tile, depth) <= mirrored
            assert geometry.input_size(tile + 2**depth, depth) > mirrored


def test_slice_too_small_for_any_tile_is_told_the_least_side():
    message = r"slice of 500 x 63 px: too small .* 188 px; .* sides of 64 px would do$"
    with pytest.raises(InputError, match=message):
        geometry.largest_tile_for((500, 63))
    assert geometry.largest_tile_for((64, 64)) == 4


def test_multiply_accumulates_of_the_whole_output_are_those_of_the_tile():
    for output in (4, 196, 388):
        side = output + 184
        whole = geometry.multiply_accumulates(side, side, output=(output, output))
        assert whole == geometry.multiply_accumulates(side, side)


def test_multiply_accumulates_of_a_part_by_hand():
    # One level and its bottom on 20 x 20 px, 1 channel; 3 x 1 px of the output of 4 x 4 px need
    # 4 x 3 of the bottom, of whose 8 x 6 up-convolved px 7 x 5 make 5 x 3 and then 3 x 1.
    contracting = 9 * (18**2 * 1 * 1 + 16**2 * 1 * 1)
    bottom = 9 * (6 * 5 * 1 * 2 + 4 * 3 * 2 * 2)
    expansive = 4 * 4 * 3 * 2 * 1 + 9 * (5 * 3 * 2 * 1 + 3 * 1 * 1 * 1)
    expected = contracting + bottom + expansive + 3 * 1 * 1 * 2
    found = geometry.multiply_accumulates(20, 20, channels=1, depth=1, output=(3, 1))
    assert found == expected


def test_multiply_accumulates_of_the_first_two_convolutions_by_hand():
    # One level and its bottom on 20 x 20 px, 1 channel: 18, 16 | pool 8 | 6, 4 | 8 | 6, 4 | 4.
    contracting = 9 * (18**2 * 1 * 1 + 16**2 * 1 * 1)
    bottom = 9 * (6**2 * 1 * 2 + 4**2 * 2 * 2)
    expansive = 4 * 4**2 * 2 * 1 + 9 * (6**2 * 2 * 1 + 4**2 * 1 * 1)
    expected = contracting + bottom + expansive + 4**2 * 1 * 2
    assert geometry.multiply_accumulates(20, 20, channels=1, depth=1) == expected


def test_multiply_accumulates_of_the_paper():
    assert geometry.multiply_accumulates(572, 572) / 1e9 == pytest.approx(150.428, abs=5e-4)


def test_cost_per_pixel_falls_to_what_is_needed():
    needed = geometry.needed_multiply_accumulates(1, 1)
    ratios = [
        geometry.multiply_accumulates(out + 184, out + 184) / (out**2 * needed)
        for out in (4, 388, 516, 2052, 16004, 10**6 + 4)
    ]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[-1] == pytest.approx(1, abs=2e-4)
