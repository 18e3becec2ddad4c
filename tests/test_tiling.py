"""Overlap-tile strategy: "seamless" (paper Fig. 2) as a number, and what would break it."""

import copy
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from unetcore import geometry, tiling
from unetcore.errors import InputError
from unetcore.model import UNet, initialise
from unetcore.predict import Predictor
from unetcore.tiling import (
    UNET,
    NaivePlan,
    NetworkTraits,
    Tile,
    TilePlan,
    plan_tiles,
    predict_tiled,
    predict_tiles,
    stitch,
)


def random_network(**settings):
    """Network with random weights, in evaluation mode."""
    model = UNet(**settings)
    initialise(model, torch.Generator().manual_seed(0))
    return model.eval()


@pytest.fixture(scope="module")
def network():
    """Four poolings, width 4, random weights, in float64."""
    return random_network(width=4).double()


def as_function(model, dtype=torch.float64):
    """Network as the array function that `predict_tiled` wants."""
    model = copy.deepcopy(model).to(dtype)

    @torch.inference_mode()
    def scores(tiles, output=None):
        return model(torch.as_tensor(tiles, dtype=dtype), output).numpy()

    return scores


def with_traits(function, **traits):
    """The same function, which says something about itself."""

    def scores(*given, **how):
        return function(*given, **how)

    scores.traits = NetworkTraits(**traits)
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


def random_cases(seed, n, largest, tiles):
    """Random sizes and tiles; None is the planned one, and a small budget makes it plan more."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        shape = [int(side) for side in rng.integers(1, largest, 2)]
        yield random_image(rng, *shape), rng.choice(tiles), int(rng.choice([4 * 10**6, 10**9]))


@pytest.mark.parametrize("variant", ["figure1", "release"])
def test_tiled_equals_whole_on_random_sizes(variant):
    model = random_network(width=3, variant=variant)
    exact, single = as_function(model), as_function(model, torch.float32)
    for image, tile, memory in random_cases(1, 8, 150, [None, 20, 36, 52, 84]):
        whole = whole_prediction(image, exact)
        for crops in (False, True):
            network = with_traits(exact, width=3, value_size=8, crops=crops)
            found = predict_tiled(image, network, tile, memory=memory)
            np.testing.assert_allclose(found, whole, rtol=0, atol=1e-12)
        found = predict_tiled(image, with_traits(single, width=3, crops=True), tile, memory=memory)
        np.testing.assert_allclose(found, whole_prediction(image, single), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("shape", "tile"),
    [((2999, 7), None), ((3, 3000), 516), ((1, 2731), 132), ((1517, 92), None), ((640, 413), 196)],
)
def test_tiled_equals_whole_on_large_and_thin_images(shape, tile):
    model = random_network(width=1)
    image = random_image(np.random.default_rng(shape), *shape)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        function = with_traits(as_function(model, dtype), width=1, crops=True, memory=2 * 10**6)
        if tile is None:
            assert len(plan_tiles(shape, traits=function.traits)) > 1
        found = predict_tiled(image, function, tile)
        whole = whole_prediction(image, as_function(model, dtype))
        np.testing.assert_allclose(found, whole, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_tiled_equals_whole_up_to_3000_px(seed):
    model = random_network(width=2, variant=("figure1", "release")[seed % 2])
    function = with_traits(as_function(model), width=2, value_size=8, crops=True)
    for image, tile, memory in random_cases(seed, 1, 3000, [None, 132, 388, 1028]):
        found = predict_tiled(image, function, tile, memory=20 * memory)
        np.testing.assert_allclose(found, whole_prediction(image, function), rtol=0, atol=1e-12)


@pytest.mark.parametrize("tile", [260, 388, 516, None])
@pytest.mark.parametrize("variant", ["figure1", "release"])
def test_in_width_16_tiles_of_260_px_differ_by_exactly_nothing(variant, tile):
    image = random_image(np.random.default_rng(6), 700, 540)
    network = Predictor(random_network(width=16, variant=variant), memory=200 * 10**6)
    tiled, whole = predict_tiled(image, network, tile), whole_prediction(image, network)
    assert len(network.plan(image.shape, tile)) > 1
    assert whole.std() > 0.1
    np.testing.assert_array_equal(tiled, whole)


@pytest.mark.parametrize("tile", [20, 36, 84, None])
@pytest.mark.parametrize("width", [1, 4, 16])
def test_small_tiles_and_narrow_networks_differ_by_exactly_nothing_either(width, tile):
    """A lone small map would go through another kernel of the library: see `LONE_VALUES`."""
    network = Predictor(random_network(width=width))
    for image in (random_image(np.random.default_rng(6), *shape) for shape in ((100, 61), (3, 40))):
        whole = whole_prediction(image, network)
        np.testing.assert_array_equal(predict_tiled(image, network, tile), whole)


@pytest.mark.parametrize("side", [20, 124])
@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("skip_connections", [True, False])
def test_nor_does_a_lone_tile_of_another_expansive_path(skip_connections, width, side):
    model = random_network(
        width=8, depth=2, expansive_width=width, skip_connections=skip_connections
    )
    tile = random_image(np.random.default_rng(8), 1, 1, side + 40, side + 40)
    alone, in_company = (Predictor(model)(np.repeat(tile, n, axis=0))[0] for n in (1, 2))
    assert alone.std() > 0.1
    np.testing.assert_array_equal(alone, in_company)


@pytest.mark.parametrize(
    ("depth", "width", "tile"),
    [(1, 64, 84), (2, 64, 84), (3, 64, 52), (4, 64, 20), (4, 64, 132), (3, 128, 20), (3, 128, 52)],
)
def test_nor_do_small_tiles_of_wide_networks(depth, width, tile):
    network = Predictor(random_network(width=width, depth=depth))
    image = random_image(np.random.default_rng(7), tile + 33, tile)
    whole = tuple(geometry.round_up_to_output_tile(side, depth) for side in image.shape)
    at_once = stitch(
        predict_tiles(image, network, TilePlan(image.shape, whole, depth)), image.shape
    )
    np.testing.assert_array_equal(predict_tiled(image, network, tile), at_once)
    np.testing.assert_array_equal(predict_tiled(image, network), at_once)


def test_a_lone_small_map_would_be_noticed(monkeypatch):
    monkeypatch.setattr("unetcore.predict.LONE_VALUES", 0)
    network = Predictor(random_network(width=4))
    image = random_image(np.random.default_rng(6), 20, 20)
    whole = network(np.stack([np.pad(image, 92, mode="reflect")[None]] * 2))[0]
    assert np.abs(predict_tiled(image, network) - whole).max() > 1e-7


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
    for crops in (False, True):
        network = with_traits(function, crops=crops, memory=2 * 10**6)
        for tile in (4 + 2 * period, None):
            found = predict_tiled(image, network, tile, depth)
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


@pytest.mark.parametrize("seed", range(2))
def test_stepping_by_the_output_tiles_own_side_is_not_seamless(seed):
    # The paper's 388 px at the scale of a test: 100 is 4 mod 16 too.
    model = UNet(width=16)
    initialise(model, torch.Generator().manual_seed(seed))
    network = as_function(model.eval())
    image = random_image(np.random.default_rng(seed), 300, 300)
    whole, found = whole_prediction(image, network), np.empty((2, 300, 300))
    plan = NaivePlan((300, 300), (100, 100))
    assert len(plan) == 9
    for rows, columns, scores in predict_tiles(image, network, plan):
        found[:, rows, columns] = scores
    np.testing.assert_allclose(found[:, :100, :100], whole[:, :100, :100], atol=1e-12)
    labels, expected = found.argmax(axis=0), whole.argmax(axis=0)
    flipped = (labels != expected).mean()
    assert 0.1 < flipped < 0.3
    np.testing.assert_array_equal(predict_tiled(image, network, 100).argmax(axis=0), expected)


class Collector:
    """Array that can only be written by slices, as a file is; it notes when that happens."""

    def __init__(self, shape, log):
        self.array, self.shape, self.log = np.full(shape, np.nan), shape, log

    def __setitem__(self, key, block):
        assert np.isnan(self.array[key]).all()  # no pixel is written twice
        self.array[key] = block
        self.log.append("write")


def test_tiles_are_written_as_they_finish():
    image, log = random_image(np.random.default_rng(8), 200, 330), []

    def network(tiles):
        log.append("compute")
        return identity(tiles)

    out = Collector((1, 200, 330), log)
    assert predict_tiled(image, network, 100, out=out) is out
    np.testing.assert_array_equal(out.array[0], image)
    n_tiles = 3 * 4  # steps of 96
    assert log.count("write") == n_tiles
    batch = plan_tiles((200, 330), 100, traits=tiling.PLAIN).batch
    calls = [k for k, event in enumerate(log) if event == "compute"]
    assert len(calls) == -(-n_tiles // batch)
    for k, end in itertools.pairwise([*calls, len(log)]):  # what is computed is written at once
        assert log[k + 1 : end] == ["write"] * (end - k - 1)
        assert 1 <= end - k - 1 <= batch


def test_zarr_arrays_are_read_and_written_tile_by_tile(tmp_path, network):
    image = random_image(np.random.default_rng(9), 1, 150, 90)
    stored = zarr.create_array(
        tmp_path / "in.zarr", shape=image.shape, chunks=(1, 64, 64), dtype="f4"
    )
    stored[:] = image
    out = zarr.create_array(
        tmp_path / "out.zarr", shape=(2, 150, 90), chunks=(2, 64, 64), dtype="f8"
    )
    predict_tiled(stored, as_function(network), 52, out=out)
    kept = zarr.open_array(tmp_path / "out.zarr", mode="r")[:]
    np.testing.assert_array_equal(kept, predict_tiled(image, as_function(network), 52))
    np.testing.assert_allclose(kept, whole_prediction(image, as_function(network)), atol=1e-12)


def test_prediction_is_written_to_a_memory_map(tmp_path):
    image = random_image(np.random.default_rng(5), 120, 60)
    out = np.memmap(tmp_path / "out", np.float32, "w+", shape=(1, 120, 60))
    predict_tiled(image, identity, 36, out=out)
    out.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out", np.float32).reshape(120, 60), image)


@pytest.mark.parametrize("shape", [(1, 50, 61), (2, 50, 60), (50, 60)])
def test_output_array_of_another_shape_is_refused(shape):
    with pytest.raises(InputError, match=r"output array of shape .* prediction has \(1, 50, 60\)"):
        predict_tiled(np.zeros((50, 60), np.float32), identity, 20, out=np.empty(shape))


def test_output_array_that_cannot_hold_scores_is_refused():
    with pytest.raises(InputError, match="type uint8: the prediction is float32"):
        predict_tiled(np.zeros((50, 60), np.float32), identity, 20, out=np.empty((1, 50, 60), "u1"))


def test_the_network_says_how_deep_it_is():
    model = random_network(width=2, depth=2)
    image = random_image(np.random.default_rng(7), 100, 90)
    found = predict_tiled(image, Predictor(model))
    np.testing.assert_array_equal(found, predict_tiled(image, Predictor(model), None, 2))


@pytest.mark.parametrize("tile", [None, 36])
def test_a_network_whose_output_has_another_size_is_refused(tile):
    image = np.zeros((100, 90), np.float32)
    with pytest.raises(InputError, match=r"network of output .* need .* as unpadded convolutions"):
        predict_tiled(image, lambda tiles: tiles, tile)  # padded convolutions
    shallow = as_function(random_network(width=1, depth=2), torch.float32)  # of a smaller halo
    with pytest.raises(InputError, match="4 poolings make it"):
        predict_tiled(image, shallow, tile)


def test_a_plan_that_crops_serves_a_network_that_does_not():
    image = random_image(np.random.default_rng(7), 50, 60)
    tiles = predict_tiles(image, identity, plan_tiles((50, 60)))
    np.testing.assert_array_equal(stitch(tiles, image.shape)[0], image)


@pytest.mark.parametrize("dtype", ["u1", "i8", "f2", ">f4", "?"])
def test_whole_numbers_and_other_floats_are_taken_as_float32(dtype):
    image = (np.random.default_rng(8).integers(0, 2, (30, 40))).astype(dtype)
    found = predict_tiled(image, identity, 20)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], image)


def test_float64_of_any_byte_order_is_not_rounded():
    image = np.random.default_rng(8).normal(size=(30, 40)).astype(">f8")
    np.testing.assert_array_equal(predict_tiled(image, identity, 20)[0], image)


def test_complex_images_are_refused():
    with pytest.raises(InputError, match="image of type complex64: need real numbers"):
        predict_tiled(np.zeros((30, 40), "c8"), identity)


def test_a_plan_for_another_image_is_refused():
    tiles = predict_tiles(np.zeros((50, 60)), identity, plan_tiles((50, 61)))
    with pytest.raises(InputError, match=r"image of \(50, 60\) px: the plan is for \(50, 61\) px"):
        next(tiles)


def test_batches_are_computed_together_and_put_where_they_belong():
    image, sizes = random_image(np.random.default_rng(10), 150, 200), []

    def network(tiles):
        sizes.append(len(tiles))
        return identity(tiles)

    plan = TilePlan((150, 200), (36, 36), batch=8)  # steps of 32: 5 x 7 tiles
    found = np.empty((1, 150, 200))
    for rows, columns, scores in predict_tiles(image, network, plan):
        found[:, rows, columns] = scores
    assert sizes == [7] * 5  # four of 8 would leave three
    np.testing.assert_array_equal(found[0], image)


def test_tiles_at_the_border_are_computed_in_the_image_only():
    asked = []

    def network(tiles, output=(20, 36)):
        asked.append((len(tiles), *output))
        return identity(tiles)[..., : output[0], : output[1]]

    image = random_image(np.random.default_rng(11), 25, 70)
    plan = TilePlan((25, 70), (20, 36), crops=True, batch=3)  # steps of 16 and 32
    found = np.empty((1, 25, 70))
    for rows, columns, scores in predict_tiles(image, with_traits(network, crops=True), plan):
        assert scores.shape == (1, rows.stop - rows.start, columns.stop - columns.start)
        found[:, rows, columns] = scores
    assert asked == [(2, 16, 32), (1, 16, 6), (2, 9, 32), (1, 9, 6)]
    np.testing.assert_array_equal(found[0], image)


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
                covered[plan.filled(tile)] += 1
            assert covered.min() == covered.max() == 1
            assert len(plan) == len(list(plan))


def test_plan_steps_by_384_where_the_paper_has_388():
    plan = plan_tiles((772, 500), 388)
    assert plan.step == (384, 384)
    assert [(tile.row, tile.column) for tile in plan] == [(0, 0), (0, 384), (384, 0), (384, 384)]


@pytest.mark.parametrize(
    ("size", "tile", "n_tiles", "cost"),
    [
        (512, 388, 4, 3.13), (512, 516, 1, 1.28), (512, 260, 4, 1.63), (512, None, 1, 1.27),
        (2048, 388, 36, 1.76), (2048, 2052, 1, 1.065), (2048, None, 16, 1.27),
    ],
)  # fmt: skip
def test_cost_of_plans(size, tile, n_tiles, cost):
    plan = plan_tiles((size, size), tile)
    assert len(plan) == n_tiles
    assert plan.cost == pytest.approx(cost, abs=0.005 if cost != 1.065 else 5e-4)


def test_cost_counts_every_tile_of_the_network_by_hand():
    # Four tiles of 150.428 GMAC each where 512 x 512 px need 192.38 GMAC.
    assert plan_tiles((512, 512), 388).cost == pytest.approx(4 * 150.428 / 192.38, rel=2e-5)


def test_a_requested_tile_is_computed_in_full():
    assert not plan_tiles((100, 100), 68).crops
    assert plan_tiles((100, 100), 68, traits=UNET).cost > plan_tiles((100, 100)).cost


def sizes_from_512():
    rng = np.random.default_rng(12)
    return [*range(512, 552), *rng.integers(552, 3000, 60).tolist()]


@pytest.mark.parametrize(
    "traits",
    [{}, {"width": 64}, {"width": 64, "value_size": 2}, {"width": 64, "on_gpu": True}],
    ids=str,
)
def test_from_512_px_up_less_than_a_third_is_computed_beside_what_is_needed(traits):
    traits = NetworkTraits(crops=True, **traits)
    costs = {n: plan_tiles((n, n), traits=traits).cost for n in sizes_from_512()}
    assert max(costs.values()) <= 1.30


def test_cost_counts_what_is_computed_of_every_tile_by_walking_over_them():
    for shape in random_shapes(13, 20, 1500):
        plan = plan_tiles(shape, traits=NetworkTraits(crops=True, memory=20 * 10**6))
        computed = sum(
            geometry.multiply_accumulates(*plan.input_shape, output=plan.output_shape(tile))
            for tile in plan
        )
        assert plan.cost == pytest.approx(
            computed / geometry.needed_multiply_accumulates(*shape), rel=1e-12
        )


@pytest.mark.parametrize("memory", [3 * 10**7, 10**8, 10**9])
def test_plans_stay_within_the_memory_and_use_more_of_it_where_that_helps(memory):
    for shape in random_shapes(14, 10, 3000):
        traits = NetworkTraits(width=64, crops=True, memory=memory)
        plan = plan_tiles(shape, traits=traits)
        assert plan.memory <= memory
        roomier = plan_tiles(shape, traits=NetworkTraits(width=64, crops=True, memory=10 * memory))
        assert roomier.cost <= plan.cost


@pytest.mark.parametrize("crops", [False, True])
def test_a_network_that_takes_whole_images_is_given_one_tile(crops):
    for shape in random_shapes(15, 10, 3000):
        traits = NetworkTraits(whole=True, crops=crops, memory=10**12)
        plan = plan_tiles(shape, traits=traits)
        assert len(plan) == 1
        (tile,) = plan
        wanted = shape if crops else plan.tile
        assert plan.output_shape(tile) == tuple(wanted)
    with pytest.raises(InputError, match="3000 x 3000 px as one tile, which needs about 3"):
        plan_tiles((3000, 3000), traits=NetworkTraits(whole=True, memory=10**9))
    with pytest.raises(InputError, match="tile of 388 px: this network takes an image as one"):
        plan_tiles((300, 300), 388, traits=NetworkTraits(whole=True))


def test_memory_of_a_tile_by_hand():
    # Maps of 16 channels in float32: 2.5 of 700 px, 4 of 516 px.
    expected = 64 * (2.5 * 700**2 + 4 * 516**2)
    assert plan_tiles((512, 512)).memory == pytest.approx(expected, abs=1)
    wide = NetworkTraits(width=64, value_size=2)
    assert TilePlan((9, 9), (516, 516), traits=wide, batch=3).memory == pytest.approx(
        6 * expected, abs=3
    )


def test_time_of_a_plan_by_hand():
    # 700 px at 64 bytes are 31.36 MB, of which 26 fit the cache.
    operations = geometry.multiply_accumulates(700, 700, channels=16)
    waiting = 1 + 14 / 16 * (1 - 26 / 31.36)
    plan = plan_tiles((512, 512), 516)
    assert plan.time == pytest.approx(operations * waiting + 3e8, rel=0.01)
    on_gpu = plan_tiles((512, 512), 516, traits=NetworkTraits(on_gpu=True))
    assert on_gpu.time == pytest.approx(operations + 1e11, rel=0.01)


def test_the_plan_is_the_fastest_of_those_within_the_limits():
    for shape in random_shapes(15, 6, 1200):
        traits = NetworkTraits(crops=True, memory=10**8)
        sides = [range(4, side + 16, 16) for side in shape]
        plans = [
            TilePlan(tuple(shape), tile, traits=traits, crops=True)
            for tile in itertools.product(*sides)
        ]
        fitting = [p for p in plans if p.memory <= 10**8 and min(p.tile) >= 20]
        lean = [p for p in fitting if p.cost <= 1.3] or fitting
        assert plan_tiles(shape, traits=traits).time <= min(p.time for p in lean) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("traits", "tile", "batch"),
    [
        ({}, 388, 1), ({}, 260, 1), ({}, 132, 2), ({}, 68, 4), ({"width": 64}, 68, 1),
        ({"value_size": 2}, 36, 5), ({"memory": 25 * 10**6}, 68, 2),
        ({"width": 64, "on_gpu": True, "memory": 10**11}, 388, 7), ({"on_gpu": True}, 516, 14),
    ],
)  # fmt: skip
def test_tiles_go_together_where_that_pays(traits, tile, batch):
    # On a CPU: small tiles of narrow networks, within cache and memory. 4 x 4 tiles at least.
    assert plan_tiles((4100, 4100), tile, traits=NetworkTraits(**traits)).batch == batch


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read as on Linux"
)
def test_memory_of_a_process_is_as_estimated():
    program = """
import re, sys, numpy as np
from pathlib import Path
from unetcore.model import UNet
from unetcore.predict import Predictor
network = Predictor(UNet(width=16))
status = Path("/proc/self/status")
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1])
network(np.zeros((1, 1, 188, 188), np.float32))
before = peak()
network(np.zeros((1, 1, int(sys.argv[1]), int(sys.argv[1])), np.float32))
print(peak() - before)
"""
    for side in (516, 1028):
        command = [sys.executable, "-c", program, str(side + 184)]
        taken = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        estimated = TilePlan((side, side), (side, side)).memory
        assert 0.65 < taken / estimated < 1.25


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


def test_memory_that_is_not_enough_for_any_tile_is_refused(network):
    with pytest.raises(InputError, match=r"memory of 1.0 MB: the smallest tile needs about 6.8 MB"):
        predict_tiled(np.zeros((50, 50), np.float32), as_function(network), memory=10**6)


@pytest.mark.parametrize("origin", [(0, 0), (16, 160), (224, 96)])
def test_a_part_of_an_image_is_what_the_whole_has_there(network, origin):
    image = random_image(np.random.default_rng(0), 300, 270)
    scores = as_function(network)
    whole = predict_tiled(image.astype(np.float64), scores, 100)
    plan = plan_tiles((70, 110), 68)
    part = stitch(predict_tiles(image.astype(np.float64), scores, plan, origin), plan.shape)
    rows, columns = (slice(o, o + side) for o, side in zip(origin, plan.shape, strict=True))
    np.testing.assert_allclose(part, whole[:, rows, columns], rtol=0, atol=1e-12)


def test_a_part_off_the_pooling_grid_or_outside_is_refused(network):
    image, plan = random_image(np.random.default_rng(0), 100, 100), plan_tiles((50, 50), 68)
    with pytest.raises(InputError, match=r"part at \(8, 0\) px: tiles begin at multiples of 16 px"):
        next(predict_tiles(image, as_function(network), plan, (8, 0)))
    with pytest.raises(InputError, match=r"part of \(50, 50\) px at \(0, 64\): the image has"):
        next(predict_tiles(image, as_function(network), plan, (0, 64)))
