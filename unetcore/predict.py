"""Prediction: overlap-tile scores, averaged over transformed versions of the image (Sec. 2, 4)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from unetcore.errors import InputError
from unetcore.tiling import predict_tiled
from unetcore.train import autocast, best_device

AVERAGINGS = ("none", "rot7", "d4", "mirror4")


class Predictor:
    """A trained network as the array function that `predict_tiled` wants.

    Parameters
    ----------
    network : UNet in evaluation mode.
    precision : "auto", "float32" or "bfloat16"; scores are float32 in any case.
    """

    def __init__(self, network, precision="float32"):
        self.device = best_device()
        self.depth = network.depth
        self.network = network.to(self.device, memory_format=torch.channels_last).eval()
        self.autocast = autocast(precision, self.device)

    @torch.inference_mode()
    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """Scores (B, K, h - 184, w - 184) of input tiles (B, C, h, w), both float32."""
        batch = torch.as_tensor(tiles, dtype=torch.float32, device=self.device)
        with self.autocast():
            scores = self.network(batch.contiguous(memory_format=torch.channels_last))
        return scores.float().cpu().numpy()


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
