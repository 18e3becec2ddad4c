"""Trained networks, wherever they are kept, ready to predict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from unetcore.checkpoint import ZIP, load_model
from unetcore.errors import InputError
from unetcore.frozen import FrozenPredictor, load_frozen
from unetcore.predict import Predictor
from unetcore.recipes import FAST
from unetcore.runs import RunFolder

SUFFIX, FROZEN = ".safetensors", (".pt", ".onnx")
KINDS = f"a folder of `unet train` or a model {SUFFIX} or {ZIP} of `unet export`"


@dataclass(frozen=True)
class LoadedModel:
    """A network that predicts, and what its file says of it.

    Attributes
    ----------
    path : file or folder.
    predictor : the network.
    description : what was stored with it.
    """

    path: Path
    predictor: Predictor | FrozenPredictor
    description: Mapping

    @property
    def normalisation(self) -> str:
        """How grey values become its input, see `unetcore.data.intensity`."""
        return self.description["training"]["normalisation"]

    @property
    def channels(self) -> Sequence[str] | None:
        """Names of its channels, None if it does not say."""
        return self.description.get("channels")

    @property
    def pixel_size(self) -> float | None:
        """Side in um of the pixels it was trained on, None if it does not say."""
        return self.description.get("pixel_size_um")

    @property
    def postprocessing(self) -> dict:
        """Arguments of `unetcore.instances.instances`; what it does not say is the recipe's."""
        said = self.description.get("postprocessing") or {}
        return {name: said.get(name, value) for name, value in FAST.postprocessing.items()}


def load_predictor(
    path: Path,
    *,
    precision: str = "auto",
    memory: int | None = None,
    device: str = "auto",
    by_tiles: bool = False,
) -> LoadedModel:
    """Load a trained network.

    Parameters
    ----------
    path : folder that `unet train` made, or a `.safetensors`, `.zip`, `.pt` or `.onnx` of
        `unet export`.
    precision, memory, device : as of `unetcore.predict.Predictor`. `.pt` and `.onnx` compute in
        float32.
    by_tiles : whether tiles are wanted of images that are too large to be one; else a `.pt` or
        `.onnx` that mirrors the context itself is given whole images, which costs less.

    Raises
    ------
    InputError : nothing is there, the training is unfinished, the file is damaged or no model of
        ours, or it cannot do what is asked for.
    """
    path = Path(path)
    if path.suffix.lower() in FROZEN and path.is_file():
        if precision == "bfloat16":
            raise InputError(
                f"{path}: computes in float32 alone; in bfloat16 do .safetensors and .zip"
            )
        return LoadedModel(path, *load_frozen(path, memory, device, by_tiles))
    network, description = load_network(path)
    return LoadedModel(path, Predictor(network, precision, memory, device), description)


def load_network(path: Path) -> tuple[nn.Module, dict]:
    """Network and description of a folder of `unet train`, a `.safetensors` or a `.zip`.

    Raises
    ------
    InputError : as of `load_predictor`; of a `.pt` or `.onnx` the network cannot be had.
    """
    path = Path(path)
    form = path.suffix.lower()
    if form == SUFFIX:
        return load_model(path)
    if not path.is_file():
        if form in (ZIP, *FROZEN):
            raise InputError(f"{path}: no such model file")
        return RunFolder(path).load()
    if form == ZIP:
        return load_model(path)
    why = "holds a fixed graph" if form in FROZEN else f"a file of type {path.suffix or 'none'}"
    raise InputError(f"{path}: {why}, expected {KINDS}")


def model_file(path: Path) -> Path:
    """File that holds a model: that of a folder of `unet train`, or the path itself."""
    path = Path(path)
    return RunFolder(path).model if path.is_dir() else path
