"""The networks that the paper compares with: their layers, and that tiles equal the whole."""

import dataclasses

import numpy as np
import pytest
import torch
from training_cases import AUGMENTATION, NETWORK, PAPER

from unetcore.augment import TileAugmenter
from unetcore.checkpoint import load_model, save_model
from unetcore.errors import InputError
from unetcore.families import NETWORKS, build_network, rebuild_network
from unetcore.fully_convolutional import FullyConvolutional, Interpolation
from unetcore.geometry import mirror_index
from unetcore.model import initialise
from unetcore.normalised import with_fixed_statistics
from unetcore.predict import Predictor, softmax
from unetcore.sliding_window import SlidingWindow
from unetcore.tiling import predict_tiled
from unetcore.train import TrainingData, train
from unetcore.window_by_window import classify_one_by_one, window


def drawn(model, seed=0):
    """Network in float64 with drawn weights and biases, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    initialise(model, generator)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.empty_like(p).normal_(0, 0.05, generator=generator))
    return model.double().eval()


def image(*shape, seed=0):
    return torch.randn(
        1, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def test_number_of_parameters_of_the_sliding_window():
    convolutions = [16 * 48, 25 * 48 * 48, 16 * 48 * 48, 16 * 48 * 48]
    layers = [*convolutions, 9 * 48 * 200, 200 * 2]
    biases = 4 * 48 + 200 + 2
    assert sum(p.numel() for p in SlidingWindow().parameters()) == sum(layers) + biases


def test_number_of_parameters_of_the_fully_convolutional_network():
    contracting = 18_842_048  # of the U-Net at width 64
    scores = sum(2 * 64 * 2**level + 2 for level in range(5))
    with torch.device("meta"):
        model = FullyConvolutional()
    assert sum(p.numel() for p in model.parameters()) == contracting + scores + 4 * (2 * 2 * 4 * 4)


@torch.inference_mode()
def test_all_windows_at_once_are_the_windows_one_by_one():
    model, x = drawn(SlidingWindow(width=3)), image(101, 98)
    together = model(x)
    assert together.shape == (1, 2, 7, 4)
    for row in range(7):
        for column in range(4):
            window = x[..., row : row + 95, column : column + 95]
            torch.testing.assert_close(
                model(window)[0, :, 0, 0], together[0, :, row, column], rtol=0, atol=1e-12
            )
    assert together.std() > 1e-3


@torch.inference_mode()
def test_a_window_is_pooled_to_its_end():
    """The one-window form against layers written out: kernels 4, 5, 4, 4, then 3 x 3 px."""
    model, x = drawn(SlidingWindow(width=2)), image(95, 95)
    sides = []
    for layer in model.convolutions:
        patches = x.unfold(2, layer.kernel_size[0], 1).unfold(3, layer.kernel_size[0], 1)
        x = torch.einsum("bchwij,ocij->bohw", patches, layer.weight)
        x = x + layer.bias[:, None, None]
        x = torch.stack([x[..., a::2, b::2] for a in (0, 1) for b in (0, 1)]).amax(0).clamp_min(0)
        sides.append(x.shape[-1])
    assert sides == [46, 21, 9, 3]  # Ciresan et al. 2012, table of N4
    hidden = (model.hidden.weight.flatten(1) @ x.flatten() + model.hidden.bias).clamp_min(0)
    scores = model.scores.weight.flatten(1) @ hidden + model.scores.bias
    torch.testing.assert_close(model(image(95, 95)).flatten(), scores, rtol=0, atol=1e-12)


@torch.inference_mode()
@pytest.mark.parametrize("skip_connections", [True, False])
def test_tile_of_the_fully_convolutional_network_is_a_crop_of_the_whole(skip_connections):
    model = drawn(FullyConvolutional(width=3, skip_connections=skip_connections))
    x = image(188 + 64, 188 + 32)
    whole = model(x)
    tile = model(x[..., 48 : 48 + 188, 16 : 16 + 204])
    assert (whole.shape, tile.shape) == ((1, 2, 68, 36), (1, 2, 4, 20))
    torch.testing.assert_close(tile, whole[..., 48:52, 16:36], rtol=0, atol=1e-12)
    off = model(x[..., 47 : 47 + 188, 16 : 16 + 204])  # one pixel beside the pooling grid
    assert (off - whole[..., 47:51, 16:36]).abs().max() > 1e-3


@torch.inference_mode()
@pytest.mark.parametrize("level", range(5))
def test_scores_of_every_level_stand_where_their_pixels_are(level):
    """A ramp goes through: convolutions that pass the middle pixel on, the scores of one level.

    Pooling takes the larger of two pixels, so a map of level l holds the position of the last of
    the 2**l pixels that it stands for, (2**l - 1) / 2 px beyond their middle.
    """
    model = FullyConvolutional(width=1, dropout=0).double().eval()
    for name, p in model.named_parameters():
        p.zero_()
        if "contracting" in name and p.ndim == 4:
            p[0, 0, 1, 1] = 1.0
    for up in model.up:
        up.initialise()
    model.scores[str(level)].weight[1, 0] = 1.0
    ramp = torch.arange(236, dtype=torch.float64).expand(1, 1, 236, 236)
    scores = model(ramp)[0, 1]  # the first pixel of the output tile is pixel 92 of the input
    expected = torch.arange(92, 92 + 52, dtype=torch.float64) + (2**level - 1) / 2
    torch.testing.assert_close(scores, expected.expand(52, 52), rtol=0, atol=1e-9)


def test_interpolation_begins_bilinear_and_mixes_no_channels():
    up = Interpolation(2).double()
    up.initialise()
    x = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    x[0, 0] = torch.arange(4.0)
    made = up(x)[0]
    expected = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.25, 2.75], dtype=torch.float64)
    torch.testing.assert_close(made[0], expected.expand(6, 6))
    assert not made[1].any()


@torch.inference_mode()
@pytest.mark.parametrize("family", ["fcn", "sliding-window"])
def test_part_of_the_output_is_that_part(family):
    model, x = drawn(NETWORKS[family](width=2)), image(220, 236)
    whole = model(x)
    torch.testing.assert_close(model(x, output=(19, 6)), whole[..., :19, :6], rtol=0, atol=1e-12)


@pytest.mark.parametrize("tile", [20, 36, None])
def test_predictor_gives_each_pixel_its_window(tile):
    """Overlap-tile prediction of the sliding window against its windows on the mirrored slice."""
    model = drawn(SlidingWindow(width=2)).float()
    picture = image(41, 37)[0].numpy().astype(np.float32)
    scores = predict_tiled(picture, Predictor(model, device="cpu"), tile)
    rows, columns = mirror_index(-47, 41 + 47, 41), mirror_index(-47, 37 + 47, 37)
    mirrored = torch.as_tensor(picture[:, rows][:, :, columns])[None]
    for row, column in [(0, 0), (0, 36), (40, 0), (40, 36), (17, 20)]:
        with torch.inference_mode():
            one = model(mirrored[..., row : row + 95, column : column + 95])[0, :, 0, 0]
        np.testing.assert_allclose(scores[:, row, column], one.numpy(), atol=1e-5)


@torch.inference_mode()
def test_statistics_of_a_tile_make_a_plain_fully_convolutional_network():
    model = drawn(FullyConvolutional(width=4, normalised=True, dropout=0))
    x = image(204, 204)
    plain = with_fixed_statistics(model, [x])
    assert not plain.settings["normalised"]
    torch.testing.assert_close(plain(x), model(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("family", NETWORKS)
def test_every_family_is_kept_in_a_file(family, tmp_path):
    model = drawn(NETWORKS[family](width=2, in_channels=1)).float()
    save_model(tmp_path / "model.safetensors", model, {"n": 1})
    read, description = load_model(tmp_path / "model.safetensors")
    assert (read.family, read.settings, description) == (family, model.settings, {"n": 1})
    with torch.inference_mode():
        assert torch.equal(read(image(188, 204).float()), model(image(188, 204).float()))


def test_settings_that_a_family_has_not_are_refused():
    for family, change, message in (
        ("fcn", {"expansive_width": 1}, "expansive_width 1: a network of family fcn has none"),
        ("fcn", {"variant": "release"}, "variant 'release': a network of family fcn has none"),
        ("sliding-window", {"depth": 3}, "depth 3: a network of family sliding-window has none"),
        ("sliding-window", {"depth": 4, "normalised": True}, "normalised True: a network of"),
        ("sliding-window", {"depth": 4, "skip_connections": False}, "skip_connections False: a"),
        ("v-net", {}, "family 'v-net': need one of u-net, fcn, sliding-window"),
    ):
        with pytest.raises(InputError, match=message):
            dataclasses.replace(NETWORK, family=family, **change)
    with pytest.raises(InputError, match="network family 'v-net': need one of"):
        rebuild_network("v-net", {})
    with pytest.raises(InputError, match="image of \\(94, 95\\) px: need 95 px per side"):
        SlidingWindow(width=1)(image(94, 95))


@pytest.mark.parametrize(
    ("family", "output_tile", "expected"),
    [
        ("u-net", 388, 572),
        ("fcn", 388, 572),
        ("sliding-window", 1, 95),
        ("sliding-window", 30, 124),
    ],
)
def test_input_tile_of_a_family(family, output_tile, expected):
    config = dataclasses.replace(NETWORK, family=family, depth=4)
    assert config.input_tile(output_tile) == expected
    network = build_network(config)
    with torch.inference_mode():
        assert network(image(expected, expected).float()).shape[-1] == output_tile
    assert expected - 2 * network.halo == output_tile
    with pytest.raises(InputError, match="output tile of 0 px"):
        config.input_tile(0)


def test_balanced_tiles_show_either_class_in_the_middle_equally_often():
    rng = np.random.default_rng(0)
    classes = (rng.uniform(size=(3, 60, 70)) < 0.9).astype(np.uint8)  # background is rare
    classes[0, 30] = 0
    weights = np.ones(classes.shape, np.float32)
    weights[0, 30] = 0  # and these count for nothing
    images = rng.normal(size=(3, 1, 60, 70)).astype(np.float32)
    still = dataclasses.replace(
        AUGMENTATION, balanced=True, displacement_std=0, grey_shift=0, grey_scale=0
    )
    augmenter = TileAugmenter(images, classes, weights, input_size=95, halo=47, config=still)
    seen = []
    for k in range(600):
        drawn_tile = augmenter.draw(np.random.default_rng([0, k]))
        row, column = map(int, drawn_tile.centre)
        image_tile, label, weight = augmenter.cut(drawn_tile)
        assert label.shape == weight.shape == (1, 1, 1)
        assert label.item() == classes[drawn_tile.index, row, column]
        assert weight.item() == 1
        assert image_tile[0, 0, 47, 47] == pytest.approx(
            images[drawn_tile.index, 0, row, column], abs=1e-5
        )
        seen.append((drawn_tile.index, label.item()))
    indices, labels = np.array(seen).T
    assert 250 < labels.sum() < 350  # 600 throws of a coin: 300 with std 12
    assert set(indices) == {0, 1, 2}


def test_balanced_draws_differ_from_others_in_the_place_alone():
    arrays = np.zeros((2, 1, 40, 40), np.float32), np.eye(40, dtype=np.uint8)[None].repeat(2, 0)
    weights = np.ones((2, 40, 40), np.float32)
    free, balanced = (
        TileAugmenter(
            *arrays, weights, input_size=95, halo=47,
            config=dataclasses.replace(AUGMENTATION, balanced=balance),
        )
        for balance in (False, True)
    )  # fmt: skip
    for k in range(20):
        one, other = (each.draw(np.random.default_rng(k)) for each in (free, balanced))
        for name in ("angle", "mirrored", "grey_shift", "grey_scale"):
            assert getattr(one, name) == getattr(other, name)
        assert np.array_equal(one.vectors, other.vectors)
    with pytest.raises(InputError, match="balanced tiles are drawn from anywhere"):
        dataclasses.replace(AUGMENTATION, balanced=True, shift=False)


@pytest.mark.parametrize(("family", "depth", "tile"), [("fcn", 2, 20), ("sliding-window", 4, 1)])
def test_a_baseline_learns_what_is_easy(family, depth, tile):
    """Bright pixels are cells: the loss falls far below that of a network that knows nothing."""
    rng = np.random.default_rng(1)
    classes = np.kron(rng.integers(2, size=(2, 4, 4)), np.ones((24, 24), int))
    data = TrainingData(
        classes.astype(np.float32) * 2 - 1, classes, np.ones(classes.shape, np.float32)
    )
    network = dataclasses.replace(NETWORK, family=family, width=6, depth=depth, dropout=0.0)
    training = dataclasses.replace(
        PAPER, steps=100, batch=8, output_tile=tile, optimiser="adamw", momentum=0.9,
        learning_rate=0.003, schedule="constant", log_every=10,
    )  # fmt: skip
    balanced = dataclasses.replace(
        AUGMENTATION, balanced=family == "sliding-window", displacement_std=0
    )
    model, history = train(
        data, network=network, augmentation=balanced, training=training, seed=0, device="cpu"
    )
    assert model.family == family
    assert history[0].loss > 0.5
    assert history[-1].loss < 0.3


def test_windows_one_by_one_give_the_probabilities_of_all_at_once():
    rng = np.random.default_rng(3)
    images = rng.normal(size=(2, 40, 52)).astype(np.float32)
    predictor = Predictor(drawn(SlidingWindow(width=3)).float(), device="cpu")
    maps = np.stack([softmax(predict_tiled(page[None], predictor))[1] for page in images])
    found = classify_one_by_one(images, maps, predictor, 130, np.random.default_rng(0))
    assert found.windows == 130
    assert found.largest_difference < 1e-6
    assert found.seconds_per_window > 0
    maps[:, ::2] += 0.1  # a map of something else is seen
    other = classify_one_by_one(images, maps, predictor, 130, np.random.default_rng(0))
    assert other.largest_difference == pytest.approx(0.1, abs=1e-6)


def test_window_continues_the_image_by_its_mirror_images():
    picture = np.arange(100 * 120).reshape(100, 120)
    padded = np.pad(picture, 47, mode="reflect")
    for row, column in [(0, 0), (99, 119), (50, 3)]:
        expected = padded[row : row + 95, column : column + 95]
        assert np.array_equal(window(picture, row, column), expected)
