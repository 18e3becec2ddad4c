"""Any model that predicts: a run's folder, or a file that `unet export` wrote."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torch import nn

from unetcore import geometry
from unetcore.checkpoint import load_model
from unetcore.devices import choose_device
from unetcore.errors import InputError, first_line
from unetcore.export.onnx_file import open_onnx
from unetcore.export.package import WEIGHTS
from unetcore.export.torchscript import open_torchscript
from unetcore.predict import Predictor, memory_of
from unetcore.runs import RunFolder
from unetcore.tiling import NetworkTraits

LEAST = np.finfo(np.float32).tiny  # probability 0 has no logarithm
KINDS = "a folder of `unet train`, or a .safetensors, .zip, .pt or .onnx of `unet export`"


class FrozenPredictor:
    """An exported head as the array function that `predict_tiled` wants.

    A head that mirrors its context itself, or normalises its maps, is given whole images. It tells
    logarithms of probabilities, which are scores: their softmax is the probabilities.

    Parameters
    ----------
    run : maps (B, C, H, W) float32 arrays to probabilities.
    card : model card of the file.
    memory : bytes that one call may take.
    on_gpu : whether it runs on a GPU.

    Attributes
    ----------
    depth, traits, channels : see `unetcore.predict.Predictor`.
    """

    def __init__(self, run: Callable, card: dict, memory: int, on_gpu: bool = False):
        network = card["network"]
        (head,) = card["heads"]
        self.depth, self.channels = network["depth"], network["in_channels"]
        self._run, self._is_padded = run, head == "padded"
        self.traits = NetworkTraits(
            width=network["width"],
            crops=self._is_padded,
            on_gpu=on_gpu,
            memory=memory,
            whole=self._is_padded or network["normalised"],
        )

    def __call__(self, tiles: np.ndarray, output: tuple[int, int] | None = None) -> np.ndarray:
        """Scores (B, K, h - 184, w - 184) of input tiles (B, C, h, w), float32.

        With `output`, (h, w) in px, only the upper left part of each output tile is computed.
        """
        self._check_channels(tiles.shape[1])
        if self._is_padded:
            halo = geometry.halo(self.depth)
            height, width = output or (side - 2 * halo for side in tiles.shape[-2:])
            tiles = tiles[..., halo : halo + height, halo : halo + width]
        probability = self._run(np.ascontiguousarray(tiles, np.float32))
        return np.log(np.maximum(probability, LEAST))

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


def load_predictor(
    path: Path, precision: str = "auto", memory: int | None = None, device: str = "auto"
) -> tuple[Predictor | FrozenPredictor, dict]:
    """Read a model of any form.

    Parameters
    ----------
    path : folder of a run, `.safetensors`, `.zip`, `.pt` or `.onnx`.
    precision, memory, device : see `unetcore.predict.Predictor`. `.pt` and `.onnx` compute in
        float32.

    Returns
    -------
    predictor, for `unetcore.predict.predict_probability`; description of the model.

    Raises
    ------
    InputError : the file is absent, damaged or of another program, or cannot do what is asked for.
    """
    path = Path(path)
    if path.suffix.lower() not in (".pt", ".onnx"):
        network, description = load_network(path)
        return Predictor(network, precision, memory, device), description
    if precision == "bfloat16":
        raise InputError(
            f"{path}: computes in float32 alone; .safetensors and .zip in bfloat16 too"
        )
    place = choose_device(device)
    run, card = _open(path, place, device)
    budget = memory_of(place) if memory is None else memory
    return FrozenPredictor(run, card, budget, place.type == "cuda"), card["training"]


def load_network(path: Path) -> tuple[nn.Module, dict]:
    """Read the network of a run's folder, a `.safetensors` or a `.zip`, and its description.

    Raises
    ------
    InputError : there is none; a `.zip` is damaged or of another program.
    """
    path = Path(path)
    if path.is_dir():
        return RunFolder(path).load()
    if not path.is_file():
        raise InputError(f"{path}: no such model; need {KINDS}")
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return _from_zip(path)
    if suffix != ".safetensors":
        raise InputError(f"{path}: need {KINDS}")
    return load_model(path)


def _from_zip(path):
    """Network and description of the weights in a package."""
    try:
        with zipfile.ZipFile(path) as archive, TemporaryDirectory() as folder:
            if WEIGHTS not in archive.namelist():
                raise InputError(
                    f"{path}: holds no {WEIGHTS}: packages of other programs cannot be predicted "
                    "with here"
                )
            member = Path(archive.extract(WEIGHTS, folder))
            try:
                return load_model(member)
            except InputError as error:
                raise InputError(str(error).replace(str(member), f"{path}: {WEIGHTS}")) from error
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: no zip, or a damaged one ({first_line(error)})") from error


def _open(path, place, device):
    """Function of a head, and its model card."""
    if not path.is_file():
        raise InputError(f"{path}: no such model; need {KINDS}")
    content = path.read_bytes()
    is_script = path.suffix.lower() == ".pt"
    kind = "TorchScript" if is_script else "ONNX"
    try:
        if is_script:
            run, card = open_torchscript(content, place)
        else:
            run, card = open_onnx(content, place.type == "cuda")
    except RuntimeError as error:
        raise InputError(f"{path}: no {kind}, or a damaged one ({first_line(error)})") from error
    if card is None:
        raise InputError(f"{path}: {kind} of another program: it does not say what it predicts")
    return run, card
