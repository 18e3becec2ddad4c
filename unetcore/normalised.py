"""A normalised network with the statistics of an image: a plain one, whose tiles equal the whole.

What a network that normalises its maps (`unetcore.model.TileNormalisation`) says of a pixel depends
on the tile around it. Running statistics of a training would be the same for all tiles, but are not
those that the weights were fitted to: membranes open. So statistics are taken from the image that
is predicted, once for all of its tiles. With them each normalisation is a fixed affine map, which
its convolution takes up: what is left is the paper's network.
"""

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import nn

from unetcore.model import EPSILON, TileNormalisation, TwoConvolutions, UNet


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

    @property
    def mean(self):
        return self.total / self.n

    @property
    def variance(self):
        return (self.squares / self.n - self.mean.square()).clamp_min(0)


@torch.no_grad()
def with_fixed_statistics(network: UNet, images: Iterable[torch.Tensor]) -> UNet:
    """Make the plain network that a normalised one is, with the statistics of some tiles.

    Parameters
    ----------
    network : normalised UNet, in evaluation mode.
    images : (B, C, H, W) input tiles, at least one; one after the other is computed.

    Returns
    -------
    UNet that is not normalised, of the same device and type, in evaluation mode. Where the
    statistics are of one tile, it says of this tile what the normalised network does.
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
            seen = statistics[normalisation]
            gain = normalisation.weight.double() / torch.sqrt(seen.variance + EPSILON)
            convolution.weight.copy_(layer.weight.double() * gain[:, None, None, None])
            convolution.bias.copy_(normalisation.bias - seen.mean * gain)
    return plain


def _blocks(network):
    return [module for module in network.modules() if isinstance(module, TwoConvolutions)]


def _is_normalised(pair):
    return isinstance(pair[1], TileNormalisation)
