"""The two functions of an image that a trained network is exported as.

*valid*: input tiles to output tiles, 92 px smaller per side, as the network itself. *padded*: an
image of any size to a map of the same size; the context is mirrored inside. Both give
probabilities, and a tile that is the same everywhere gets the same ones everywhere, as where
`unetcore.normalised` takes the statistics.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from unetcore import geometry
from unetcore.errors import InputError
from unetcore.model import EPSILON, TileNormalisation, UNet
from unetcore.normalised import LEAST_STD

Head = Literal["padded", "valid"]
HEADS = get_args(Head)


@dataclass(frozen=True)
class Step:
    """One operation of a network on its newest map.

    Attributes
    ----------
    kind : "convolve", "up" (2x2 up-convolution), "normalise", "relu", "pool", "keep" (put a copy on
        the pile) or "join" (take a copy off it, crop it, and put it behind the map).
    layer : whose weights a step takes.
    margin : px that "join" crops from each side.
    """

    kind: str
    layer: nn.Module | None = None
    margin: int = 0


def steps_of(network: UNet) -> Iterator[Step]:
    """Operations of a network in evaluation mode, from the input tile to the scores.

    Raises
    ------
    InputError : the network is of another family.
    """
    if not isinstance(network, UNet):
        raise InputError(
            f"network of the family {network.family!r}: only a {UNet.family} can be exported as "
            "TorchScript, ONNX or bioimage.io package; .safetensors holds any"
        )
    *levels, bottom = network.contracting
    for level in levels:
        yield from _layers(level)
        if network.skip_connections:
            yield Step("keep")
        yield Step("pool")
    yield from _layers(bottom)
    for level in network.expansive:
        yield from _layers(level.up)
        if network.skip_connections:
            yield Step("join", margin=level.margin)
        yield from _layers(level.convolutions)
    yield from _layers(network.scores)


def _layers(module):
    kinds = {
        nn.Conv2d: "convolve",
        nn.ConvTranspose2d: "up",
        TileNormalisation: "normalise",
        nn.ReLU: "relu",
    }
    for layer in module.modules():
        if type(layer) in kinds:
            yield Step(kinds[type(layer)], layer)


class Graph(nn.Module):
    """The network as a function that can be traced for tiles of all sizes.

    The network itself cannot: it checks sizes, and how it normalises depends on the batch.

    Parameters
    ----------
    network : UNet in evaluation mode.
    """

    def __init__(self, network: UNet):
        super().__init__()
        self.steps = tuple(steps_of(network))
        self.layers = nn.ModuleList(step.layer for step in self.steps if step.layer is not None)
        self.normalised = network.settings["normalised"]

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Probabilities (B, K, H - 184, W - 184) of input tiles (B, C, H, W)."""
        if self.normalised:
            variance = tiles.var((2, 3), correction=0, keepdim=True)
            tells = (variance > LEAST_STD**2).any(1, keepdim=True)  # (B, 1, 1, 1)
        x, kept = tiles, []
        for step in self.steps:
            match step.kind:
                case "convolve" | "up":
                    x = step.layer(x)
                case "normalise":
                    x = _normalised(x, step.layer, tells)
                case "relu":
                    x = functional.relu(x)
                case "pool":
                    x = functional.max_pool2d(x, 2)
                case "keep":
                    kept.append(x)
                case "join":
                    m = step.margin
                    x = torch.cat((x, kept.pop()[..., m:-m, m:-m]), dim=1)
        return x.softmax(1)


def _normalised(x, layer, tells):
    """Maps of mean 0 and standard deviation 1, scaled and shifted; all shift in a blank tile."""
    # Without the library's wrapper, whose check of the size cannot be traced.
    settings = {"use_input_stats": True, "momentum": 0.0, "eps": EPSILON, "cudnn_enabled": True}
    normal = torch.instance_norm(x, layer.weight, layer.bias, None, None, **settings)
    return torch.where(tells, normal, layer.bias[None, :, None, None])


class ValidHead(nn.Module):
    """Input tiles to output tiles; sizes that do not fit are refused, which a trace cannot do.

    Parameters
    ----------
    graph : traced `Graph`.
    depth : number of poolings.
    """

    def __init__(self, graph, depth: int):
        super().__init__()
        self.graph = graph
        self.smallest = geometry.input_size(4, depth)
        self.period = geometry.phase(depth)

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Probabilities (B, K, H - 184, W - 184) of input tiles (B, C, H, W)."""
        for side in tiles.shape[-2:]:
            if side < self.smallest or (side - self.smallest) % self.period != 0:
                raise ValueError(
                    f"input tile with a side of {side} px: the sizes that fit are "
                    f"{self.smallest} + {self.period} k"
                )
        return self.graph(tiles)


class PaddedHead(nn.Module):
    """Images of any size to maps of the same size.

    The input tile is that of `unet predict` for an image that is one tile: mirrored by the halo on
    the left and at the top, so that pooling begins at the same pixels, and on the right and at the
    bottom by the halo and what is missing to a size that fits.

    Parameters
    ----------
    graph : traced `Graph`.
    depth : number of poolings.
    """

    def __init__(self, graph, depth: int):
        super().__init__()
        self.graph = graph
        self.halo = geometry.halo(depth)
        self.period = geometry.phase(depth)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Probabilities (B, K, H, W) of images (B, C, H, W)."""
        height, width = image.shape[-2:]
        rows = self.mirrored(height, image.device)
        columns = self.mirrored(width, image.device)
        tile = image.index_select(2, rows).index_select(3, columns)
        return self.graph(tile)[:, :, :height, :width]

    def mirrored(self, side: int, device: torch.device) -> torch.Tensor:
        """Index of the pixel that stands at each place of an axis; see `geometry.mirror_index`."""
        missing = max(side - 4, 0) + self.period - 1
        stop = 4 + missing // self.period * self.period + self.halo
        there_and_back = max(2 * (side - 1), 1)
        index = torch.arange(-self.halo, stop, device=device) % there_and_back
        return torch.minimum(index, there_and_back - index)
