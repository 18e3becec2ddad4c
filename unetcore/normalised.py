"""A normalised network with the statistics of an image: a plain one, whose tiles equal the whole.

What a network that normalises its maps (`unetcore.model.TileNormalisation`) says of a pixel depends
on the tile around it. Running statistics of a training would be the same for all tiles, but are not
those that the weights were fitted to: membranes open. So statistics are taken from the image that
is predicted, once for all of its tiles. With them each normalisation is a fixed affine map, which
its convolution takes up: what is left is the paper's network.

An image that is the same everywhere has no statistics but its rounding, which gains of up to 316 in
every layer, one after the other, would make larger than any number. It says nothing: a network
says the same of all of its pixels, and is not trained on it.
"""

import logging
from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import nn

from unetcore.model import EPSILON, TileNormalisation, TwoConvolutions, UNet

logger = logging.getLogger(__name__)

# Least standard deviation of an image that says something. Grey values are of order 1: it is far
# above the rounding of float32, 6e-8, and below a step of 16-bit grey values, 1.5e-5.
LEAST_STD = 1e-5


def says_nothing(images, dtype):
    """Whether tiles are the same everywhere, as far as a network can tell.

    Parameters
    ----------
    images : (B, C, H, W) float tensor.
    dtype : type that the network computes in; bfloat16 rounds grey values by up to 0.4 %.

    Returns
    -------
    (B,) bool tensor: rounded to this type, no channel has a standard deviation above `LEAST_STD`.

    Examples
    --------
    >>> image = torch.tensor([0.999, 1.001]).reshape(1, 1, 1, 2)
    >>> says_nothing(image, torch.bfloat16), says_nothing(image, torch.float32)
    (tensor([True]), tensor([False]))
    """
    seen = images.to(dtype).to(images.dtype).flatten(2)  # (B, C, H W)
    return (seen.std(2, correction=0) <= LEAST_STD).all(1)


class _Statistics:
    """Mean and variance of every map that a normalisation is given, over all tiles' pixels."""

    def __init__(self):
        self.n, self.total, self.squares = 0, 0.0, 0.0

    def __call__(self, module, arguments):
        (x,) = arguments  # (B, C, H, W)
        x = x.double()
        self.n += x.numel() // x.shape[1]
        self.total = self.total + x.sum((0, 2, 3))
        self.squares = self.squares + x.square().sum((0, 2, 3))

    def gain_and_shift(self, normalisation):
        """(C,) tensors, with which the normalisation is the map x * gain + shift."""
        if not self.n:
            return torch.zeros_like(normalisation.weight), normalisation.bias
        mean = self.total / self.n
        variance = (self.squares / self.n - mean.square()).clamp_min(0)
        gain = normalisation.weight.double() / torch.sqrt(variance + EPSILON)
        return gain, normalisation.bias - mean * gain


@torch.no_grad()
def with_fixed_statistics(network: UNet, images: Iterable[torch.Tensor]) -> UNet:
    """Make the plain network that a normalised one is, with the statistics of some tiles.

    Parameters
    ----------
    network : normalised UNet, in evaluation mode.
    images : (B, C, H, W) input tiles that say something; one after the other is computed.

    Returns
    -------
    UNet that is not normalised, of the same device and type, in evaluation mode. Where the
    statistics are of one tile, it says of this tile what the normalised network does. Where there
    is no tile, every map is its learnt shift, and all pixels get the same scores.
    """
    layers = [module for module in network.modules() if isinstance(module, TileNormalisation)]
    statistics = [_Statistics() for _ in layers]
    hooks = [
        layer.register_forward_pre_hook(seen)
        for layer, seen in zip(layers, statistics, strict=True)
    ]
    try:
        for image in images:
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    if not statistics[0].n:
        logger.warning(
            "an image is the same everywhere: all of its pixels get the same probability"
        )
    return _folded(network, dict(zip(layers, statistics, strict=True)))


def _folded(network, statistics):
    """Plain network whose convolutions have taken up the normalisation behind them."""
    plain = UNet(**(network.settings | {"normalised": False})).eval()
    parameter = next(network.parameters())
    plain = plain.to(parameter.device, parameter.dtype, memory_format=torch.channels_last)
    plain.scores.load_state_dict(network.scores.state_dict())
    for level, own in zip(network.expansive, plain.expansive, strict=True):
        own.up.load_state_dict(level.up.state_dict())
    for block, own in zip(_blocks(network), _blocks(plain), strict=True):
        pairs = [pair for pair in pairwise(block) if _is_normalised(pair)]
        convolutions = [layer for layer in own if isinstance(layer, nn.Conv2d)]
        for (layer, normalisation), convolution in zip(pairs, convolutions, strict=True):
            gain, shift = statistics[normalisation].gain_and_shift(normalisation)
            convolution.weight.copy_(layer.weight.double() * gain[:, None, None, None])
            convolution.bias.copy_(shift)
    return plain


def _blocks(network):
    return [module for module in network.modules() if isinstance(module, TwoConvolutions)]


def _is_normalised(pair):
    return isinstance(pair[1], TileNormalisation)
