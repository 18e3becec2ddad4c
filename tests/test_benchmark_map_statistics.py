"""The ways to predict with other statistics are what their names say."""

import numpy as np
import pytest
import torch

from benchmarks import map_statistics
from benchmarks.map_statistics import (
    Outcome,
    Slices,
    of_each_tile,
    of_the_image,
    of_the_training_slices,
)
from unetcore.errors import InputError
from unetcore.model import UNet, initialise

SIDE = 20  # px, one output tile


@pytest.fixture
def network():
    """Normalised network whose maps have other shifts and gains than at the start."""
    network = UNet(1, 2, width=4, depth=1, normalised=True).eval()
    initialise(network, torch.Generator().manual_seed(0), "he")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:
                generator = torch.Generator().manual_seed(len(name))
                parameter.add_(torch.randn(parameter.shape, generator=generator) / 2)
    return network


def noise(seed, n=1):
    return np.random.default_rng(seed).normal(size=(n, SIDE, SIDE)).astype(np.float32)


def slices(learnt, held_out):
    return Slices(learnt, held_out, (held_out > 0).astype(np.uint8))


def test_of_a_lone_tile_the_image_and_the_tile_are_the_same(network):
    image = noise(0)
    ways = [make(network, slices(noise(1), image)) for make in (of_the_image, of_each_tile)]
    whole, tile = (way(image[0], SIDE) for way in ways)
    np.testing.assert_allclose(whole, tile, atol=1e-5)
    assert np.ptp(whole) > 0.1
    smaller = [way(image[0], 4) for way in ways]
    np.testing.assert_allclose(smaller[0], whole, atol=1e-5)
    assert np.abs(smaller[1] - whole).max() > 0.05


def test_of_training_slices_that_are_the_image_the_statistics_are_those_of_the_image(network):
    image = noise(0)
    whole = of_the_image(network, slices(noise(1), image))(image[0], SIDE)
    same = of_the_training_slices(network, slices(np.concatenate([image, image]), image))
    np.testing.assert_allclose(same(image[0], SIDE), whole, atol=1e-5)
    others = of_the_training_slices(network, slices(3 * noise(1, 2) + 1, image))
    assert np.abs(others(image[0], SIDE) - whole).max() > 0.05


PAIRS = ((0.1, 0.25), (0.3, 0.0))  # value, seam


def test_table_has_mean_spread_and_the_largest_seam():
    def outcome(value, seams):
        return Outcome(dict.fromkeys(map_statistics.OF_MEMBRANES, value), seams)

    one, other = ({name: outcome(v, s) for name in map_statistics.WAYS} for v, s in PAIRS)
    text = map_statistics.table([one, other])
    assert text.count("0.2000 ± 0.1414") == 4 * len(map_statistics.WAYS)  # warping has 7 decimals
    assert text.count(" 0.25 ") == len(map_statistics.WAYS)
    assert map_statistics.table([other]).count(" same ") == len(map_statistics.WAYS)


def test_network_that_was_not_watched_has_no_held_out_slices(tmp_path, monkeypatch):
    monkeypatch.setattr(map_statistics, "read_images", lambda path: np.zeros((1, 4, 4), np.uint8))
    monkeypatch.setattr(map_statistics, "read_frames", lambda path: [])
    with pytest.raises(InputError, match="train with validate_every above 0"):
        map_statistics.read_slices(tmp_path, {"training": {"normalisation": "unit"}})
