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

from unetcore.model import EPSILON, TileNormalisation, TwoConvolutions

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
    """Mean and variance of every map that a normalisation is given, over all tiles' pixels.

    As a hook it also normalises each tile by them, in the place of the library: where the channels
    of a pixel stand together, that one's sums are so rough on a CPU that a few layers later
    probabilities differ by up to 0.006.
    """

    def __init__(self):
        self.n, self.total, self.squares = 0, 0.0, 0.0

    def __call__(self, module, arguments, output):
        (x,) = arguments  # (B, C, H, W)
        return torch.cat([self._normalised(module, tile) for tile in x.split(1)])

    def _normalised(self, module, tile):
        """Tile (1, C, H, W) with maps of mean 0 and standard deviation 1, scaled and shifted."""
        own = _Statistics()
        own._add(tile)
        self.n += own.n
        self.total, self.squares = self.total + own.total, self.squares + own.squares
        exact = torch.promote_types(tile.dtype, torch.float32)
        gain, shift = (v.to(exact)[:, None, None] for v in own.gain_and_shift(module))
        return (tile * gain + shift).to(tile.dtype)

    def _add(self, tile):
        x = tile.double()
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
def with_fixed_statistics(network: nn.Module, images: Iterable[torch.Tensor]) -> nn.Module:
    """Make the plain network that a normalised one is, with the statistics of some tiles.

    Parameters
    ----------
    network : normalised UNet or FullyConvolutional, in evaluation mode.
    images : (B, C, H, W) input tiles that say something; one after the other is computed.

    Returns
    -------
    Network that is not normalised, of the same kind, device and type, in evaluation mode. Where the
    statistics are of one tile, it says of this tile what the normalised network does. Where there
    is no tile, every map is its learnt shift, and all pixels get the same scores.
    """
    layers = [module for module in network.modules() if isinstance(module, TileNormalisation)]
    statistics = [_Statistics() for _ in layers]
    hooks = [
        layer.register_forward_hook(seen) for layer, seen in zip(layers, statistics, strict=True)
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
    plain = type(network)(**(network.settings | {"normalised": False})).eval()
    parameter = next(network.parameters())
    plain = plain.to(parameter.device, parameter.dtype, memory_format=torch.channels_last)
    behind = {
        layer: normalisation
        for block in network.modules()
        if isinstance(block, TwoConvolutions)
        for layer, normalisation in pairwise(block)
        if isinstance(normalisation, TileNormalisation)
    }
    for layer, own in zip(_layers(network), _layers(plain), strict=True):
        if layer not in behind:
            own.load_state_dict(layer.state_dict())
            continue
        gain, shift = statistics[behind[layer]].gain_and_shift(behind[layer])
        own.weight.copy_(layer.weight.double() * gain[:, None, None, None])
        own.bias.copy_(shift)
    return plain


def _layers(network):
    """Convolutions and up-convolutions, in the order of the network."""
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
