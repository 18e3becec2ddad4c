"""Augmentation: the statistics of the draws, the elastic field, and one field for all arrays."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from unetcore.augment import (
    AugmentConfig,
    TileAugmenter,
    TileDraw,
    change_grey_values,
    coordinates,
    draw_tile,
    elastic_basis,
    resample,
)
from unetcore.errors import InputError

NOTHING = AugmentConfig(
    rotation=0, mirror=False, displacement_std=0, grid=3, kernel="bicubic", grey_shift=0,
    grey_scale=0,
)  # fmt: skip
PAPER = AugmentConfig(
    rotation=180, mirror=True, displacement_std=10, grid=3, kernel="bicubic", grey_shift=0.1,
    grey_scale=0.2,
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
        torch.tensor(rng.uniform(0, 1, (n, 1, height, width)), dtype=torch.float32),
        torch.tensor(rng.integers(0, 3, (n, 1, height, width)), dtype=torch.float32),
        torch.tensor(rng.uniform(0, 10, (n, 1, height, width)), dtype=torch.float32),
    )


def cut(augmenter, monkeypatch, chosen):
    """Tile of a chosen sample, as arrays (size, size), (out, out), (out, out)."""
    monkeypatch.setattr(augmenter, "draw", lambda rng: chosen)
    return [np.asarray(array.squeeze()) for array in augmenter(None)]


def draws(config, n=4000, n_slices=5, shape=(60, 90)):
    rng = np.random.default_rng(7)
    return [draw_tile(rng, n_slices, shape, config) for _ in range(n)]


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


@pytest.mark.parametrize("kernel", ["bicubic", "bspline"])
@pytest.mark.parametrize(("size", "grid"), [(57, 3), (188, 3), (572, 3), (40, 2), (50, 5), (9, 1)])
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
    # scipy sums a truncated series for its coefficients: they are exact to 1e-6 or so
    np.testing.assert_allclose(basis @ vectors @ basis.T, expected, atol=1e-5)


def test_bicubic_field_passes_through_the_vectors():
    drawn = np.stack([s.vectors for s in draws(PAPER)])
    basis = elastic_basis(57, 3, "bicubic")
    field = (basis @ drawn @ basis.T)[..., ::28, ::28]  # nodes lie at 0, 28 and 56 px
    np.testing.assert_allclose(field, drawn, atol=1e-12)
    np.testing.assert_allclose(field.std(axis=(0, 1)), 10, rtol=0.04)


def test_bspline_field_is_half_as_strong():
    drawn = np.stack([s.vectors for s in draws(PAPER)])
    basis = elastic_basis(57, 3, "bspline")
    std = (basis @ drawn @ basis.T).std(axis=(0, 1))
    # By hand: coefficients (1/6, 2/3, 1/6) at the middle node, (2/3, 1/3) at the outer ones.
    middle, outer = 10 * (4 / 9 + 2 / 36), 10 * (4 / 9 + 1 / 9)
    assert std[28, 28] == pytest.approx(middle, rel=0.04)
    assert std[0, 56] == pytest.approx(outer, rel=0.04)
    assert 4.6 < std.min() < std.max() < 5.75  # exactly 4.75 and 5.56


def test_displacement_of_a_tile_has_the_std_of_the_paper():
    basis = torch.as_tensor(elastic_basis(189, 3, "bicubic"), dtype=torch.float32)
    still = coordinates(sample(), 189, basis)
    fields = [
        (coordinates(sample(vectors=s.vectors), 189, basis) - still)[::94, ::94]
        for s in draws(PAPER, n=1000)
    ]
    std = torch.stack(fields).std(dim=0)
    np.testing.assert_allclose(std, 10, rtol=0.1)


def test_coordinates_by_hand():
    basis = torch.as_tensor(elastic_basis(3, 3, "bicubic"), dtype=torch.float32)
    vectors = np.zeros((2, 3, 3))
    vectors[0, 0, 0] = 0.5  # the upper left pixel looks half a pixel further down
    vectors[1, 1, 2] = 2.0  # the one right of the middle two pixels further right
    angle = np.deg2rad(30)
    found = coordinates(sample(centre=(10, 20), angle=angle, vectors=vectors), 3, basis).numpy()
    for row, column, y, x in [(0, 0, -0.5, -1), (1, 2, 0, 3), (1, 1, 0, 0), (2, 0, 1, -1)]:
        expected = (
            10 + y * np.cos(angle) + x * np.sin(angle),
            20 - y * np.sin(angle) + x * np.cos(angle),
        )
        np.testing.assert_allclose(found[row, column], expected, atol=1e-5)


@pytest.mark.parametrize("centre", [(15.5, 11.5), (0.5, 0.5), (29.5, 22.5)])
def test_no_augmentation_gives_the_crop_of_the_mirrored_slice(monkeypatch, centre):
    arrays = slices(np.random.default_rng(0), 2, 31, 24)  # smaller than the halo of 92 px
    augmenter = TileAugmenter(*arrays, input_size=204, halo=92, config=NOTHING)
    image, classes, weights = cut(augmenter, monkeypatch, sample(index=1, centre=centre))
    top, left = (int(c - 101.5) for c in centre)
    mirrored = [
        np.pad(a[1, 0], 200, mode="reflect")[200 + top : 404 + top, 200 + left : 404 + left]
        for a in arrays
    ]
    np.testing.assert_allclose(image, mirrored[0], atol=2e-4)
    np.testing.assert_array_equal(classes, mirrored[1][92:-92, 92:-92])
    np.testing.assert_allclose(weights, mirrored[2][92:-92, 92:-92], atol=2e-3)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_quarter_turns_and_mirroring_are_those_of_numpy(monkeypatch, quarter_turns, mirrored):
    arrays = slices(np.random.default_rng(1), 1, 36, 36)
    augmenter = TileAugmenter(*arrays, input_size=36, halo=8, config=NOTHING)
    chosen = sample(centre=(17.5, 17.5), angle=quarter_turns * np.pi / 2, mirrored=mirrored)
    image, classes, weights = cut(augmenter, monkeypatch, chosen)
    turned = [np.rot90(a[0, 0], quarter_turns) for a in arrays]
    turned = [t[:, ::-1] if mirrored else t for t in turned]
    np.testing.assert_allclose(image, turned[0], atol=1e-4)
    np.testing.assert_array_equal(classes, turned[1][8:-8, 8:-8])
    np.testing.assert_allclose(weights, turned[2][8:-8, 8:-8], atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kernel", ["bicubic", "bspline"])
def test_image_classes_and_weights_see_one_field(axis, kernel):
    # A ramp tells which coordinate each array was read at: the arrays must agree on it.
    config = dataclasses.replace(PAPER, kernel=kernel, grey_shift=0, grey_scale=0)
    ramp = np.broadcast_to(np.arange(400.0)[:, None], (400, 400)).swapaxes(0, axis)
    ramps = torch.tensor(ramp.copy(), dtype=torch.float32)[None, None]
    augmenter = TileAugmenter(ramps, ramps, ramps, input_size=100, halo=8, config=config)
    compared = 0
    for step in range(10):
        tile = augmenter(np.random.default_rng(step))
        image, classes, weights = (np.asarray(array.squeeze()) for array in tile)
        image = image[8:-8, 8:-8]
        inside = (weights > 3) & (weights < 396)  # at the mirror a ramp is none
        np.testing.assert_allclose(classes[inside], weights[inside], atol=0.501)
        # torch's bicubic kernel (a = -0.75) reproduces a ramp to 0.07 px
        np.testing.assert_allclose(image[inside], weights[inside], atol=0.08)
        compared += inside.sum()
    assert compared > 50_000


def test_an_image_of_its_own_classes_stays_one():
    rng = np.random.default_rng(3)
    classes = ndimage.gaussian_filter(rng.normal(size=(3, 120, 150)), (0, 5, 5)) > 0
    stack = torch.tensor(classes[:, None], dtype=torch.float32)
    config = dataclasses.replace(PAPER, grey_shift=0, grey_scale=0)
    augmenter = TileAugmenter(stack, stack, stack, input_size=204, halo=92, config=config)
    for step in range(10):
        image, found, weights = augmenter(np.random.default_rng(step))
        image = image[0, 0, 92:-92, 92:-92]
        sure = (weights < 0.01) | (weights > 0.99)  # between pixels of one class
        assert torch.equal((image > 0.5)[sure[0]], (found[0] == 1)[sure[0]])
        assert ((image > 0.5) == (found[0] == 1)).float().mean() > 0.97


def test_shapes_and_types_of_a_tile():
    images = torch.rand(2, 3, 40, 50)
    augmenter = TileAugmenter(
        images, torch.ones(2, 1, 40, 50), torch.ones(2, 1, 40, 50), input_size=52, halo=20,
        config=PAPER,
    )  # fmt: skip
    image, classes, weights = augmenter(np.random.default_rng(0))
    assert (image.shape, image.dtype) == ((1, 3, 52, 52), torch.float32)
    assert (classes.shape, classes.dtype) == ((1, 12, 12), torch.int64)
    assert (weights.shape, weights.dtype) == ((1, 12, 12), torch.float32)
    assert (classes == 1).all()
    torch.testing.assert_close(weights, torch.ones(1, 12, 12))


def test_a_tile_is_a_function_of_seed_and_step():
    arrays = slices(np.random.default_rng(4), 3, 50, 60)
    make = {"input_size": 52, "halo": 20, "config": PAPER}
    first, second = TileAugmenter(*arrays, **make), TileAugmenter(*arrays, **make)
    for step in (5, 0, 3):  # in any order, whatever was drawn before
        a, b = (augmenter(np.random.default_rng([1, step])) for augmenter in (first, second))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        for other in ([2, step], [1, step + 1]):
            assert not torch.equal(first(np.random.default_rng(other))[0], a[0])


def test_grey_values_by_hand():
    image = torch.tensor([[[0.0, 0.2], [0.4, 1.0]]])  # mean 0.4
    found = change_grey_values(image, sample(grey_scale=1.5, grey_shift=-0.1))
    torch.testing.assert_close(found, torch.tensor([[[-0.3, 0.0], [0.3, 1.2]]]))


@pytest.mark.parametrize("mode", ["bicubic", "bilinear", "nearest"])
def test_resampling_at_pixels_gives_their_values_mirrored_outside(mode):
    image = torch.tensor(np.random.default_rng(5).uniform(size=(2, 7, 5)), dtype=torch.float32)
    rows, columns = np.mgrid[-20:30, -20:30]
    coords = torch.tensor(np.stack((rows, columns), axis=-1), dtype=torch.float32)
    expected = np.pad(image, [(0, 0), (20, 23), (20, 25)], mode="reflect")
    np.testing.assert_allclose(resample(image, coords, mode), expected, atol=1e-4)


def test_resampling_between_pixels_by_hand():
    image = torch.tensor([[[0.0, 1.0, 4.0, 9.0]]])
    coords = torch.tensor([[[0.0, 1.25], [0.0, 1.75]]])
    np.testing.assert_allclose(resample(image, coords, "bilinear")[0], [[1.75, 3.25]], rtol=1e-6)
    assert resample(image, coords, "nearest")[0].tolist() == [[1.0, 4.0]]


def test_image_is_cut_bicubic_weights_bilinear(monkeypatch):
    # Half a pixel between columns: (-3, 19, 19, -3) / 32 of four neighbours, or 1/2 of two.
    image, classes, weights = slices(np.random.default_rng(6), 1, 60, 60)
    augmenter = TileAugmenter(image, classes, weights, input_size=36, halo=8, config=NOTHING)
    found = cut(augmenter, monkeypatch, sample(centre=(29.5, 30.0)))
    rows = np.asarray(image[0, 0])[12:48]
    four = [rows[:, 12 + k : 48 + k] for k in (-1, 0, 1, 2)]
    expected = (-3 * four[0] + 19 * four[1] + 19 * four[2] - 3 * four[3]) / 32
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    rows = np.asarray(weights[0, 0])[20:40]
    np.testing.assert_allclose(found[2], (rows[:, 20:40] + rows[:, 21:41]) / 2, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1)])
def test_slices_of_a_single_row_or_column_are_repeated(shape):
    image = torch.arange(1.0, 1 + np.prod(shape)).reshape(1, *shape)
    coords = torch.tensor([[[2.0, 0.0], [0.0, 2.0], [-3.0, -3.0]]])
    mirrored = np.pad(image[0], 4, mode="reflect")
    expected = [mirrored[4 + 2, 4], mirrored[4, 4 + 2], mirrored[4 - 3, 4 - 3]]
    np.testing.assert_allclose(resample(image, coords, "bilinear")[0, 0], expected, atol=1e-5)


def test_unknown_kernel_is_refused():
    with pytest.raises(InputError, match="kernel 'cubic': need one of bicubic, bspline"):
        dataclasses.replace(PAPER, kernel="cubic")
