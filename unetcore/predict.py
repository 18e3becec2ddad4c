"""Prediction: overlap-tile scores, averaged over transformed versions of the image (Sec. 2, 4)."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from unetcore import geometry
from unetcore.devices import autocast, choose_device, resolve_precision
from unetcore.errors import InputError
from unetcore.model import UNet
from unetcore.normalised import says_nothing, with_fixed_statistics
from unetcore.resampling.affine import resample_affine
from unetcore.tiling import (
    MEMORY,
    NaivePlan,
    NetworkTraits,
    Tile,
    TilePlan,
    input_tile,
    plan_tiles,
    predict_tiled,
    predict_tiles,
    stitch,
)

AVERAGINGS = ("none", "rot7", "d4", "mirror4")

# On a CPU, PyTorch convolves an image of up to so many values by another kernel if it is alone, and
# the last digits differ. So does oneDNN for maps of so many channels and fewer than 13 px a side.
# Without such maps tiles equal the whole bit for bit.
LONE_VALUES = 20_480
MANY_CHANNELS = 1024

STATISTICS_SIDE = 516  # px, of the output tiles that statistics of a large image are taken from
STATISTICS_TILES = 3  # of them, at most, along each axis


class Predictor:
    """A trained network as the array function that `predict_tiled` wants.

    Parameters
    ----------
    network : UNet or another of `unetcore.families`, in evaluation mode.
    precision : "auto", "float32" or "bfloat16"; scores are float32 in any case.
    memory : bytes that one call may take beside the weights, for the plan of tiles; None takes half
        of what is free on a GPU, 2 GiB on a CPU.
    device : "cpu", "gpu" or "auto", see `unetcore.devices.choose_device`.

    Attributes
    ----------
    depth : number of poolings.
    channels : of the images that it takes.
    n_classes : of which it gives scores.
    normalised : whether it normalises its maps, by statistics of the image.
    traits : what `plan_tiles` must know.
    """

    def __init__(self, network, precision="float32", memory=None, device="auto"):
        self.device = choose_device(device)
        self.depth, self.channels = network.depth, network.settings["in_channels"]
        self.n_classes = network.settings["n_classes"]
        self.normalised = bool(network.settings.get("normalised"))
        self.precision, self.kind = resolve_precision(precision, self.device), device
        self.dtype = getattr(torch, self.precision)
        # Once for all, where autocast would do it in every call. A normalised network is only
        # measured, and stays in float32.
        if self.dtype != torch.float32 and not self.normalised:
            network = copy.deepcopy(network).to(self.dtype)
        self._is_unet = isinstance(network, UNet)  # others equal the whole up to rounding
        self.network = network.to(self.device, memory_format=torch.channels_last).eval()
        self.traits = NetworkTraits(
            width=network.planning_width,
            value_size=self.dtype.itemsize,
            crops=True,
            on_gpu=self.device.type == "cuda",
            memory=memory_of(self.device) if memory is None else memory,
        )

    @torch.inference_mode()
    def __call__(self, tiles: np.ndarray, output: tuple[int, int] | None = None) -> np.ndarray:
        """Scores (B, K, h - 184, w - 184) of input tiles (B, C, h, w), both float32.

        With `output`, (h, w) in px, only the upper left part of each output tile is computed.

        Raises
        ------
        InputError : tiles of another number of channels than the network takes, or a network that
            normalises its maps and whose statistics are not fixed.
        """
        if self.normalised:
            raise InputError(
                "this network normalises its maps: predict by `Predictor.fixed_for(image)`, of "
                "which tiles equal the whole image"
            )
        self._check_channels(tiles.shape[1])
        height, width = output or self._output_of(tiles)
        tiles = self._trimmed(tiles)
        if self.device.type == "cpu":
            tiles, output = self._with_large_maps(tiles, (height, width))
        batch = torch.as_tensor(tiles, dtype=self.dtype, device=self.device)
        n_tiles = len(batch)
        if self._has_lone_map(tiles, output):
            batch = batch.expand(2, -1, -1, -1)  # never alone
        scores = self.network(batch.contiguous(memory_format=torch.channels_last), output)
        return scores[:n_tiles, :, :height, :width].float().cpu().numpy()

    def fixed_for(self, image: np.ndarray) -> "Predictor":
        """Predictor of which tiles of an image equal the whole.

        Of a network that normalises its maps, it takes their statistics from the image: from all of
        it if it is small, else from `STATISTICS_TILES` per axis that are spread over it, and that
        depend on nothing but its size; tiles that are the same everywhere are left out, and where
        all of these are, every tile of the image is looked at. `predict_tiled` calls this by
        itself.

        Parameters
        ----------
        image : (H, W) or (C, H, W) array, or anything that can be sliced like one.

        Returns
        -------
        `Predictor`, itself if the network normalises nothing.

        Raises
        ------
        InputError : the image has another number of channels than the network takes.
        """
        if not self.normalised:
            return self
        self._check_channels(image.shape[0] if len(image.shape) == 3 else 1)
        with torch.inference_mode(False), autocast(self.precision, self.device)():
            plain = with_fixed_statistics(self.network, self._telling_tiles(image))
        return Predictor(plain, self.precision, self.traits.memory, self.kind)

    def _telling_tiles(self, image):
        """Input tiles, (1, C, H, W), from which the statistics of an image are taken."""
        for most in (STATISTICS_TILES, max(image.shape[-2:])):
            n_found = 0
            for place in _statistics_tiles(image.shape[-2:], self.depth, most):
                tile = torch.as_tensor(input_tile(image, place, geometry.halo(self.depth)))
                tile = tile.to(self.device).float()[None]
                if not says_nothing(tile, self.dtype):
                    n_found += 1
                    yield tile.contiguous(memory_format=torch.channels_last)
            if n_found:
                return

    def _check_channels(self, given):
        if given != self.channels:
            raise InputError(f"image of {given} channels: the network takes {self.channels}")

    def _trimmed(self, tiles):
        """Tiles without the context that the U-Net needs and this network does not."""
        surplus = geometry.halo(self.depth) - self.network.halo
        return tiles[..., surplus : tiles.shape[-2] - surplus, surplus : tiles.shape[-1] - surplus]

    def _output_of(self, tiles):
        """(h, w) of the output tiles of input tiles."""
        return tuple(geometry.output_size(side, self.depth) for side in tiles.shape[-2:])

    def _with_large_maps(self, tiles, output):
        """Tiles and output for which a wide network's maps have 13 px a side and more.

        As no convolution is padded, what is added below and on the right changes nothing else.
        """
        if not self._is_unet or self.traits.width * 2**self.depth < MANY_CHANNELS:
            return tiles, output
        least = 4 + 9 * geometry.phase(self.depth)  # 13 px at the bottom: 148 px for four poolings
        missing = [max(0, least - side) for side in self._output_of(tiles)]
        tiles = np.pad(tiles, [(0, 0), (0, 0), *((0, more) for more in missing)])
        return tiles, tuple(max(side, least) for side in output)

    def _has_lone_map(self, tiles, output):
        """Whether a convolution reads a single map that is as small as `LONE_VALUES` says.

        The contracting path's maps become smaller from level to level: its last one is looked at.
        """
        if len(tiles) > 1 or self.device.type != "cpu" or not self._is_unet:
            return False
        sides = output or self._output_of(tiles)
        made = zip(*(geometry.expansive_sizes(side, self.depth) for side in sides), strict=True)
        maps, settings = [tiles.size], self.network.settings
        expansive_width = settings["expansive_width"] or settings["width"]
        for level, (h, w) in zip(reversed(range(self.depth + 1)), made, strict=True):
            copied = settings["width"] * 2**level  # channels of the contracting path
            if level == self.depth:
                first, c = copied // 2, copied
            else:
                c = expansive_width * 2**level
                first = c + copied if settings["skip_connections"] else c
            maps += [first * (h + 4) * (w + 4), c * (h + 2) * (w + 2), c * h * w]
        return min(maps) <= LONE_VALUES

    def plan(self, shape: tuple[int, int], tile: int | None = None) -> TilePlan:
        """Tiles by which an image of `shape` (H, W) is predicted; see `plan_tiles`."""
        return plan_tiles(shape, tile, self.depth, self.traits)


def _statistics_tiles(
    shape: tuple[int, int], depth: int, most: int = STATISTICS_TILES
) -> list[Tile]:
    """Output tiles, at most so many per axis, that are spread over an image of `shape` (H, W)."""
    largest = geometry.round_up_to_output_tile(STATISTICS_SIDE, depth)
    sides = [min(largest, geometry.round_up_to_output_tile(side, depth)) for side in shape]
    places = [_spread(size, side, most) for size, side in zip(shape, sides, strict=True)]
    return [Tile(row, column, *sides) for row in places[0] for column in places[1]]


def _spread(size: int, side: int, most: int) -> list[int]:
    """Where tiles begin that are spread over an axis."""
    n = min(most, -(-size // side))
    return [round(k * (size - side) / (n - 1)) for k in range(n)] if n > 1 else [0]


def memory_of(device: torch.device) -> int:
    """Bytes that tiles may take on a device where the user does not say."""
    if device.type != "cuda":
        return MEMORY
    free, _ = torch.cuda.mem_get_info(device)
    return free // 2


@dataclass(frozen=True)
class _Version:
    """A transformation of an image and its inverse on scores, both on (C, H, W) arrays."""

    forward: Callable[[np.ndarray], np.ndarray]
    backward: Callable[[np.ndarray], np.ndarray]


def predict_probability(
    image: np.ndarray, predictor: Predictor, *, averaging: str = "none", tile: int | None = None
) -> np.ndarray:
    """Probability that each pixel is cell interior (class 1).

    Parameters
    ----------
    image : (H, W) or (C, H, W) float32 array, normalised as in training.
    predictor : network of two or more classes.
    averaging : versions of the image whose results are averaged. "rot7": rotated by k 360/7
        degrees, as in the paper's EM result; "d4": the 8 symmetries of the square; "mirror4": the
        4 mirror images, as in the authors' release for cells; "none".
    tile : output tile in px, None to plan it.

    Returns
    -------
    (H, W) float32 array in [0, 1].

    Raises
    ------
    InputError : unknown averaging or tile, or an image of other channels than the network takes.

    Notes
    -----
    A network that normalises its maps takes the statistics of each version from it, so that the
    average over the symmetries of a turned image is the turned average.

    The paper does not say what is averaged. As in the release, "mirror4" averages scores; the
    others average probabilities.
    """
    channels = image if image.ndim == 3 else image[None]  # (C, H, W)
    versions = _versions(averaging, channels.shape[1:])
    total = 0.0
    for version in versions:
        scores = predict_tiled(version.forward(channels), predictor, tile)
        total = total + version.backward(scores if averaging == "mirror4" else softmax(scores))
    mean = total / len(versions)
    probability = softmax(mean)[1] if averaging == "mirror4" else mean[1]
    return np.clip(probability, 0, 1).astype(np.float32)


def predict_three_ways(image: np.ndarray, predictor: Predictor, tile: int) -> np.ndarray:
    """Probability of class 1 by one tile, by ours, and by tiles that make seams (paper Fig. 2).

    Parameters
    ----------
    image : (H, W) or (C, H, W) float32 array, normalised as in training.
    predictor : network of two or more classes.
    tile : output tile in px of the second and the third way.

    Returns
    -------
    (3, H, W) float32 array in [0, 1]: the image as a whole; tiles at multiples of 16 px; tiles at
    multiples of their own side.
    """
    depth, predictor, shape = predictor.depth, predictor.fixed_for(image), image.shape[-2:]
    whole = tuple(geometry.round_up_to_output_tile(side, depth) for side in shape)
    plans = (
        TilePlan(shape, whole, depth),
        plan_tiles(shape, tile, depth),
        NaivePlan(shape, (tile, tile), depth),
    )
    ways = (stitch(predict_tiles(image, predictor, plan), shape) for plan in plans)
    return np.stack([softmax(scores)[1] for scores in ways])


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities of the K classes of (K, H, W) scores."""
    e = np.exp(scores - scores.max(axis=0, keepdims=True))
    return e / e.sum(axis=0, keepdims=True)


def _versions(averaging, shape):
    if averaging == "none":
        return [_Version(np.asarray, np.asarray)]
    if averaging == "rot7":
        return [_rotation(2 * np.pi * k / 7, shape) for k in range(7)]
    if averaging == "d4":
        return [_symmetry(k, mirrored) for k in range(4) for mirrored in (False, True)]
    if averaging == "mirror4":
        axes = [(), (1,), (2,), (1, 2)]
        return [_Version(_flip(a), _flip(a)) for a in axes]
    raise InputError(f"averaging {averaging!r}: need one of {', '.join(AVERAGINGS)}")


def _flip(axes):
    return lambda array: np.flip(array, axes) if axes else array


def _symmetry(quarter_turns, mirrored):
    """One of the 8 symmetries of the square."""

    def forward(array):
        turned = np.rot90(array, quarter_turns, axes=(1, 2))
        return turned[:, :, ::-1] if mirrored else turned

    def backward(array):
        turned = array[:, :, ::-1] if mirrored else array
        return np.rot90(turned, -quarter_turns, axes=(1, 2))

    return _Version(forward, backward)


def _rotation(angle, shape):
    """Rotation about the image centre, on a canvas that holds the whole rotated image."""
    if angle == 0:
        return _Version(np.asarray, np.asarray)
    cos, sin = np.cos(angle), np.sin(angle)
    height, width = shape
    canvas = (
        int(np.ceil(height * abs(cos) + width * abs(sin))),
        int(np.ceil(height * abs(sin) + width * abs(cos))),
    )
    turn = np.array([[cos, -sin], [sin, cos]])
    return _Version(
        lambda array: _turned(array, turn, canvas), lambda array: _turned(array, turn.T, shape)
    )


def _turned(array, matrix, shape):
    """Resample each channel on a grid of `shape`, turned about the centres; mirrored context."""
    centre_in = (np.array(array.shape[1:]) - 1) / 2
    offset = centre_in - matrix @ ((np.array(shape) - 1) / 2)
    return resample_affine(array, matrix, offset, shape)
