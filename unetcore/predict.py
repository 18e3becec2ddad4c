"""Prediction: overlap-tile scores, averaged over transformed versions of the image (Sec. 2, 4)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from unetcore import geometry
from unetcore.errors import InputError
from unetcore.tiling import (
    MEMORY,
    NaivePlan,
    NetworkTraits,
    TilePlan,
    plan_tiles,
    predict_tiled,
    predict_tiles,
    stitch,
)
from unetcore.train import autocast, best_device, resolve_precision

AVERAGINGS = ("none", "rot7", "d4", "mirror4")

# On a CPU, PyTorch convolves an image of up to so many values by another kernel if it is alone, and
# the last digits differ.
LONE_VALUES = 20_480


class Predictor:
    """A trained network as the array function that `predict_tiled` wants.

    Parameters
    ----------
    network : UNet in evaluation mode.
    precision : "auto", "float32" or "bfloat16"; scores are float32 in any case.
    memory : bytes that one call may take beside the weights, for the plan of tiles; None takes half
        of what is free on a GPU, 2 GiB on a CPU.

    Attributes
    ----------
    depth : number of poolings.
    traits : what `plan_tiles` must know.
    """

    def __init__(self, network, precision="float32", memory=None):
        self.device = best_device()
        self.depth = network.depth
        self.network = network.to(self.device, memory_format=torch.channels_last).eval()
        self.autocast = autocast(precision, self.device)
        self.traits = NetworkTraits(
            width=network.settings["width"],
            value_size=2 if resolve_precision(precision, self.device) == "bfloat16" else 4,
            crops=True,
            on_gpu=self.device.type == "cuda",
            memory=memory or _memory_of(self.device),
        )

    @torch.inference_mode()
    def __call__(self, tiles: np.ndarray, output: tuple[int, int] | None = None) -> np.ndarray:
        """Scores (B, K, h - 184, w - 184) of input tiles (B, C, h, w), both float32.

        With `output`, (h, w) in px, only the upper left part of each output tile is computed. The
        same pixel gets the same bits whatever the tile: see `LONE_VALUES`.
        """
        batch = torch.as_tensor(tiles, dtype=torch.float32, device=self.device)
        if len(tiles) == 1 and self._smallest_map(tiles.shape[-2:], output) <= LONE_VALUES:
            batch = batch.expand(2, -1, -1, -1)  # never alone
        with self.autocast():
            scores = self.network(batch.contiguous(memory_format=torch.channels_last), output)
        return scores[: len(tiles)].float().cpu().numpy()

    def _smallest_map(self, input_shape, output):
        """Values of the smallest feature map that a convolution reads of one tile.

        It is one of the three at the bottom, or what the last convolution makes the scores from.
        """
        height, width = output or (geometry.output_size(side, self.depth) for side in input_shape)
        h, w = (geometry.expansive_sizes(side, self.depth)[0] for side in (height, width))
        channels = self.traits.width * 2**self.depth
        bottom = ((channels // 2, 4), (channels, 2), (channels, 0))
        maps = [c * (h + more) * (w + more) for c, more in bottom]
        return min(*maps, self.traits.width * height * width)

    def plan(self, shape: tuple[int, int], tile: int | None = None) -> TilePlan:
        """Tiles by which an image of `shape` (H, W) is predicted; see `plan_tiles`."""
        return plan_tiles(shape, tile, self.depth, self.traits)


def _memory_of(device: torch.device) -> int:
    """Bytes that the tiles may take where the user does not say."""
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
    image : (H, W) float32 array, normalised as in training.
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
    InputError : unknown averaging or tile.

    Notes
    -----
    The paper does not say what is averaged. As in the release, "mirror4" averages scores; the
    others average probabilities.
    """
    versions = _versions(averaging, image.shape)
    total = 0.0
    for version in versions:
        scores = predict_tiled(version.forward(image[None]), predictor, tile, predictor.depth)
        total = total + version.backward(scores if averaging == "mirror4" else softmax(scores))
    mean = total / len(versions)
    probability = softmax(mean)[1] if averaging == "mirror4" else mean[1]
    return np.clip(probability, 0, 1).astype(np.float32)


def predict_three_ways(image: np.ndarray, predictor: Predictor, tile: int) -> np.ndarray:
    """Probability of class 1 by one tile, by ours, and by tiles that make seams (paper Fig. 2).

    Parameters
    ----------
    image : (H, W) float32 array, normalised as in training.
    predictor : network of two or more classes.
    tile : output tile in px of the second and the third way.

    Returns
    -------
    (3, H, W) float32 array in [0, 1]: the image as a whole; tiles at multiples of 16 px; tiles at
    multiples of their own side.
    """
    naive = NaivePlan(image.shape, (tile, tile), predictor.depth)
    whole = geometry.round_up_to_output_tile(max(image.shape), predictor.depth)
    ways = (
        predict_tiled(image, predictor, whole, predictor.depth),
        predict_tiled(image, predictor, tile, predictor.depth),
        stitch(predict_tiles(image, predictor, naive), image.shape),
    )
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
    return np.stack(
        [
            ndimage.affine_transform(
                channel, matrix, offset, output_shape=shape, order=3, mode="mirror"
            )
            for channel in array
        ]
    )
