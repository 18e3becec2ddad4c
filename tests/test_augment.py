"""Augmentation: the statistics of the draws, the elastic field, and one field for all arrays."""

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from unetcore.augment import (
    AugmentConfig,
    TileAugmenter,
    TileDraw,
    draw_tile,
    elastic_basis,
    tile_basis,
    tile_field,
)
from unetcore.errors import InputError

NOTHING = AugmentConfig(
    shift=True, balanced=False, rotation=0, mirror=False, displacement_std=0, grid=3,
    kernel="bicubic", grey_shift=0, grey_scale=0,
)  # fmt: skip
PAPER = AugmentConfig(
    shift=True, balanced=False, rotation=180, mirror=True, displacement_std=10, grid=3,
    kernel="bicubic", grey_shift=0.1, grey_scale=0.2,
)  # fmt: skip


def sample(**changes):
    """Sample that changes nothing but what is named."""
    still = TileDraw(
        index=0, centre=(0.0, 0.0), angle=0.0, mirrored=False, vectors=np.zeros((2, 3, 3)),
        grey_shift=0.0, grey_scale=1.0,
    )  # fmt: skip
    return dataclasses.replace(still, **changes)


def slices(rng, n, height, width):
    """Random images, classes and weights of n slices."""
    return (
        rng.uniform(0, 1, (n, 1, height, width)).astype(np.float32),
        rng.integers(0, 3, (n, height, width)).astype(np.uint8),
        rng.uniform(0, 10, (n, height, width)).astype(np.float32),
    )


def cut(augmenter, chosen):
    """Tile of a chosen sample, as arrays (size, size), (out, out), (out, out)."""
    return [np.asarray(array.squeeze()) for array in augmenter.cut(chosen)]


def draws(config, n=4000, n_slices=5, shape=(60, 90), output_tile=20):
    rng = np.random.default_rng(7)
    return [draw_tile(rng, n_slices, shape, config, output_tile) for _ in range(n)]


def test_draws_follow_their_distributions():
    drawn = draws(PAPER)
    rows, columns = np.array([s.centre for s in drawn]).T
    uniform = {
        "row": rows / 59,
        "column": columns / 89,
        "angle": [s.angle / (2 * np.pi) + 0.5 for s in drawn],
        "grey shift": [(s.grey_shift + 0.1) / 0.2 for s in drawn],
        "grey scale": [(s.grey_scale - 0.8) / 0.4 for s in drawn],
    }
    for name, values in uniform.items():
        assert stats.kstest(values, "uniform").pvalue > 1e-3, name
    vectors = np.stack([s.vectors for s in drawn])
    assert vectors.shape[1:] == (2, 3, 3)
    assert stats.kstest(vectors.ravel() / 10, "norm").pvalue > 1e-3
    correlation = np.corrcoef(vectors.reshape(len(drawn), 18).T) - np.eye(18)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(drawn))
    counts = np.bincount([s.index for s in drawn], minlength=5)
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.binomtest(sum(s.mirrored for s in drawn), len(drawn)).pvalue > 1e-3


def test_draws_of_no_augmentation_only_shift():
    for s in draws(NOTHING, n=50):
        assert (s.angle, s.mirrored, s.grey_shift, s.grey_scale) == (0, False, 0, 1)
        assert not s.vectors.any()


@pytest.mark.parametrize(
    ("side", "tile", "expected"),
    [
        (60, 20, [9.5, 29.5, 49.5]),  # side by side
        (50, 20, [7.83333, 24.5, 41.16667]),  # three tiles, centres 50 / 3 px apart
        (21, 20, [4.75, 15.25]),
        (20, 20, [9.5]),
        (7, 20, [3.0]),  # one tile, larger than the slice
    ],
)
def test_centres_without_shift_are_those_of_the_fewest_tiles_that_cover_the_slice(
    side, tile, expected
):
    config = dataclasses.replace(NOTHING, shift=False)
    drawn = draws(config, n=600, shape=(side, 2 * tile), output_tile=tile)
    rows, columns = np.array([s.centre for s in drawn]).T
    found, counts = np.unique(rows.round(5), return_counts=True)
    assert found.tolist() == pytest.approx(expected, abs=1e-5)
    assert set(columns) == {tile / 2 - 0.5, 1.5 * tile - 0.5}
    read = np.concatenate([np.arange(tile) - (tile - 1) / 2 + c for c in expected])
    assert read.min() <= 0.5  # every pixel of the slice is nearest to one of a tile
    assert read.max() >= side - 1.5
    assert np.diff(np.sort(read)).max() <= 1
    if len(expected) > 1:
        # A position is uniform from the first pixel's middle to the last one's, so an outer tile
        # has half a pixel less to be hit at.
        pixels = np.full(len(expected), side / len(expected))
        pixels[[0, -1]] -= 0.5
        assert stats.chisquare(counts, 600 * pixels / pixels.sum()).pvalue > 1e-3


def test_tiles_without_shift_join_to_the_slice():
    """Put where they belong, the covering tiles are the slice again."""
    arrays = slices(np.random.default_rng(0), 1, 40, 60)
    config = dataclasses.replace(NOTHING, shift=False)
    augmenter = TileAugmenter(*arrays, input_size=36, halo=8, config=config)
    joined = np.full((40, 60), np.nan, np.float32)
    rng = np.random.default_rng(1)
    for _ in range(60):
        drawn = augmenter.draw(rng)
        top, left = (int(c - 9.5) for c in drawn.centre)
        joined[top : top + 20, left : left + 20] = cut(augmenter, drawn)[0][8:-8, 8:-8]
    np.testing.assert_allclose(joined, arrays[0][0, 0], atol=1e-6)


@pytest.mark.parametrize("kernel", ["bicubic", "bspline"])
@pytest.mark.parametrize(("size", "grid"), [(57, 3), (188, 3), (572, 3), (40, 2), (50, 5)])
def test_basis_keeps_a_constant(kernel, size, grid):
    basis = elastic_basis(size, grid, kernel)
    assert basis.shape == (size, grid)
    np.testing.assert_allclose(basis.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(basis[::-1, ::-1], basis, atol=1e-12)


@pytest.mark.parametrize(("kernel", "prefilter"), [("bicubic", True), ("bspline", False)])
@pytest.mark.parametrize(("size", "grid"), [(57, 3), (188, 3), (64, 5)])
def test_field_agrees_with_scipys_splines(kernel, prefilter, size, grid):
    vectors = np.random.default_rng(size).normal(0, 10, (grid, grid))
    basis = elastic_basis(size, grid, kernel)
    nodes = np.linspace(0, grid - 1, size)
    expected = ndimage.map_coordinates(
        vectors, np.meshgrid(nodes, nodes, indexing="ij"), order=3, mode="mirror",
        prefilter=prefilter,
    )  # fmt: skip
    # scipy cuts off the sum that its coefficients start from: they are exact to 1e-6 or so
    np.testing.assert_allclose(basis @ vectors @ basis.T, expected, atol=1e-5)


def fields_of(drawn, size, kernel):
    """Displacements (n, 2, size, size) in px of many draws."""
    basis = elastic_basis(size, 3, kernel)
    return basis @ np.stack([s.vectors for s in drawn]) @ basis.T


@pytest.mark.parametrize("kernel", ["bicubic", "bspline"])
def test_displacement_has_mean_0_and_the_same_strength_along_rows_and_columns(kernel):
    drawn = draws(PAPER)
    fields = fields_of(drawn, 57, kernel)
    strength = fields.std(axis=0)  # (2, 57, 57)
    assert np.abs(fields.mean(axis=0) / strength).max() < 5 / np.sqrt(len(drawn))
    np.testing.assert_allclose(strength[0], strength[1], rtol=0.1)
    np.testing.assert_allclose(strength[0], strength[1].T, rtol=0.1)
    rows_with_columns = (fields[:, 0] * fields[:, 1]).mean(axis=0) / strength.prod(axis=0)
    assert np.abs(rows_with_columns).max() < 5 / np.sqrt(len(drawn))


def test_bicubic_displacement_is_10_px_at_every_node():
    drawn = draws(PAPER)
    at_nodes = fields_of(drawn, 57, "bicubic")[..., ::28, ::28]  # nodes lie at 0, 28 and 56 px
    np.testing.assert_allclose(at_nodes, np.stack([s.vectors for s in drawn]), atol=1e-12)
    np.testing.assert_allclose(at_nodes.std(axis=0), 10, rtol=0.05)


def test_bspline_displacement_is_half_of_it():
    strength = fields_of(draws(PAPER), 57, "bspline").std(axis=(0, 1))
    # By hand: coefficients (1/6, 2/3, 1/6) at the middle node, (2/3, 1/3) at the outer ones.
    middle, outer = 10 * (4 / 9 + 2 / 36), 10 * (4 / 9 + 1 / 9)
    assert strength[28, 28] == pytest.approx(middle, rel=0.04)
    assert strength[0, 56] == pytest.approx(outer, rel=0.04)
    assert 4.6 < strength.min() < strength.max() < 5.75  # exactly 4.75 and 5.56


def strength_over(basis):
    """Root mean square displacement in px over the rows of a basis, for vectors of 10 px."""
    return 10 * (basis**2).sum(axis=1).mean()


def test_strength_of_both_kernels_over_the_whole_tile():
    # The integral of a squared B-spline is 151/315. At the two ends of three nodes a spline meets
    # its mirror image, which adds twice 1/84: the overlap of two splines at distance 2 is 1/42.
    bspline = elastic_basis(2001, 3, "bspline")
    assert strength_over(bspline) == pytest.approx(10 * (151 / 315 + 2 / 84), rel=1e-3)  # 5.03
    # Far from the ends it is 4.79, between 4.6 and 5.0: the figures of the authors' later code.
    far = elastic_basis(10 * 200 + 1, 11, "bspline")[800:1200]
    assert strength_over(far) == pytest.approx(10 * 151 / 315, rel=1e-3)
    assert 10 * (far**2).sum(axis=1).min() == pytest.approx(4.6, abs=0.01)
    assert 10 * (far**2).sum(axis=1).max() == pytest.approx(5.0, abs=0.01)
    assert strength_over(elastic_basis(2001, 3, "bicubic")) == pytest.approx(8.0, abs=0.01)


@pytest.mark.parametrize(("kernel", "at_node"), [("bicubic", 10.0), ("bspline", 5.0)])
def test_displacement_measured_on_tiles(kernel, at_node):
    """What tiles were really read at: on a slice of row or column numbers, the values say it."""
    config = dataclasses.replace(NOTHING, displacement_std=10, kernel=kernel)
    ramp = np.broadcast_to(np.arange(300.0), (300, 300))
    images = np.stack((ramp.T, ramp))[None]
    augmenter = TileAugmenter(
        images, np.zeros((1, 300, 300), int), ramp[None], input_size=57, halo=4, config=config
    )
    still = cut(augmenter, sample(centre=(150, 150)))[0]
    rng = np.random.default_rng(0)
    moved = np.stack(
        [
            cut(augmenter, dataclasses.replace(augmenter.draw(rng), centre=(150, 150)))[0] - still
            for _ in range(2000)
        ]
    )
    np.testing.assert_allclose(moved[:, :, 28, 28].std(axis=0), at_node, rtol=0.06)
    assert np.abs(moved.mean(axis=0)).max() < 5 * 10 / np.sqrt(2000)


@pytest.mark.parametrize("kernel", ["bicubic", "bspline"])
def test_field_is_smooth(kernel):
    size, spacing = 573, 286
    around_the_middle = slice(spacing - 4, spacing + 1)
    for field in fields_of(draws(PAPER, n=5), size, kernel).reshape(-1, size, size):
        for along in (field, field.T):
            # One cubic on either side of the middle node, and two continuous derivatives at it.
            fourth = np.abs(np.diff(along, 4, axis=0))
            assert np.delete(fourth, around_the_middle, axis=0).max() < 1e-9
            third = np.delete(np.abs(np.diff(along, 3, axis=0)), around_the_middle, axis=0)
            assert fourth.max() < 2.001 * third.max()
            # By hand: with nodes a, b, c and mirrored ends the second derivative is at most
            # 4.5 (b - a) + 1.5 (b - c) at the first node, 3 (a - b) + 3 (c - b) at the middle one.
            between_nodes = np.ptp(along[::spacing], axis=0)
            bend = np.abs(np.diff(along, 2, axis=0)).max(axis=0) * spacing**2
            assert (bend <= 6 * between_nodes + 1e-9).all()


@pytest.mark.parametrize(("size", "least"), [(572, 0.6), (380, 0.4)])
def test_field_does_not_fold(size, least):
    """The area on the slice that a pixel stands for stays positive, and far from 0."""
    rates = np.gradient(tile_basis(size, 3, "bicubic"), axis=0)[::6]
    basis = tile_basis(size, 3, "bicubic")[::6]
    for drawn in draws(dataclasses.replace(PAPER, mirror=False), n=400):
        field = tile_field(drawn)
        (a, b), (c, d) = zip(rates @ field @ basis.T, basis @ field @ rates.T, strict=True)
        assert (a * d - b * c).min() > least


def test_positions_by_hand():
    # Only the upper right node is moved, by 7 px down: row 0, last column of the tile.
    vectors = np.zeros((2, 3, 3))
    vectors[0, 0, 2] = 7
    basis = tile_basis(57, 3, "bicubic")
    positions = basis @ tile_field(sample(centre=(40, 60), vectors=vectors)) @ basis.T
    corners = positions[:, ::56, ::56]
    np.testing.assert_allclose(corners[0], [[12, 19], [68, 68]], atol=1e-12)
    np.testing.assert_allclose(corners[1], [[32, 88], [32, 88]], atol=1e-12)
    # A quarter turn: what was right of the centre is read above it. Down becomes right.
    turned = sample(centre=(40, 60), vectors=vectors, angle=np.pi / 2)
    corners = (basis @ tile_field(turned) @ basis.T)[:, ::56, ::56]
    np.testing.assert_allclose(corners[0], [[12, 68], [12, 68]], atol=1e-12)
    np.testing.assert_allclose(corners[1], [[88, 81], [32, 32]], atol=1e-12)


@pytest.mark.parametrize("mirrored", [False, True])
def test_positions_are_displaced_then_mirrored_turned_and_shifted(mirrored):
    rng = np.random.default_rng(0)
    vectors, angle, centre = rng.normal(0, 10, (2, 3, 3)), 0.7, (13.5, 80.25)
    rise, run = np.sin(angle), np.cos(angle)
    drawn = sample(centre=centre, angle=angle, mirrored=mirrored, vectors=vectors)
    basis, elastic = tile_basis(20, 3, "bspline"), elastic_basis(20, 3, "bspline")
    found = basis @ tile_field(drawn) @ basis.T
    for i, j in np.ndindex(20, 20):
        y = i - 9.5 + elastic[i] @ vectors[0] @ elastic[j]
        x = j - 9.5 + elastic[i] @ vectors[1] @ elastic[j]
        x = -x if mirrored else x
        expected = (run * y + rise * x + 13.5, run * x - rise * y + 80.25)
        np.testing.assert_allclose(found[:, i, j], expected, atol=1e-12)


@pytest.mark.parametrize("centre", [(15.5, 11.5), (0.5, 0.5), (29.5, 22.5)])
def test_no_augmentation_gives_the_crop_of_the_mirrored_slice(centre):
    arrays = slices(np.random.default_rng(0), 2, 31, 24)  # smaller than the halo of 92 px
    augmenter = TileAugmenter(*arrays, input_size=204, halo=92, config=NOTHING)
    found = cut(augmenter, sample(index=1, centre=centre))
    top, left = (int(c - 101.5) for c in centre)
    image, classes, weights = (
        np.pad(np.squeeze(a[1]), 200, mode="reflect")[
            200 + top : 404 + top, 200 + left : 404 + left
        ]
        for a in arrays
    )
    np.testing.assert_allclose(found[0], image, atol=1e-6)
    np.testing.assert_array_equal(found[1], classes[92:-92, 92:-92])
    np.testing.assert_array_equal(found[2], weights[92:-92, 92:-92])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_quarter_turns_and_mirroring_are_those_of_numpy(quarter_turns, mirrored):
    arrays = slices(np.random.default_rng(1), 1, 36, 36)
    augmenter = TileAugmenter(*arrays, input_size=36, halo=8, config=NOTHING)
    chosen = sample(centre=(17.5, 17.5), angle=quarter_turns * np.pi / 2, mirrored=mirrored)
    found = cut(augmenter, chosen)
    turned = [np.rot90(np.squeeze(a), quarter_turns) for a in arrays]
    image, classes, weights = (t[:, ::-1] if mirrored else t for t in turned)
    np.testing.assert_allclose(found[0], image, atol=1e-6)
    np.testing.assert_array_equal(found[1], classes[8:-8, 8:-8])
    np.testing.assert_allclose(found[2], weights[8:-8, 8:-8], atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kernel", ["bicubic", "bspline"])
def test_image_classes_and_weights_see_one_field(axis, kernel):
    # A ramp tells which coordinate each array was read at: the arrays must agree on it.
    config = dataclasses.replace(PAPER, kernel=kernel, grey_shift=0, grey_scale=0)
    ramp = np.broadcast_to(np.arange(400)[:, None], (400, 400)).swapaxes(0, axis)
    augmenter = TileAugmenter(
        ramp[None, None], ramp[None], ramp[None], input_size=100, halo=8, config=config
    )
    compared = 0
    for step in range(10):
        tile = augmenter(np.random.default_rng(step))
        image, classes, weights = (np.asarray(array.squeeze()) for array in tile)
        image = image[8:-8, 8:-8]
        inside = (weights > 8) & (weights < 391)  # at the mirror a ramp has a kink
        np.testing.assert_allclose(classes[inside], weights[inside], atol=0.5001)
        np.testing.assert_allclose(image[inside], weights[inside], atol=1e-3)
        compared += inside.sum()
    assert compared > 50_000


def test_tile_is_what_scipy_makes_of_the_same_numbers():
    """The whole of a tile by other means: up-sampled, turned and read by scipy."""
    rng = np.random.default_rng(2)
    arrays = slices(rng, 3, 90, 70)
    augmenter = TileAugmenter(*arrays, input_size=60, halo=8, config=PAPER)
    nodes = np.meshgrid(*[np.linspace(0, 2, 60)] * 2, indexing="ij")
    axis = np.arange(60) - 29.5
    for step in range(5):
        drawn = augmenter.draw(np.random.default_rng(step))
        y, x = (
            ndimage.map_coordinates(v, nodes, order=3, mode="mirror", prefilter=True)
            for v in drawn.vectors
        )
        y, x = y + axis[:, None], x + axis
        x = -x if drawn.mirrored else x
        rows = np.cos(drawn.angle) * y + np.sin(drawn.angle) * x + drawn.centre[0]
        columns = np.cos(drawn.angle) * x - np.sin(drawn.angle) * y + drawn.centre[1]
        image, classes, weights = (
            ndimage.map_coordinates(
                np.squeeze(array[drawn.index]).astype(float), (rows, columns), order=order,
                mode="mirror",
            )
            for array, order in zip(arrays, (3, 0, 1), strict=True)
        )  # fmt: skip
        mean = arrays[0][drawn.index].mean()
        grey = (image - mean) * drawn.grey_scale + mean + drawn.grey_shift
        found = cut(augmenter, drawn)
        # scipy solves for the nodes' coefficients to 1e-6 or so
        np.testing.assert_allclose(found[0], grey, atol=1e-4)
        assert (found[1] == classes[8:-8, 8:-8]).mean() > 0.999
        np.testing.assert_allclose(found[2], weights[8:-8, 8:-8], atol=1e-3)


def test_an_image_of_its_own_classes_stays_one():
    rng = np.random.default_rng(3)
    classes = ndimage.gaussian_filter(rng.normal(size=(3, 120, 150)), (0, 5, 5)) > 0
    stack = classes.astype(np.uint8)
    config = dataclasses.replace(PAPER, grey_shift=0, grey_scale=0)
    augmenter = TileAugmenter(stack[:, None], stack, stack, input_size=204, halo=92, config=config)
    for step in range(10):
        image, found, weights = augmenter(np.random.default_rng(step))
        image = image[0, 0, 92:-92, 92:-92]
        sure = (weights < 0.01) | (weights > 0.99)  # between pixels of one class
        assert torch.equal((image > 0.5)[sure[0]], (found[0] == 1)[sure[0]])
        assert ((image > 0.5) == (found[0] == 1)).float().mean() > 0.97


def test_shapes_and_types_of_a_tile():
    rng = np.random.default_rng(0)
    ones = np.ones((2, 40, 50))
    augmenter = TileAugmenter(
        rng.uniform(size=(2, 3, 40, 50)), ones.astype(np.uint8), ones, input_size=52, halo=20,
        config=PAPER,
    )  # fmt: skip
    image, classes, weights = augmenter(rng)
    assert (image.shape, image.dtype) == ((1, 3, 52, 52), torch.float32)
    assert (classes.shape, classes.dtype) == ((1, 12, 12), torch.int64)
    assert (weights.shape, weights.dtype) == ((1, 12, 12), torch.float32)
    assert (classes == 1).all()
    torch.testing.assert_close(weights, torch.ones(1, 12, 12))


MAKE = {"input_size": 52, "halo": 20, "config": PAPER}


def test_a_tile_is_a_function_of_seed_and_step():
    arrays = slices(np.random.default_rng(4), 3, 50, 60)
    first, second = TileAugmenter(*arrays, **MAKE), TileAugmenter(*arrays, **MAKE)
    for step in (5, 0, 3):  # in any order, whatever was drawn before
        a, b = (augmenter(np.random.default_rng([1, step])) for augmenter in (first, second))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        for other in ([2, step], [1, step + 1]):
            assert not torch.equal(first(np.random.default_rng(other))[0], a[0])


def digest_of_tiles(steps=range(4)):
    """Digest of all bits of some tiles."""
    augmenter = TileAugmenter(*slices(np.random.default_rng(4), 3, 50, 60), **MAKE)
    tiles = [augmenter(np.random.default_rng([1, step])) for step in steps]
    return hashlib.sha256(b"".join(t.numpy().tobytes() for tile in tiles for t in tile)).hexdigest()


@pytest.mark.parametrize("threads", [1, 2])
def test_tiles_are_the_same_bits_in_another_process(threads):
    code = (
        "import torch, sys; sys.path[:0] = sys.argv[2:]; torch.set_num_threads(int(sys.argv[1]))\n"
        "from test_augment import digest_of_tiles; print(digest_of_tiles())"
    )
    command = [sys.executable, "-c", code, str(threads), *sys.path]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == digest_of_tiles()


def test_tiles_differ_only_in_what_is_switched_off():
    whole = draws(PAPER, n=20)
    for changes, unchanged in [
        ({"mirror": False}, {"angle", "vectors", "grey_shift", "grey_scale"}),
        ({"rotation": 0}, {"mirrored", "vectors", "grey_shift", "grey_scale"}),
        ({"displacement_std": 0}, {"angle", "mirrored", "grey_shift", "grey_scale"}),
        ({"grid": 5}, {"angle", "mirrored", "grey_shift", "grey_scale"}),
        ({"grey_shift": 0}, {"angle", "mirrored", "vectors", "grey_scale"}),
        ({"grey_scale": 0}, {"angle", "mirrored", "vectors", "grey_shift"}),
    ]:
        part = draws(dataclasses.replace(PAPER, **changes), n=1)
        for name in {"index", "centre"} | unchanged:
            assert np.array_equal(getattr(part[0], name), getattr(whole[0], name)), (changes, name)
    weaker = draws(dataclasses.replace(PAPER, displacement_std=5), n=20)
    for a, b in zip(whole, weaker, strict=True):
        np.testing.assert_allclose(a.vectors, 2 * b.vectors, rtol=1e-12)


def test_without_shift_a_tile_lies_next_to_where_it_would_have_been():
    shifted = draws(PAPER, n=200)
    for free, fixed in zip(shifted, draws(dataclasses.replace(PAPER, shift=False)), strict=False):
        for name in ("index", "angle", "mirrored", "vectors", "grey_shift", "grey_scale"):
            assert np.array_equal(getattr(free, name), getattr(fixed, name)), name
        rows, columns = [9.5, 29.5, 49.5], np.arange(5) * 18 + 8.5
        for position, centre, centres in zip(
            free.centre, fixed.centre, (rows, columns), strict=True
        ):
            assert centre == min(centres, key=lambda c: abs(c - position))


# Each augmentation, and the numbers of a draw that its switch leaves at nothing.
SWITCHES = {
    "rotation": ({"rotation": 0}, {"angle": 0.0}),
    "mirroring": ({"mirror": False}, {"mirrored": False}),
    "elastic deformation": ({"displacement_std": 0}, {"vectors": np.zeros((2, 3, 3))}),
    "brightness": ({"grey_shift": 0}, {"grey_shift": 0.0}),
    "contrast": ({"grey_scale": 0}, {"grey_scale": 1.0}),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_a_tile_with_one_augmentation_off_is_that_of_the_other_numbers(name):
    changes, nothing = SWITCHES[name]
    arrays = slices(np.random.default_rng(4), 3, 50, 60)
    whole = TileAugmenter(*arrays, **MAKE)
    part = TileAugmenter(*arrays, **MAKE | {"config": dataclasses.replace(PAPER, **changes)})
    differing = 0
    for step in range(6):
        drawn = whole.draw(np.random.default_rng(step))
        expected = whole.cut(dataclasses.replace(drawn, **nothing))
        found = part(np.random.default_rng(step))
        assert all(map(torch.equal, found, expected))
        differing += not torch.equal(found[0], whole.cut(drawn)[0])
    assert differing >= 1  # mirroring: half of them


def test_with_everything_off_a_tile_is_a_piece_of_the_slice():
    arrays = slices(np.random.default_rng(4), 2, 60, 60)
    config = dataclasses.replace(NOTHING, shift=False)
    augmenter = TileAugmenter(*arrays, input_size=36, halo=8, config=config)
    for step in range(8):
        rng = np.random.default_rng(step)
        drawn = augmenter.draw(np.random.default_rng(step))
        image, classes, weights = (np.asarray(array.squeeze()) for array in augmenter(rng))
        top, left = (int(c - 9.5) for c in drawn.centre)
        piece = np.s_[drawn.index, top : top + 20, left : left + 20]
        np.testing.assert_allclose(image[8:-8, 8:-8], arrays[0][:, 0][piece], atol=1e-6)
        np.testing.assert_array_equal(classes, arrays[1][piece])
        np.testing.assert_array_equal(weights, arrays[2][piece])


def test_grey_values_by_hand():
    # Two channels, of mean 1 and 10 over the slice; the tile is the last pixel.
    images = np.array([[[[0.0, 1.0, 2.0]], [[5.0, 20.0, 5.0]]]])
    flat = np.ones((1, 1, 3), int)
    augmenter = TileAugmenter(images, flat, flat, input_size=1, halo=0, config=NOTHING)
    chosen = sample(centre=(0, 2), grey_scale=1.5, grey_shift=-0.25)
    expected = [(2 - 1) * 1.5 + 1 - 0.25, (5 - 10) * 1.5 + 10 - 0.25]
    assert cut(augmenter, chosen)[0].tolist() == pytest.approx(expected)


def test_cutting_leaves_the_slices_as_they_are():
    arrays = slices(np.random.default_rng(5), 1, 20, 20)
    before = [array.copy() for array in arrays]
    augmenter = TileAugmenter(*arrays, **MAKE)
    first = augmenter(np.random.default_rng(0))
    again = augmenter(np.random.default_rng(0))
    assert all(map(torch.equal, first, again))
    assert all(map(np.array_equal, arrays, before))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": "cubic"}, "kernel 'cubic': need one of bicubic, bspline"),
        ({"rotation": -1}, "rotation -1: need a number of degrees from 0 to 180"),
        ({"rotation": 181}, "rotation 181: need"),
        ({"rotation": np.nan}, "rotation nan: need"),
        ({"displacement_std": -0.5}, "displacement_std -0.5: need a finite number of px, >= 0"),
        ({"displacement_std": np.inf}, "displacement_std inf: need"),
        ({"grid": 1}, "grid 1: need a whole number >= 2"),
        ({"grid": 2.5}, "grid 2.5: need a whole number >= 2"),
        ({"grey_shift": -1}, "grey_shift -1: need a finite number >= 0"),
        ({"grey_scale": 1}, "grey_scale 1: need a number >= 0 and below 1"),
        ({"rotation": "a"}, "rotation 'a': need"),
        ({"displacement_std": None}, "displacement_std None: need"),
        ({"mirror": "no"}, "mirror 'no': need true or false"),
        ({"shift": 1}, "shift 1: need true or false"),
        ({"kernel": ["bicubic"]}, r"kernel \['bicubic'\]: need one of"),
    ],
)
def test_strengths_out_of_bounds_are_refused(changes, message):
    with pytest.raises(InputError, match=f"^{message}"):
        dataclasses.replace(PAPER, **changes)


def test_basis_of_an_unknown_kernel_is_refused():
    with pytest.raises(InputError, match="kernel 'bogus': need one of bicubic, bspline"):
        elastic_basis(9, 3, "bogus")


def test_slices_that_do_not_match_are_refused():
    images, classes, weights = slices(np.random.default_rng(6), 2, 20, 30)
    with pytest.raises(InputError, match="need the same slices, rows and columns"):
        TileAugmenter(images, classes[:, 1:], weights, **MAKE)


def test_tiles_lie_where_pixels_weigh_anything():
    images, classes, weights = slices(np.random.default_rng(0), 3, 30, 40)
    weights[0] = 0
    weights[1, :, :30] = 0
    augmenter = TileAugmenter(images, classes, weights, input_size=20, halo=4, config=PAPER)
    rng = np.random.default_rng(1)
    drawn = [augmenter.draw(rng) for _ in range(3000)]
    assert all(weights[d.index, int(d.centre[0]), int(d.centre[1])] > 0 for d in drawn)
    share = np.mean([d.index == 1 for d in drawn])  # 300 of 1500 pixels
    assert share == pytest.approx(0.2, abs=0.03)


def test_where_every_pixel_weighs_something_tiles_lie_where_they_did():
    images, classes, weights = slices(np.random.default_rng(0), 3, 30, 40)
    augmenter = TileAugmenter(images, classes, weights + 1, input_size=20, halo=4, config=PAPER)
    assert augmenter.places == []
    found, expected = (
        draw(np.random.default_rng(4))
        for draw in (augmenter.draw, lambda rng: draw_tile(rng, 3, (30, 40), PAPER, 12))
    )
    assert found.centre == expected.centre
