"""Overlap-tile strategy: "seamless" (paper Fig. 2) as a number, and what would break it."""

import copy

import numpy as np
import pytest
import torch

from unetcore import geometry, tiling
from unetcore.errors import InputError
from unetcore.model import UNet, initialise
from unetcore.tiling import Tile, TilePlan, plan_tiles, predict_tiled


@pytest.fixture(scope="module")
def network():
    """Four poolings, width 4, random weights, in float64."""
    model = UNet(width=4)
    initialise(model, torch.Generator().manual_seed(0))
    return model.double().eval()


def as_function(model, dtype=torch.float64):
    """Network as the array function that `predict_tiled` wants."""
    model = copy.deepcopy(model).to(dtype)

    @torch.inference_mode()
    def scores(tiles):
        return model(torch.as_tensor(tiles, dtype=dtype)).numpy()

    return scores


def random_image(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def whole_prediction(image, network):
    """Scores of an image in one piece, with np.pad's reflection around it."""
    pads = []
    for size in image.shape[-2:]:
        covered = next(tile for tile in range(4, 5000, 16) if tile >= size)
        pads.append((92, 92 + covered - size))
    padded = np.pad(image, [(0, 0)] * (image.ndim - 2) + pads, mode="reflect")
    scores = network(padded.reshape(1, -1, *padded.shape[-2:]))[0]
    return scores[:, : image.shape[-2], : image.shape[-1]]


@pytest.fixture(scope="module")
def large(network):
    """Input of 588 px, and its scores as a whole: 404 px."""
    image = random_image(np.random.default_rng(0), 1, 1, 588, 588)
    return image, as_function(network)(image)


def tile_of(image, network, row, column, side):
    """Scores of an output tile, computed from its own input tile only."""
    own = image[..., row : row + side + 184, column : column + side + 184]
    return as_function(network)(own)


@pytest.mark.parametrize(
    ("row", "column", "side"),
    [(0, 0, 4), (16, 0, 20), (0, 48, 36), (160, 368, 36), (384, 384, 20), (208, 16, 196)],
)
def test_tile_equals_crop_of_whole_image(network, large, row, column, side):
    image, whole = large
    expected = whole[..., row : row + side, column : column + side]
    np.testing.assert_allclose(tile_of(image, network, row, column, side), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("row", "column"),
    [(8, 0), (0, 8), (1, 1), (4, 0), (388, 388)],  # 388 = 16 * 24 + 4: one output tile of Fig. 1
)
def test_tile_at_another_phase_is_another_prediction(network, large, row, column):
    image, whole = large
    side = 4 if row == 388 else 20
    difference = (
        tile_of(image, network, row, column, side)
        - (whole[..., row : row + side, column : column + side])
    )
    assert np.abs(difference).max() > 0.1 * whole.std()


CASES = [
    (1, 1, None), (1, 1, 4), (3, 4, 4), (1, 57, 20), (5, 90, None), (92, 93, 36), (20, 20, 20),
    (21, 20, 20), (37, 100, 52), (133, 70, 68), (150, 41, None), (40, 170, 100),
]  # fmt: skip


@pytest.mark.parametrize(("height", "width", "tile"), CASES)
def test_tiled_equals_whole(network, height, width, tile):
    image = random_image(np.random.default_rng([height, width]), height, width)
    expected = whole_prediction(image, as_function(network))
    exact = predict_tiled(image, as_function(network), tile)
    assert exact.shape == (2, height, width)
    np.testing.assert_allclose(exact, expected, atol=1e-12)
    single = predict_tiled(image, as_function(network, torch.float32), tile)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=2e-5)


def test_tiled_equals_whole_on_random_sizes(network):
    rng = np.random.default_rng(1)
    for _ in range(8):
        height, width = rng.integers(1, 120, 2)
        tile = rng.choice([20, 36, 52, 84])
        image = random_image(rng, height, width)
        np.testing.assert_allclose(
            predict_tiled(image, as_function(network), int(tile)),
            whole_prediction(image, as_function(network)),
            atol=1e-12,
        )


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_tiled_equals_whole_at_other_depths_and_channels(depth):
    model = UNet(in_channels=2, n_classes=3, width=3, depth=depth)
    initialise(model, torch.Generator().manual_seed(depth))
    function = as_function(model.eval())
    image = random_image(np.random.default_rng(depth), 2, 45, 61)
    period, halo = 2**depth, 6 * 2**depth - 4
    covered = [next(t for t in range(4, 200, period) if t >= s) for s in image.shape[1:]]
    pads = [(halo, halo + c - s) for c, s in zip(covered, image.shape[1:], strict=True)]
    whole = function(np.pad(image, [(0, 0), *pads], mode="reflect")[None])[0, :, :45, :61]
    found = predict_tiled(image, function, 4 + 2 * period, depth)
    assert found.shape == (3, 45, 61)
    np.testing.assert_allclose(found, whole, atol=1e-12)


@pytest.mark.parametrize("wrong", [8, 20])
def test_a_wrong_step_would_be_noticed(network, monkeypatch, wrong):
    image = random_image(np.random.default_rng(2), 60, 60)
    expected = whole_prediction(image, as_function(network))
    monkeypatch.setattr(TilePlan, "step", property(lambda plan: (wrong, wrong)))
    found = predict_tiled(image, as_function(network), 20)
    assert np.abs(found - expected).max() > 0.1 * expected.std()


def test_a_wrong_mirror_would_be_noticed(network, monkeypatch):
    image = random_image(np.random.default_rng(2), 20, 20)
    expected = whole_prediction(image, as_function(network))

    def repeat_the_edge(start, stop, size):
        return np.pad(np.arange(size), (-start, stop - size), mode="symmetric")

    monkeypatch.setattr(geometry, "mirror_index", repeat_the_edge)
    found = predict_tiled(image, as_function(network), 20)
    assert np.abs(found - expected).max() > 0.1 * expected.std()


def identity(tiles):
    """Network that gives back the centre of its input tile."""
    return tiles[:, :, 92:-92, 92:-92]


def test_input_tile_is_a_window_of_the_mirrored_image():
    rng = np.random.default_rng(3)
    for _ in range(20):
        image = random_image(rng, 2, *rng.integers(1, 50, 2))
        tile = Tile(*(int(v) for v in rng.integers(0, 60, 2)), 20, 36)
        expected = np.pad(image, [(0, 0), (30, 200), (30, 200)], mode="reflect")[
            :, tile.row : tile.row + 80, tile.column : tile.column + 96
        ]
        np.testing.assert_array_equal(tiling.input_tile(image, tile, 30), expected)


class Recorder:
    """Array that can only be sliced, as a file is; it notes what is read."""

    def __init__(self, array):
        self.array, self.shape, self.read = array, array.shape, []

    def __getitem__(self, key):
        block = self.array[key]
        self.read.append(block.shape[-2:])
        return block


@pytest.mark.parametrize("shape", [(1, 700, 900), (700, 900)])
def test_only_the_part_that_a_tile_needs_is_read(shape):
    array = random_image(np.random.default_rng(4), *shape)
    source = Recorder(array)
    np.testing.assert_array_equal(predict_tiled(source, identity, 100), array.reshape(1, 700, 900))
    assert len(source.read) == 8 * 10  # steps of 96: one read for each tile
    assert max(max(block) for block in source.read) == 100 + 2 * 92


@pytest.mark.parametrize("shape", [(1, 300, 250), (300, 250)])
def test_image_may_be_a_memory_map(tmp_path, shape):
    image = random_image(np.random.default_rng(5), *shape)
    image.tofile(tmp_path / "image")
    mapped = np.memmap(tmp_path / "image", np.float32, "r", shape=shape)
    found = predict_tiled(mapped, identity, 116)
    np.testing.assert_array_equal(found, image.reshape(1, 300, 250))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_output_that_is_not_finite_names_the_tile(value):
    image = np.zeros((50, 200), np.float32)
    image[40, 150] = value
    with pytest.raises(FloatingPointError, match=r"Tile\(row=32, column=144, height=20, width=20"):
        predict_tiled(image, identity, 20)


def random_shapes(seed, n, largest):
    return np.random.default_rng(seed).integers(1, largest, (n, 2)).tolist()


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_plans_cover_every_pixel_at_offsets_of_the_pooling_grid(depth):
    rng = np.random.default_rng(depth)
    for shape in random_shapes(depth, 25, 700):
        side = 4 + 2**depth * int(rng.integers(1, 40))
        for plan in (plan_tiles(shape, None, depth), plan_tiles(shape, side, depth)):
            covered = np.zeros(shape, int)
            for tile in plan:
                assert tile.row % 2**depth == tile.column % 2**depth == 0
                assert geometry.output_size(tile.height + 2 * plan.halo, depth) == tile.height
                covered[tile.crop(shape)] += 1
            assert covered.min() == 1
            assert len(plan) == len(list(plan))


def test_planned_tiles_are_never_larger_than_promised():
    too_large = [n for n in range(1, 3000) if max(plan_tiles((n, n)).tile) > 516]
    assert too_large == []


def test_plan_steps_by_384_where_the_paper_has_388():
    plan = plan_tiles((772, 500), 388)
    assert plan.step == (384, 384)
    assert [(tile.row, tile.column) for tile in plan] == [(0, 0), (0, 384), (384, 0), (384, 384)]


@pytest.mark.parametrize(
    ("size", "tile", "n_tiles", "cost"),
    [
        (512, 388, 4, 3.13), (512, 516, 1, 1.28), (512, 260, 4, 1.63), (512, None, 1, 1.28),
        (2048, 388, 36, 1.76), (2048, 2052, 1, 1.065), (2048, None, 16, 1.28),
    ],
)  # fmt: skip
def test_cost_of_plans(size, tile, n_tiles, cost):
    plan = plan_tiles((size, size), tile)
    assert len(plan) == n_tiles
    assert plan.cost == pytest.approx(cost, abs=0.005 if cost != 1.065 else 5e-4)


def test_cost_counts_every_tile_of_the_network_by_hand():
    # Four tiles of 150.428 GMAC each where 512 x 512 px need 192.38 GMAC.
    assert plan_tiles((512, 512), 388).cost == pytest.approx(4 * 150.428 / 192.38, rel=2e-5)


def test_no_plan_of_a_single_tile_size_is_cheaper_at_common_sizes():
    for shape in [(512, 512), (520, 696), (1024, 1024), (300, 1100)]:
        planned = plan_tiles(shape).cost
        assert planned <= min(plan_tiles(shape, tile).cost for tile in range(20, 517, 16))


@pytest.mark.parametrize(
    ("shape", "tile", "message"),
    [
        ((0, 5), None, r"shape \(0, 5\): need two sides of at least 1 px"),
        ((5,), None, r"shape \(5,\)"),
        ((100, 100), 400, r"output tile of 400 px: .* nearest are 388 and 404"),
        ((5, 3), 4, r"tile of 4 px .* smallest that leaves no gap is 20"),
    ],
)
def test_plans_that_cannot_be_are_refused(shape, tile, message):
    with pytest.raises(InputError, match=message):
        plan_tiles(shape, tile)


@pytest.mark.parametrize("shape", [(5,), (1, 1, 5, 5)])
def test_images_of_other_dimensions_are_refused(shape):
    with pytest.raises(InputError, match=r"need \(H, W\) or \(C, H, W\)"):
        predict_tiled(np.zeros(shape, np.float32), identity)


def test_an_image_in_float64_is_not_rounded(network):
    image = np.random.default_rng(1).normal(size=(70, 45))  # not representable in float32
    whole = whole_prediction(image, as_function(network))
    tiled = predict_tiled(image, as_function(network), 36)
    np.testing.assert_allclose(tiled, whole, atol=1e-12)
    rounded = predict_tiled(image.astype(np.float32), as_function(network), 36)
    assert np.abs(rounded - whole).max() > 1e-10
