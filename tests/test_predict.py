"""Prediction of a whole image and the average over its versions, with networks known by hand."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.special import expit

from unetcore import predict as module
from unetcore.errors import InputError
from unetcore.model import UNet, initialise
from unetcore.predict import (
    AVERAGINGS,
    Predictor,
    predict_probability,
    predict_three_ways,
    softmax,
)
from unetcore.tiling import NetworkTraits, predict_tiled

HALO = 8  # of one pooling


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(module, "choose_device", lambda kind: torch.device("cpu"))


class Known:
    """Stand-in for a network of one pooling; `score` maps an image to the score of class 1."""

    depth = 1

    def __init__(self, score):
        self.score = score

    def fixed_for(self, image):
        return self

    def __call__(self, tiles):
        assert tiles.dtype == np.float32
        score = self.score(tiles)[:, :, HALO:-HALO, HALO:-HALO]
        return np.concatenate((np.zeros_like(score), score), axis=1)


def right_neighbour(tiles):
    """Grey value to the right minus here: turns with the image, so averaging must turn it back."""
    return np.roll(tiles, -1, axis=3) - tiles


def random_image(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def neighbours(image):
    """Grey value at the right, left, lower and upper neighbour minus here, mirrored outside."""
    padded = np.pad(image.astype(float), 1, mode="reflect")
    views = padded[1:-1, 2:], padded[1:-1, :-2], padded[2:, 1:-1], padded[:-2, 1:-1]
    return [view - image for view in views]


def test_softmax_by_hand():
    scores = np.log(np.array([[[1.0, 2.0]], [[3.0, 2.0]], [[4.0, 4.0]]]))  # (3, 1, 2)
    expected = np.array([[[1, 2]], [[3, 2]], [[4, 4]]]) / 8
    np.testing.assert_allclose(softmax(scores), expected, rtol=1e-12)


def test_softmax_of_large_scores_does_not_overflow():
    scores = np.array([[[1e4, -1e4]], [[0.0, 0.0]]], np.float32)
    np.testing.assert_array_equal(softmax(scores), [[[1, 0]], [[0, 1]]])


@pytest.mark.parametrize("shape", [(1, 1), (3, 17), (40, 40), (31, 50)])
@pytest.mark.parametrize("tile", [None, 20])
def test_without_averaging_the_network_is_applied_once(shape, tile):
    if shape == (1, 1) and tile:
        shape = (2, 1)
    image = random_image(*shape)
    found = predict_probability(image, Known(lambda tiles: tiles), averaging="none", tile=tile)
    assert found.shape == shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expit(image), rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (40, 40), (31, 50), (64, 12)])
def test_symmetries_of_an_equivariant_network_change_nothing(shape):
    image = random_image(*shape)
    network = Known(lambda tiles: 3 * tiles)
    once = predict_probability(image, network, averaging="none")
    for averaging in ("d4", "mirror4"):  # equal up to the rounding of a mean of equal numbers
        found = predict_probability(image, network, averaging=averaging)
        np.testing.assert_allclose(found, once, atol=3e-7)


@pytest.mark.parametrize("shape", [(9, 12), (31, 50), (40, 40)])
def test_one_direction_without_averaging(shape):
    image = random_image(*shape)
    right, *_ = neighbours(image)
    found = predict_probability(image, Known(right_neighbour), averaging="none")
    np.testing.assert_allclose(found, expit(right), rtol=1e-5)


@pytest.mark.parametrize("shape", [(9, 12), (31, 50), (40, 40)])
def test_d4_averages_probabilities_over_all_four_directions(shape):
    # Of the 8 symmetries two each turn "right" into right, left, below and above.
    image = random_image(*shape)
    expected = np.mean([expit(difference) for difference in neighbours(image)], axis=0)
    found = predict_probability(image, Known(right_neighbour), averaging="d4")
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(9, 12), (31, 50), (40, 40)])
def test_mirror4_averages_scores_over_both_mirror_images(shape):
    image = random_image(*shape)
    right, left, _, _ = neighbours(image)
    found = predict_probability(image, Known(right_neighbour), averaging="mirror4")
    np.testing.assert_allclose(found, expit((right + left) / 2), rtol=1e-5)
    assert np.abs(expit((right + left) / 2) - (expit(right) + expit(left)) / 2).max() > 0.02


def test_d4_sees_every_symmetry_once():
    seen = []

    def note(tiles):
        seen.append(tiles[0, 0, HALO:-HALO, HALO:-HALO][:4, :4])
        return tiles

    image = random_image(4, 4)
    predict_probability(image, Known(note), averaging="d4")
    assert len(seen) == 8
    for start in (image, image.T):
        for quarter_turns in range(4):
            symmetry = np.rot90(start, quarter_turns)
            assert sum(np.array_equal(symmetry, version) for version in seen) == 1


def smooth_image(*shape):
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=shape), 3)
    return (noise / noise.std()).astype(np.float32)


@pytest.mark.parametrize("shape", [(40, 40), (60, 90), (75, 38)])
def test_rotations_of_an_equivariant_network_change_little(shape):
    image = smooth_image(*shape)
    network = Known(lambda tiles: tiles)
    found = predict_probability(image, network, averaging="rot7")
    once = predict_probability(image, network, averaging="none")
    assert found.shape == shape
    np.testing.assert_allclose(found[3:-3, 3:-3], once[3:-3, 3:-3], atol=2e-3)
    np.testing.assert_allclose(found, once, atol=0.03)  # two splines, cut off at the border


@pytest.mark.parametrize("shape", [(60, 90), (90, 60)])
@pytest.mark.parametrize("axis", [0, 1])
def test_rotations_are_seven_and_evenly_spread(shape, axis):
    # A ramp of slope 2 seen at angle t rises by 2 cos t (or 2 sin t) per pixel to the right.
    ramp = 2 * np.indices(shape)[axis].astype(np.float32)
    angles = 2 * np.pi * np.arange(7) / 7
    slopes = 2 * (np.cos(angles) if axis else np.sin(angles))
    found = predict_probability(ramp, Known(right_neighbour), averaging="rot7")
    np.testing.assert_allclose(found[25:-25, 25:-25], expit(slopes).mean(), atol=1e-3)


@pytest.fixture(scope="module")
def network():
    model = UNet(n_classes=3, width=4, depth=1)
    initialise(model, torch.Generator().manual_seed(0))
    return model


@pytest.mark.parametrize("averaging", AVERAGINGS)
def test_a_network_gives_a_probability_map_of_the_images_shape(network, averaging):
    image = random_image(33, 52)
    found = predict_probability(image, Predictor(network), averaging=averaging, tile=36)
    assert found.shape == (33, 52)
    assert found.dtype == np.float32
    assert 0 <= found.min() < found.max() <= 1


def test_probability_is_that_of_class_one(network):
    image = random_image(20, 20)
    predictor = Predictor(network)
    scores = predict_tiled(image, predictor, 20, 1)
    found = predict_probability(image, predictor, tile=20)
    np.testing.assert_allclose(found, torch.as_tensor(scores).softmax(0)[1], rtol=1e-5)


def test_predictor_is_the_network_without_drop_out():
    model = UNet(width=4, depth=1, dropout=0.5)
    initialise(model, torch.Generator().manual_seed(0))
    tiles = random_image(2, 1, 36, 20)
    predictor = Predictor(model.train())
    found = predictor(tiles)
    assert found.shape == (2, 2, 20, 4)
    np.testing.assert_array_equal(predictor(tiles), found)
    with torch.no_grad():
        np.testing.assert_allclose(model.eval()(torch.as_tensor(tiles)), found, atol=1e-6)


def test_predictor_computes_the_part_that_is_asked_for(network):
    tiles = random_image(2, 1, 36, 52)
    predictor = Predictor(network)
    np.testing.assert_array_equal(predictor(tiles, output=(7, 30)), predictor(tiles)[..., :7, :30])


@pytest.mark.parametrize(("precision", "size"), [("float32", 4), ("bfloat16", 2)])
def test_predictor_says_what_the_plan_depends_on(precision, size):
    traits = Predictor(UNet(width=8, depth=1), precision, memory=10**9).traits
    assert traits == NetworkTraits(width=8, value_size=size, crops=True, memory=10**9)
    assert Predictor(UNet(width=8, depth=1)).traits.memory == 2 * 2**30


def test_the_plan_of_a_predictor_is_the_one_it_predicts_by():
    # A map of 8 channels in float32 is 32 bytes per px; one pooling loses 8 px on every side.
    predictor = Predictor(UNet(width=8, depth=1), memory=10**6)
    plan, calls = predictor.plan((200, 90)), []
    assert 2.5 * 32 * (plan.tile[0] + 16) * (plan.tile[1] + 16) < plan.memory <= 10**6
    assert len(plan) > 1

    def counted(tiles, output=None):
        calls.append(tiles.shape)
        return predictor(tiles, output)

    counted.traits = predictor.traits
    predict_tiled(random_image(200, 90), counted, None, predictor.depth)
    assert calls == [(len(batch), 1, *plan.input_shape) for batch in plan.batches()]


def test_of_three_ways_to_predict_one_has_seams():
    model = UNet(width=16)
    initialise(model, torch.Generator().manual_seed(0))
    image = random_image(300, 290)
    whole, seamless, naive = predict_three_ways(image, Predictor(model), 132)
    np.testing.assert_allclose(whole, predict_probability(image, Predictor(model)), atol=1e-6)
    np.testing.assert_array_equal(seamless, whole)
    np.testing.assert_array_equal(naive[:132, :132], whole[:132, :132])
    flipped = (naive > 0.5) != (whole > 0.5)
    assert flipped.mean() > 0.05
    assert flipped[:132, :132].sum() == 0


def test_bfloat16_is_close_and_returns_float32(network):
    image = random_image(40, 40)
    exact = predict_probability(image, Predictor(network, "float32"))
    rough = predict_probability(image, Predictor(network, "bfloat16"))
    assert rough.dtype == np.float32
    assert not np.array_equal(rough, exact)
    np.testing.assert_allclose(rough, exact, atol=0.03)


def test_unknown_averaging_is_refused():
    with pytest.raises(InputError, match="averaging 'd8': need one of none, rot7, d4, mirror4"):
        predict_probability(random_image(8, 8), Known(np.array), averaging="d8")


def test_image_of_other_channels_is_refused(network):
    with pytest.raises(InputError, match="image of 3 channels: the network takes 1"):
        Predictor(network)(np.zeros((1, 3, 188, 188), np.float32))


def test_tile_that_does_not_fit_is_refused(network):
    with pytest.raises(InputError, match="output tile of 21 px"):
        predict_probability(random_image(8, 8), Predictor(network), tile=21)


@pytest.mark.parametrize("averaging", AVERAGINGS)
def test_channels_are_turned_together(averaging):
    """A network that adds two channels says of them what another says of their sum."""
    image = random_image(2, 31, 50)
    both = Known(lambda tiles: tiles[:, :1] + tiles[:, 1:])
    found = predict_probability(image, both, averaging=averaging)
    assert found.shape == (31, 50)
    expected = predict_probability(image.sum(axis=0), Known(lambda t: t), averaging=averaging)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("normalised", [False, True])
def test_an_image_of_other_channels_than_the_network_takes_is_refused(normalised):
    predictor = Predictor(UNet(in_channels=2, width=2, depth=1, normalised=normalised))
    with pytest.raises(InputError, match="image of 3 channels: the network takes 2"):
        predict_probability(random_image(3, 30, 30), predictor)
