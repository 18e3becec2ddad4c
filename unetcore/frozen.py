"""Exported heads that predict: graphs whose statistics and context cannot be changed any more."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetcore import geometry
from unetcore.devices import choose_device
from unetcore.errors import InputError, first_line
from unetcore.export.onnx_file import open_onnx
from unetcore.export.torchscript import open_torchscript
from unetcore.predict import memory_of
from unetcore.tiling import NetworkTraits

LEAST = np.finfo(np.float32).tiny  # probability 0 has no logarithm


@dataclass(frozen=True)
class SurroundedTraits(NetworkTraits):
    """Traits of a head that computes more than its tile.

    Attributes
    ----------
    surplus : px of context that it computes along each axis.
    """

    surplus: int = 0

    def map_size(self, height: int, width: int) -> int:
        """Bytes of a feature map of the first level, with what is computed around it."""
        return super().map_size(height + self.surplus, width + self.surplus)


class FrozenPredictor:
    """An exported head as the array function that `predict_tiled` wants.

    A head that mirrors its context itself, or normalises its maps, is given whole images. It tells
    logarithms of probabilities, which are scores: their softmax is the probabilities.

    By tiles, a padded head is given the context as if it was image, and what it computes of that is
    cut away; as tiles begin on the grid of the poolings, the rest is what the whole image gets.

    Parameters
    ----------
    run : maps (B, C, H, W) float32 arrays to probabilities.
    card : model card of the file.
    memory : bytes that one call may take.
    on_gpu : whether it runs on a GPU.
    by_tiles : whether it is to be given tiles of images that are too large to be one.

    Attributes
    ----------
    depth, channels, n_classes, normalised, precision, traits : see `unetcore.predict.Predictor`.
    """

    precision = "float32"

    def __init__(
        self,
        run: Callable,
        card: dict,
        memory: int,
        on_gpu: bool = False,
        by_tiles: bool = False,
    ):
        network = card["network"]
        (head,) = card["heads"]
        self.depth, self.channels = network["depth"], network["in_channels"]
        self.n_classes, self.normalised = network["n_classes"], network["normalised"]
        self._run, self._is_padded = run, head == "padded"
        self._is_surrounded = self._is_padded and by_tiles
        halo = geometry.halo(self.depth)
        self._missing = -halo % geometry.phase(self.depth)  # px, so that pooling begins as it must
        self.traits = SurroundedTraits(
            width=network["width"],
            crops=self._is_padded,
            on_gpu=on_gpu,
            memory=memory,
            whole=self.normalised or (self._is_padded and not by_tiles),
            surplus=2 * halo + self._missing if self._is_surrounded else 0,
        )

    def __call__(self, tiles: np.ndarray, output: tuple[int, int] | None = None) -> np.ndarray:
        """Scores (B, K, h - 184, w - 184) of input tiles (B, C, h, w), float32.

        With `output`, (h, w) in px, only the upper left part of each output tile is computed.
        """
        self._check_channels(tiles.shape[1])
        probability = self._padded(tiles, output) if self._is_padded else self._computed(tiles)
        return np.log(np.maximum(probability, LEAST))

    def _padded(self, tiles, output):
        """Probabilities of output tiles by a head that mirrors the context of what it is given."""
        halo = geometry.halo(self.depth)
        height, width = output or (side - 2 * halo for side in tiles.shape[-2:])
        if not self._is_surrounded:
            return self._computed(tiles[..., halo : halo + height, halo : halo + width])
        tiles = np.pad(tiles, [(0, 0), (0, 0), *[(self._missing, 0)] * 2], "edge")
        start = halo + self._missing
        found = self._computed(tiles)
        return found[..., start : start + height, start : start + width]

    def _computed(self, tiles):
        return self._run(np.ascontiguousarray(tiles, np.float32))

    def fixed_for(self, image: np.ndarray) -> "FrozenPredictor":
        """Itself: its statistics, if it takes any, are those of the tile it is given.

        Raises
        ------
        InputError : the image has another number of channels than the network takes.
        """
        self._check_channels(image.shape[0] if len(image.shape) == 3 else 1)
        return self

    def _check_channels(self, given):
        if given != self.channels:
            raise InputError(f"image of {given} channels: the network takes {self.channels}")


def load_frozen(
    path: Path, memory: int | None = None, device: str = "auto", by_tiles: bool = False
):
    """Read a `.pt` or `.onnx` of `unet export`.

    Parameters
    ----------
    path : file.
    memory, device : see `unetcore.predict.Predictor`.
    by_tiles : see `FrozenPredictor`.

    Returns
    -------
    FrozenPredictor, and the description of the model.

    Raises
    ------
    InputError : the file is damaged or of another program, or cannot be computed where it shall.
    """
    place = choose_device(device)
    on_gpu = place.type == "cuda"
    content = path.read_bytes()
    is_script = path.suffix.lower() == ".pt"
    kind = "TorchScript" if is_script else "ONNX"
    try:
        if is_script:
            run, card = open_torchscript(content, place)
        else:
            run, card = open_onnx(content, on_gpu)
    except RuntimeError as error:
        raise InputError(f"{path}: no {kind}, or a damaged one ({first_line(error)})") from error
    if card is None or not str(card.get("made_by", "")).startswith("unetcore "):
        raise InputError(f"{path}: {kind} of another program: it does not say what it predicts")
    budget = memory_of(place) if memory is None else memory
    return FrozenPredictor(run, card, budget, on_gpu, by_tiles), card["training"]
