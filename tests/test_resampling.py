"""Resampling: splines, and both ways to cut a tile against loops that spell out what it is."""

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy import ndimage

from unetcore.errors import InputError
from unetcore.resampling import (
    bspline_basis,
    cut_tile,
    gathered,
    prepare_slices,
    spline_coefficients,
)

SHAPES = [(1, 1), (1, 6), (6, 1), (2, 3), (3, 2), (4, 4), (5, 40), (31, 24)]


def bspline(x):
    """Cubic B-spline as a sum of truncated powers, the formula of its definition."""
    return sum((-1) ** k * math.comb(4, k) * max(x + 2 - k, 0) ** 3 for k in range(5)) / 6


def mirrored(k, n):
    """Pixel at index k of an axis walked there and back: 0, 1, .., n-1, n-2, .., 1, 0, 1, .."""
    walk = [*range(n), *range(n - 2, 0, -1)]
    return walk[k % len(walk)]


def spline_matrix(n):
    """Matrix that turns the coefficients of n mirrored samples into the samples."""
    matrix = np.zeros((n, n))
    for k in range(n):
        for step, weight in ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6)):
            matrix[k, mirrored(k + step, n)] += weight
    return matrix


def read_slowly(image, classes, weights, rows, columns, context=mirrored):
    """Values at positions, one pixel and one neighbour at a time."""
    height, width = classes.shape
    coefficients = [
        np.linalg.solve(spline_matrix(width), np.linalg.solve(spline_matrix(height), channel).T).T
        for channel in image
    ]

    def at(array, r, c):
        return array[context(r, height), context(c, width)]

    found = np.zeros((len(image), *rows.shape)), np.zeros(rows.shape), np.zeros(rows.shape)
    for pixel in np.ndindex(rows.shape):
        r, c = rows[pixel], columns[pixel]
        top, left = math.floor(r), math.floor(c)
        for a in range(top - 1, top + 3):
            for b in range(left - 1, left + 3):
                for channel, values in enumerate(coefficients):
                    weight = bspline(r - a) * bspline(c - b)
                    found[0][channel, *pixel] += weight * at(values, a, b)
                linear = max(1 - abs(r - a), 0) * max(1 - abs(c - b), 0)
                found[2][pixel] += linear * at(weights, a, b)
        found[1][pixel] = at(classes, math.floor(r + 0.5), math.floor(c + 0.5))
    return found


def random_slice(rng, shape, n_channels=2):
    return (
        rng.normal(0, 1, (n_channels, *shape)).astype(np.float32),
        rng.integers(0, 200, shape).astype(np.int32),
        rng.uniform(0, 10, shape).astype(np.float32),
    )


def cut_gathered(slices, index, field, basis, halo):
    """The way of a GPU, on the CPU."""
    arrays = (slices.coefficients[index], slices.classes[index], slices.weights[index])
    return gathered.cut_tile(*arrays, field, basis, halo)


def read(arrays, rows, columns, cut=cut_tile, halo=0):
    """Values at square arrays of positions: on the unit basis a field is its own positions."""
    slices = prepare_slices(*(array[None] for array in arrays))
    basis = torch.eye(len(rows), dtype=torch.float64)
    tile = cut(slices, 0, np.stack((rows, columns)).astype(float), basis, halo)
    assert [t.dtype for t in tile] == [torch.float32, torch.int64, torch.float32]
    return [t.numpy() for t in tile]


def assert_same_tile(found, expected, atol=1e-5):
    np.testing.assert_allclose(found[0], expected[0], atol=atol)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[2], expected[2], atol=atol)


both_ways = pytest.mark.parametrize("cut", [cut_tile, cut_gathered], ids=["compiled", "gathered"])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9, 100])
def test_coefficients_solve_the_equations_of_the_spline(n):
    samples = np.random.default_rng(n).normal(0, 1, (n, 3))
    found = spline_coefficients(samples, axes=(0,))
    np.testing.assert_allclose(spline_matrix(n) @ found, samples, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_coefficients_of_an_image_are_scipys(shape):
    image = np.random.default_rng(1).normal(0, 1, (2, *shape))
    before = image.copy()
    # scipy starts its recursion with a sum that it cuts off where that is below 1e-15
    expected = [ndimage.spline_filter(channel, order=3, mode="mirror") for channel in image]
    np.testing.assert_allclose(spline_coefficients(image), expected, atol=1e-12)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_basis_is_the_sum_of_mirrored_splines(n):
    positions = np.append(np.random.default_rng(n).uniform(0, n - 1, 20), [0, n - 1])
    expected = np.zeros((len(positions), n))
    for row, position in zip(expected, positions, strict=True):
        for k in range(-3, n + 3):
            row[mirrored(k, n)] += bspline(position - k)
    np.testing.assert_allclose(bspline_basis(positions, n), expected, atol=1e-12)


@both_ways
@pytest.mark.parametrize("shape", SHAPES)
def test_tile_is_that_of_the_loops(cut, shape):
    rng = np.random.default_rng(2)
    arrays = random_slice(rng, shape)
    reach = [3 * n + 4 for n in shape]  # several mirror images away
    rows, columns = (rng.uniform(-r, r + n, (12, 12)) for r, n in zip(reach, shape, strict=True))
    assert_same_tile(read(arrays, rows, columns, cut), read_slowly(*arrays, rows, columns))


@both_ways
def test_tile_is_scipys(cut):
    rng = np.random.default_rng(3)
    arrays = random_slice(rng, (37, 52))
    rows, columns = rng.uniform(-80, 120, (2, 60, 60))
    values = (arrays[0][0], arrays[0][1], arrays[1], arrays[2])
    first, second, classes, weights = (
        ndimage.map_coordinates(v.astype(float), (rows, columns), order=order, mode="mirror")
        for v, order in zip(values, (3, 3, 0, 1), strict=True)
    )
    assert_same_tile(read(arrays, rows, columns, cut), ((first, second), classes, weights))


@both_ways
@pytest.mark.parametrize("shape", SHAPES)
def test_at_pixels_all_values_are_those_of_the_mirrored_slice(cut, shape):
    arrays = random_slice(np.random.default_rng(4), shape, n_channels=1)
    rows, columns = np.mgrid[-20:40, -20:40]
    reach = [(20, 40 - n) for n in shape]
    expected = [np.pad(array.reshape(shape), reach, mode="reflect") for array in arrays]
    found = read(arrays, rows, columns, cut)
    assert_same_tile(found, (expected[0][None], *expected[1:]))


@both_ways
def test_between_pixels_by_hand(cut):
    # The spline through 0, 1, 0 has coefficients -1, 2, -1. A quarter of the way from the first
    # pixel, B-splines of (27, 235, 121, 1) / 384 meet the mirrored coefficients 2, -1, 2, -1.
    image = np.array([[[0.0, 1.0, 0.0]]])
    weights = np.array([[4.0, 8.0, 0.0]])
    classes = np.array([[5, 6, 7]])
    rows, columns = np.zeros((2, 2)), np.array([[0.25, 0.75], [1.5, 0.5]])
    found = read((image, classes, weights), rows, columns, cut)
    assert found[0][0, 0, 0] == pytest.approx((2 * 27 - 235 + 2 * 121 - 1) / 384)
    assert found[0][0, 1].tolist() == pytest.approx([0.5, 0.5])
    assert found[1].tolist() == [[5, 6], [7, 6]]  # half-way, the next one
    assert found[2].tolist() == [[5, 7], [4, 6]]


@both_ways
def test_halo_takes_from_classes_and_weights_only(cut):
    arrays = random_slice(np.random.default_rng(5), (9, 8))
    rows, columns = np.random.default_rng(6).uniform(0, 7, (2, 11, 11))
    whole, inner = (read(arrays, rows, columns, cut, halo) for halo in (0, 3))
    np.testing.assert_array_equal(inner[0], whole[0])
    for found, expected in zip(inner[1:], whole[1:], strict=True):
        np.testing.assert_array_equal(found, expected[3:-3, 3:-3])


@both_ways
def test_positions_that_are_no_numbers_read_some_pixel(cut):
    arrays = random_slice(np.random.default_rng(7), (9, 8))
    rows = np.array([[np.nan, np.inf], [-np.inf, 1e300]])
    found = read(arrays, rows, rows[::-1].copy(), cut)
    assert np.isfinite(found[0]).all()
    assert np.isin(found[1], arrays[1]).all()
    assert np.isin(found[2], arrays[2]).all()


def random_field(rng, size, shape):
    """A tile turned and shifted at random, its nodes moved by 10 px."""
    axis = np.arange(size) - (size - 1) / 2
    basis = np.column_stack((bspline_basis(np.linspace(0, 2, size), 3), np.ones(size), axis))
    angle = rng.uniform(0, 2 * np.pi)
    field = np.zeros((2, 5, 5))
    field[:, :3, :3] = rng.normal(0, 10, (2, 3, 3))
    field[:, 3, 3] = rng.uniform(0, shape)
    field[:, 4, 3] = np.cos(angle), -np.sin(angle)
    field[:, 3, 4] = np.sin(angle), np.cos(angle)
    return field, torch.as_tensor(basis)


def assert_ways_agree(slices, field, basis, halo, device="cpu"):
    """Compare with the compiled way: 1e-5 std; classes unless within 1e-6 px of half-way."""
    compiled = cut_tile(slices, 0, field, basis, halo)
    arrays = (slices.coefficients[0], slices.classes[0], slices.weights[0])
    other = gathered.cut_tile(*(a.to(device) for a in arrays), field, basis.to(device), halo)
    image, classes, weights = (t.cpu() for t in other)
    torch.testing.assert_close(image, compiled[0], rtol=0, atol=1e-5)  # of std 1
    torch.testing.assert_close(weights, compiled[2], rtol=1e-5, atol=1e-5)
    positions = (basis @ torch.as_tensor(field) @ basis.T)[:, halo:-halo, halo:-halo]
    sure = ((positions % 1 - 0.5).abs() > 1e-6).all(0)
    assert sure.double().mean() > 0.9999
    assert torch.equal(classes[sure], compiled[1][sure])


@pytest.mark.parametrize("seed", range(3))
def test_both_ways_agree_on_the_papers_tile(seed):
    rng = np.random.default_rng(seed)
    slices = prepare_slices(*(a[None] for a in random_slice(rng, (512, 400))))
    field, basis = random_field(rng, 572, (512, 400))
    assert_ways_agree(slices, field, basis, 92)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_agrees_with_the_cpu():
    rng = np.random.default_rng(0)
    slices = prepare_slices(*(a[None] for a in random_slice(rng, (512, 400))))
    field, basis = random_field(rng, 572, (512, 400))
    assert_ways_agree(slices, field, basis, 92, device="cuda")


def test_slices_on_a_device_are_cut_there(monkeypatch):
    # "meta" stands for any device that is no CPU: it has shapes and types, but no values.
    slices = prepare_slices(
        *(a[None] for a in random_slice(np.random.default_rng(0), (9, 8))), "meta"
    )
    basis = torch.eye(6, dtype=torch.float64, device="meta")
    monkeypatch.setattr(gathered, "cut_tile", lambda *arguments: arguments)
    found = cut_tile(slices, 0, np.zeros((2, 6, 6)), basis, 1)
    assert found[0].shape == (2, 12, 11)
    assert found[0].device.type == found[1].device.type == "meta"


def wrong_context(k, n):
    """Mirroring that repeats the edge pixel: 0, 1, .., n-1, n-1, .., 1, 0, 0, 1, .."""
    walk = [*range(n), *range(n - 1, -1, -1)]
    return walk[k % len(walk)]


@both_ways
@pytest.mark.parametrize(
    "wrong",
    [
        lambda arrays, r, c: read_slowly(*arrays, r, c, context=wrong_context),
        lambda arrays, r, c: read_slowly(*arrays, c, r),
        lambda arrays, r, c: read_slowly(*arrays, r + 0.5, c + 0.5),
    ],
    ids=["edge repeated", "axes swapped", "half a pixel off"],
)
def test_a_wrong_definition_is_seen_in_every_array(cut, wrong):
    rng = np.random.default_rng(8)
    arrays = random_slice(rng, (12, 12))
    rows, columns = rng.uniform(-4, 16, (2, 8, 8))
    found = read(arrays, rows, columns, cut)
    assert_same_tile(found, read_slowly(*arrays, rows, columns))
    for array, expected in zip(found, wrong(arrays, rows, columns), strict=True):
        assert np.abs(array - expected).max() > 0.1


def test_tiles_are_the_same_bits_from_any_thread():
    rng = np.random.default_rng(9)
    slices = prepare_slices(*(a[None] for a in random_slice(rng, (100, 120))))
    fields = [random_field(rng, 188, (100, 120))[0] for _ in range(8)]
    _, basis = random_field(rng, 188, (100, 120))
    alone = [cut_tile(slices, 0, field, basis, 92) for field in fields]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda field: cut_tile(slices, 0, field, basis, 92), fields * 3))
    for k, tile in enumerate(together):
        assert all(map(torch.equal, tile, alone[k % 8]))


def test_training_is_imported_and_gpu_tiles_are_cut_without_numba():
    code = """
import sys
sys.modules["numba"] = None  # any import of it fails
import numpy as np, torch
import unetcore.train
from unetcore.resampling import gathered, prepare_slices
slices = prepare_slices(np.ones((1, 1, 5, 4)), np.ones((1, 5, 4), int), np.ones((1, 5, 4)))
arrays = (slices.coefficients[0], slices.classes[0], slices.weights[0])
basis = torch.eye(6, dtype=torch.float64)
image, classes, weights = gathered.cut_tile(*arrays, np.zeros((2, 6, 6)), basis, 1)
assert (image - 1).abs().max() < 1e-6 and (classes == 1).all() and (weights == 1).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def arrays_of(images=(2, 1, 5, 4), classes=(2, 5, 4), weights=(2, 5, 4), dtype=int):
    return np.ones(images), np.ones(classes, dtype), np.ones(weights)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (arrays_of(images=(2, 5, 4)), r"images of shape \(2, 5, 4\): need slices, channels, rows"),
        (arrays_of((2, 1, 0, 4), (2, 0, 4), (2, 0, 4)), r"\(2, 1, 0, 4\): .* at least one of each"),
        (arrays_of((0, 1, 5, 4), (0, 5, 4), (0, 5, 4)), r"\(0, 1, 5, 4\): .* at least one of each"),
        (arrays_of(classes=(2, 4, 5)), r"classes \(2, 4, 5\), .* need the same slices, rows"),
        (arrays_of(weights=(1, 5, 4)), r"weights \(1, 5, 4\): need the same slices, rows"),
        (arrays_of(dtype=float), "classes of type float64: need integers"),
    ],
)
def test_slices_that_do_not_fit_are_refused(arrays, message):
    with pytest.raises(InputError, match=message):
        prepare_slices(*arrays)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({0: [[1.0]]}, "images of type list: need an array"),
        ({0: np.ones((2, 1, 5, 4), complex)}, "images of type complex128: need real numbers"),
        ({2: np.ones((2, 5, 4), complex)}, "weights of type complex128: need real numbers"),
        ({1: np.full((2, 5, 4), 2**40)}, f"classes from {2**40} to {2**40}: need -2147483648 to"),
        ({1: np.full((2, 5, 4), -(2**31) - 1)}, "classes from -2147483649 to"),
    ],
)
def test_values_that_would_be_lost_are_refused(changed, message):
    arrays = dict(enumerate(arrays_of())) | changed
    with pytest.raises(InputError, match=message):
        prepare_slices(*arrays.values())


@pytest.mark.parametrize(
    ("field", "basis", "halo", "message"),
    [
        ((2, 6, 5), (6, 6), 0, r"field of shape \(2, 6, 5\) .* need \(2, 6, 6\) for the field"),
        ((6, 6), (6, 6), 0, r"field of shape \(6, 6\)"),
        ((2, 6, 6), (6, 6), 3, "halo of 3 px in a tile of 6 px: need 0 to 2"),
        ((2, 6, 6), (6, 6), -1, "halo of -1 px"),
    ],
)
def test_tiles_that_do_not_fit_are_refused(field, basis, halo, message):
    slices = prepare_slices(*arrays_of())
    with pytest.raises(InputError, match=message):
        cut_tile(slices, 0, np.zeros(field), torch.zeros(basis, dtype=torch.float64), halo)


def test_fields_of_float32_are_refused():
    slices = prepare_slices(*arrays_of())
    basis = torch.eye(6, dtype=torch.float64)
    with pytest.raises(InputError, match=r"type float32, basis .* and float64"):
        cut_tile(slices, 0, np.zeros((2, 6, 6), np.float32), basis, 0)
