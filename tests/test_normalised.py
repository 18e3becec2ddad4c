"""Normalised maps in training; in prediction, statistics of the image, and tiles without seams."""

import numpy as np
import pytest
import torch
import zarr
from torch import nn
from torch.nn import functional
from training_cases import random_tiles

from unetcore import predict as module
from unetcore.checkpoint import load_model, save_model
from unetcore.data.intensity import normalise
from unetcore.data.phantom_em import draw_sections
from unetcore.errors import InputError
from unetcore.geometry import halo, round_up_to_output_tile
from unetcore.model import EPSILON, TileNormalisation, UNet, initialise
from unetcore.normalised import says_nothing, with_fixed_statistics
from unetcore.predict import Predictor, predict_probability, predict_three_ways
from unetcore.tiling import Tile, input_tile, predict_tiled

SMALL = 20  # px, of output tiles


def normalised_network(dropout=0, **settings):
    """Network in evaluation mode whose scales and shifts of maps matter."""
    network = UNet(**({"width": 2, "depth": 1, "dropout": dropout, "normalised": True} | settings))
    generator = torch.Generator().manual_seed(1)
    initialise(network, generator)
    with torch.no_grad():
        for layer in normalisations(network):
            layer.weight.uniform_(0.5, 2, generator=generator)
            layer.bias.uniform_(-1, 1, generator=generator)
    return network.eval()


def normalisations(network):
    return [layer for layer in network.modules() if isinstance(layer, TileNormalisation)]


def predictor_of(network, precision="float32", memory=None):
    return Predictor(network, precision, memory, "cpu")


def blobs(*shape, seed=0):
    """Standardised image of soft noise whose brightness falls from the left to the right."""
    noise = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(seed))
    padded = functional.pad(noise, (2, 2, 2, 2), "reflect")
    image = functional.avg_pool2d(padded, 5, 1)[0, 0].numpy()
    image = image + np.linspace(0.5, -0.5, shape[1], dtype=np.float32)
    return (image - image.mean()) / image.std()


def scores_of(network, image, tile=None, **how):
    return predict_tiled(image, predictor_of(network, **how), tile)


def assert_same_weights(one, other):
    for weight, expected in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(weight, expected)


def test_every_3x3_convolution_is_normalised_before_its_relu():
    network = normalised_network(depth=2)
    kinds = [type(layer) for layer in network.contracting[0]]
    assert kinds == [nn.Conv2d, TileNormalisation, nn.ReLU] * 2
    n_maps = [len(layer.weight) for layer in normalisations(network)]
    assert n_maps == [2, 2, 4, 4, 8, 8, 4, 4, 2, 2]  # down, bottom, up


def test_two_pixels_of_two_tiles_by_hand():
    layer = TileNormalisation(1)
    with torch.no_grad():
        layer.weight.fill_(3)
        layer.bias.fill_(10)
    tiles = torch.tensor([[[[1.0, 5.0]]], [[[100.0, 300.0]]]])  # means 3 and 200, stds 2 and 100
    found = layer(tiles).detach()
    torch.testing.assert_close(found[0], torch.tensor([[[7.0, 13.0]]]), rtol=1e-5, atol=0)
    torch.testing.assert_close(found[1], torch.tensor([[[7.0, 13.0]]]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_maps_and_gradients_are_those_of_instance_normalisation(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 4, 6, 5, generator=generator, dtype=torch.float64) * 7 + 2
    layer = TileNormalisation(4).double()
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2, generator=generator)
        layer.bias.uniform_(-1, 1, generator=generator)
    made = []
    for function in (
        layer,
        lambda x: functional.instance_norm(x, weight=layer.weight, bias=layer.bias, eps=EPSILON),
    ):
        taken = x.clone().requires_grad_()
        layer.zero_grad()
        maps = function(taken)
        (maps**3).sum().backward()
        made.append((maps.detach(), taken.grad, layer.weight.grad, layer.bias.grad))
    torch.testing.assert_close(made[0], made[1], rtol=1e-9, atol=1e-9)


def test_a_batch_is_normalised_tile_by_tile():
    network = normalised_network(depth=2).double()
    tiles = torch.cat([random_tiles(seed, 1, depth=2)[0] * (seed + 1) + seed for seed in (0, 1)])
    tiles = tiles.double()
    together = network(tiles)
    for k in (0, 1):
        torch.testing.assert_close(together[k : k + 1], network(tiles[k : k + 1]))


@pytest.mark.parametrize(
    ("dtype", "least"), [(torch.float32, 1e-4), (torch.float64, 1e-10)], ids=["float32", "float64"]
)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"variant": "release"},
        {"width": 4, "depth": 3},
        {"in_channels": 2},
        {"skip_connections": False},
        {"width": 4, "expansive_width": 2},
    ],
    ids=str,
)
def test_with_the_statistics_of_a_tile_the_network_says_the_same_of_it(settings, dtype, least):
    network = normalised_network(**settings).to(dtype)
    side = 92 if network.depth == 3 else 36
    generator = torch.Generator().manual_seed(3)
    tile = torch.randn(1, network.settings["in_channels"], side, side, generator=generator)
    tile = tile.to(dtype)
    expected = network(tile).detach()
    plain = with_fixed_statistics(network, [tile])
    assert plain.settings == network.settings | {"normalised": False}
    assert not normalisations(plain)
    found = plain(tile).detach()
    assert found.dtype == dtype
    assert (found - expected).abs().max() < least * expected.std()
    assert torch.equal(network(tile), expected)  # which has not changed


def slow_statistics(network, tiles):
    """Mean and variance of what each normalisation is given, tile by tile and map by map."""
    seen = []
    for layer in normalisations(network):
        taken = []
        hook = layer.register_forward_hook(lambda _, given, made, taken=taken: taken.append(given))
        seen.append((taken, hook))
    for tile in tiles:
        network(tile)
    rows = []
    for taken, hook in seen:
        hook.remove()
        maps = [np.concatenate([x[:, c].detach().numpy().ravel() for (x,) in taken])
                for c in range(taken[0][0].shape[1])]  # fmt: skip
        rows.append([(values.mean(dtype=float), values.var(dtype=float)) for values in maps])
    return rows


@pytest.mark.parametrize("shape", [(250, 260), (516, 516)])
def test_prediction_is_as_good_as_in_double_precision(shape):
    """By the library's normalisation it was 0.001 and 0.006 off: its sums are rough on a CPU."""
    network = normalised_network(depth=4, width=4)
    image = blobs(*shape)
    tile = input_tile(image, Tile(0, 0, *map(round_up_to_output_tile, shape)), halo())
    with torch.inference_mode():
        scores = network.double()(torch.as_tensor(tile, dtype=torch.float64)[None])
    exact = scores.softmax(1)[0, 1, : shape[0], : shape[1]].numpy()
    probability = predict_probability(image, predictor_of(network.float()))
    np.testing.assert_allclose(probability, exact, rtol=0, atol=2e-5)


def test_statistics_of_several_tiles_are_over_all_of_their_pixels():
    network = normalised_network(depth=2).double()
    tiles = [random_tiles(seed, 1, depth=2)[0].double() * (seed + 1) for seed in range(3)]
    expected = slow_statistics(network, tiles)
    plain = with_fixed_statistics(network, tiles)
    convolutions = [
        (theirs, ours)
        for theirs, ours in zip(
            (m for m in network.modules() if isinstance(m, nn.Conv2d)),
            (m for m in plain.modules() if isinstance(m, nn.Conv2d)),
            strict=True,
        )
        if theirs.kernel_size == (3, 3)
    ]
    layers = zip(convolutions, normalisations(network), expected, strict=True)
    for (given, folded), layer, statistics in layers:
        for c, (mean, variance) in enumerate(statistics):
            gain = layer.weight[c].item() / np.sqrt(variance + 1e-5)
            torch.testing.assert_close(folded.weight[c], given.weight[c] * gain)
            shift = layer.bias[c].item() - mean * gain
            assert folded.bias[c].item() == pytest.approx(shift, rel=1e-9, abs=1e-12)
    together = with_fixed_statistics(network, [torch.cat(tiles)])
    for weight, other in zip(plain.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-9, atol=1e-12)


def test_nothing_of_the_measurement_stays_where_it_fails():
    network = normalised_network()
    with pytest.raises(RuntimeError, match="channels"):
        with_fixed_statistics(network, [torch.zeros(1, 3, 36, 36)])
    assert not any(layer._forward_pre_hooks for layer in normalisations(network))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("width", [4, 8, 16])
def test_tiles_equal_the_whole_exactly(width, precision):
    network, image = normalised_network(width=width, depth=4), blobs(120, 110)
    whole = scores_of(network, image, 132, precision=precision)
    for tile in (None, 52):
        np.testing.assert_array_equal(scores_of(network, image, tile, precision=precision), whole)


def test_tiles_of_the_normalised_network_itself_do_not_equal_the_whole():
    network, image = normalised_network(width=4), blobs(100, 100)

    def scores(tiles):
        return network(torch.as_tensor(tiles)).detach().numpy()

    whole, tiled = (predict_tiled(image, scores, tile, depth=1) for tile in (100, SMALL))
    assert np.abs(tiled - whole).max() > 0.1 * whole.std()
    np.testing.assert_allclose(scores_of(network, image, SMALL), whole, atol=1e-4 * whole.std())


@pytest.mark.parametrize("shape", [(30, 100), (100, 90), (21, 20)])
def test_tiles_equal_the_whole_where_statistics_are_of_several_tiles(monkeypatch, shape):
    monkeypatch.setattr(module, "STATISTICS_SIDE", SMALL)
    network, image = normalised_network(width=4), blobs(*shape)
    assert len(module._statistics_tiles(shape, depth=1)) > 1
    whole = scores_of(network, image, 100)
    np.testing.assert_array_equal(scores_of(network, image, SMALL), whole)


@pytest.mark.parametrize(
    ("shape", "starts"),
    [
        ((516, 516), [(0, 0)]),
        ((517, 100), [(0, 0), (1, 0)]),
        ((2000, 516), [(0, 0), (742, 0), (1484, 0)]),
        ((7, 1032), [(0, 0), (0, 516)]),
    ],
    ids=str,
)
def test_statistics_tiles_reach_from_edge_to_edge(shape, starts):
    tiles = module._statistics_tiles(shape, depth=4)
    assert [(tile.row, tile.column) for tile in tiles] == starts
    assert {tile.height for tile in tiles} == {516 if shape[0] > 500 else 20}


def test_statistics_do_not_depend_on_the_memory_or_the_tile():
    network, image = normalised_network(width=4), blobs(60, 80)
    ample, scarce = predictor_of(network), predictor_of(network, memory=100_000)
    assert len(ample.plan(image.shape)) < len(scarce.plan(image.shape))
    assert_same_weights(scarce.fixed_for(image).network, ample.fixed_for(image).network)
    assert scarce.fixed_for(image).traits.memory == 100_000
    expected = predict_tiled(image, ample)
    np.testing.assert_array_equal(predict_tiled(image, scarce), expected)
    np.testing.assert_array_equal(predict_tiled(image, ample, SMALL), expected)


def test_a_predictor_with_fixed_statistics_is_that_of_any_image():
    network = normalised_network(dropout=0.5).train()
    fixed = predictor_of(network).fixed_for(blobs(40, 40))
    assert fixed.fixed_for(blobs(60, 50, seed=1)) is fixed
    assert not fixed.network.training
    plain = predictor_of(UNet(width=2, depth=1))
    assert plain.fixed_for(blobs(40, 40)) is plain


def test_drop_out_is_off_while_statistics_are_taken():
    network, image = normalised_network(dropout=0.5).train(), blobs(60, 50)
    expected = scores_of(normalised_network(), image)
    np.testing.assert_array_equal(scores_of(network, image), expected)


def test_image_on_the_disk(tmp_path):
    network, image = normalised_network(in_channels=2), np.stack([blobs(60, 50), blobs(60, 50)])
    expected = scores_of(network, image)
    image.tofile(tmp_path / "image")
    mapped = np.memmap(tmp_path / "image", np.float32, "r", shape=image.shape)
    stored = zarr.create_array(
        tmp_path / "a.zarr", shape=image.shape, chunks=(1, 32, 32), dtype="f4"
    )
    stored[:] = image
    for kept in (mapped, stored):
        np.testing.assert_array_equal(scores_of(network, kept, SMALL), expected)


@pytest.mark.parametrize(("averaging", "n"), [("none", 1), ("rot7", 7), ("d4", 8), ("mirror4", 4)])
def test_each_version_of_an_image_has_statistics_of_its_own(monkeypatch, averaging, n):
    calls = []

    def counting(*given):
        calls.append(given)
        return with_fixed_statistics(*given)

    monkeypatch.setattr(module, "with_fixed_statistics", counting)
    predictor = predictor_of(normalised_network(width=4))
    predict_probability(blobs(40, 36), predictor, averaging=averaging)
    assert len(calls) == n


def test_average_over_the_symmetries_turns_with_the_image():
    # Neither the network nor the context that is mirrored on two sides of a tile does so.
    predictor, image = predictor_of(normalised_network(width=4)), blobs(40, 36)
    upright = predict_probability(image, predictor, averaging="d4")
    turned = predict_probability(np.rot90(image), predictor, averaging="d4")
    np.testing.assert_allclose(np.rot90(turned, -1), upright, rtol=0, atol=1e-5)


def test_of_three_ways_to_predict_one_has_seams():
    predictor = predictor_of(normalised_network(depth=3))
    whole, ours, naive = predict_three_ways(blobs(60, 60), predictor, 28)
    np.testing.assert_array_equal(ours, whole)
    assert np.abs(naive - whole).max() > 0.01


def test_bfloat16_is_close_to_float32():
    network, image = normalised_network(width=8, depth=2), blobs(90, 90)
    exact, rounded = (scores_of(network, image, precision=p) for p in ("float32", "bfloat16"))
    assert rounded.dtype == np.float32
    difference = np.abs(rounded - exact)
    assert 0 < difference.mean() < 0.05 * exact.std()


@pytest.mark.parametrize(("contrast", "brightness"), [(0.5, 0), (2, 0), (1, 3), (0.7, -2)])
def test_brightness_and_contrast_of_the_image_hardly_matter(contrast, brightness):
    network, image = normalised_network(width=8, depth=2), blobs(90, 90)
    expected = scores_of(network, image)
    found = scores_of(network, contrast * image + np.float32(brightness))
    # Not nothing: EPSILON is added to variances of other sizes. At most 0.0015 was measured.
    assert np.abs(found - expected).max() < 0.005 * expected.std()
    plain = UNet(**network.settings | {"normalised": False})
    initialise(plain, torch.Generator().manual_seed(1))
    changed = scores_of(plain, contrast * image + np.float32(brightness))
    assert np.abs(changed - scores_of(plain, image)).max() > 0.1 * changed.std()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("averaging", ["none", "rot7"])
@pytest.mark.parametrize(("value", "noise"), [(0, 0), (0.7, 0), (-2.5, 1e-6)])
def test_all_pixels_of_a_blank_image_get_the_scores_of_the_shifts(
    value, noise, averaging, precision, caplog
):
    network = normalised_network(width=8, depth=4)
    image = (value + noise * blobs(60, 50)).astype(np.float32)
    found = predict_probability(image, predictor_of(network, precision), averaging=averaging)
    last = normalisations(network)[-1].bias.detach().relu()  # the last map, of any pixel
    scores = network.scores.weight[:, :, 0, 0] @ last + network.scores.bias
    expected = torch.softmax(scores, 0)[1].item()
    least = 1e-5 if precision == "float32" else 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=least)
    assert np.ptp(found) < 1e-6
    assert "an image is the same everywhere" in caplog.text


def test_rounding_of_a_blank_image_would_overflow(monkeypatch):
    network, image = normalised_network(width=8, depth=4), np.full((60, 50), 0.7, np.float32)
    monkeypatch.setattr(module, "says_nothing", lambda tile, dtype: torch.zeros(1, dtype=bool))
    with np.errstate(all="ignore"):
        try:
            largest = np.abs(scores_of(network, image)).max()
        except FloatingPointError:
            largest = np.inf
    assert largest > 1e6


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("change", ["a bright pixel", "grey noise"])
def test_a_nearly_blank_image_is_normalised(change, precision):
    image = np.full((60, 50), 178, np.float32)
    if change == "a bright pixel":
        image[30, 20] = 255
    else:
        image += np.random.default_rng(0).integers(0, 2, image.shape)
    found = scores_of(normalised_network(width=8, depth=4), image / 255, precision=precision)
    assert np.isfinite(found).all()
    assert np.ptp(found[1] - found[0]) > 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_rule_for_blank_images_changes_no_bit_of_others(precision, monkeypatch):
    section, _ = draw_sections(np.random.default_rng(0), 1, 128)
    image = normalise(section.astype(np.float32) / 255, "slice")[0]
    network = normalised_network(width=8, depth=4)
    found = scores_of(network, image, precision=precision)
    monkeypatch.setattr(module, "says_nothing", lambda tile, dtype: torch.zeros(1, dtype=bool))
    np.testing.assert_array_equal(scores_of(network, image, precision=precision), found)


@pytest.mark.parametrize(
    ("told", "telling"),
    [(slice(0, 40), [True]), (slice(80, 90), [True, True])],
    ids=["in a tile of the usual ones", "between them: then all tiles of 20 px are looked at"],
)
def test_statistics_leave_out_blank_tiles(monkeypatch, told, telling):
    # The usual output tiles lie at columns 0, 50 and 100, and have a halo of 8 px.
    monkeypatch.setattr(module, "STATISTICS_SIDE", SMALL)
    image = np.full((20, 120), 0.3, np.float32)
    image[:, told] = blobs(20, 40)[:, : told.stop - told.start]
    network = normalised_network(width=4)
    given = []

    def recording(network, tiles):
        given.extend(tiles)
        return with_fixed_statistics(network, given)

    monkeypatch.setattr(module, "with_fixed_statistics", recording)
    fixed = predictor_of(network).fixed_for(image)
    assert [tile.std() > 0 for tile in given] == telling
    assert_same_weights(fixed.network, with_fixed_statistics(network, given))
    whole = predict_tiled(image, fixed, 132)
    np.testing.assert_array_equal(predict_tiled(image, fixed, SMALL), whole)


def test_an_image_of_several_channels_is_blank_if_all_of_them_are():
    tiles = torch.zeros(3, 2, 4, 4)
    tiles[1, 0, 1, 2] = 1
    tiles[2, :, 0, 0] = 1e-5  # standard deviation of 2.4e-6
    assert says_nothing(tiles, torch.float32).tolist() == [True, False, True]


def test_prediction_without_fixed_statistics_is_refused():
    with pytest.raises(InputError, match=r"predict by `Predictor\.fixed_for\(image\)`") as refused:
        predictor_of(normalised_network())(np.zeros((1, 1, 36, 36), np.float32))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("shape", [(40, 40), (3, 40, 40)])
def test_image_of_other_channels_is_refused(shape):
    network = normalised_network(in_channels=2)
    n = 1 if len(shape) == 2 else 3
    with pytest.raises(InputError, match=f"^image of {n} channels: the network takes 2$"):
        scores_of(network, np.zeros(shape, np.float32))


def test_image_that_is_not_finite_is_refused():
    image = blobs(40, 40)
    image[3, 4] = np.nan
    with pytest.raises(FloatingPointError, match="not finite in the tile"):
        scores_of(normalised_network(), image)


def test_model_file_keeps_what_is_normalised(tmp_path):
    network, image = normalised_network(width=4), blobs(40, 40)
    save_model(tmp_path / "model.safetensors", network, {})
    loaded, _ = load_model(tmp_path / "model.safetensors")
    assert loaded.settings["normalised"]
    np.testing.assert_array_equal(scores_of(loaded, image), scores_of(network, image))


def test_model_file_from_before_there_were_normalised_networks(tmp_path):
    network = UNet(width=2, depth=1)
    del network.settings["normalised"]
    save_model(tmp_path / "model.safetensors", network, {})
    loaded, _ = load_model(tmp_path / "model.safetensors")
    assert loaded.settings["normalised"] is False
    assert_same_weights(loaded, network)
