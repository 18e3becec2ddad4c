"""An image to test exported networks on: drawn from a seed, never one of a user's."""

from dataclasses import dataclass

import numpy as np
import torch

from unetcore import geometry
from unetcore.data.intensity import normalise
from unetcore.data.io import grey_values
from unetcore.data.phantom_em import draw_sections
from unetcore.export.heads import Head
from unetcore.model import UNet
from unetcore.predict import Predictor, softmax
from unetcore.tiling import predict_tiled

SEED = 0
ROWS, COLUMNS = 2, 4  # in periods of 16 px above the smallest image; not square, to catch swaps


@dataclass(frozen=True)
class Sample:
    """A drawn image, and what the network says of it.

    Attributes
    ----------
    drawn : (1, C, H, W) uint8.
    normalised : the same as the network takes it, float32.
    expected : probabilities (1, K, h, w) float32, by the network itself on the CPU.
    """

    drawn: np.ndarray
    normalised: np.ndarray
    expected: np.ndarray


def declared_halo(depth: int) -> int:
    """Px that programs crop from tiles of the padded head: the halo, up to the next multiple of 16.

    A program that cuts an image into tiles then lets their context begin at a multiple of 16, as
    `unet predict` does: with 92 px all tiles would be pooled 4 px beside the whole image.

    Examples
    --------
    >>> declared_halo(4)
    96
    """
    period = geometry.phase(depth)
    return -(-geometry.halo(depth) // period) * period


def smallest_size(head: Head, depth: int) -> int:
    """Side in px of the smallest image of which something is left without the halo."""
    if head == "valid":
        return geometry.input_size(4, depth)
    return 2 * declared_halo(depth) + geometry.phase(depth)


def draw_sample(network: UNet, head: Head, normalisation: str) -> Sample:
    """Draw a section through cells for each channel of a network, and predict it."""
    smallest, period = smallest_size(head, network.depth), geometry.phase(network.depth)
    height, width = smallest + ROWS * period, smallest + COLUMNS * period
    channels = network.settings["in_channels"]
    sections, _ = draw_sections(np.random.default_rng(SEED), channels, width)
    drawn = sections[None, :, :height]
    normalised = normalise(grey_values(drawn, normalisation, "drawn image"), normalisation)
    return Sample(drawn, normalised, _expected(network, head, normalised))


@torch.inference_mode()
def _expected(network, head, image):
    """Probabilities of an image, or of an input tile, both (1, C, H, W) float32."""
    if head == "valid":
        return network(torch.as_tensor(image)).softmax(1).numpy()
    return softmax(predict_tiled(image[0], Predictor(network, device="cpu")))[None]
