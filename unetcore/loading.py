"""Trained networks, wherever they are kept, ready to predict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from unetcore.checkpoint import load_model
from unetcore.errors import InputError
from unetcore.predict import Predictor
from unetcore.recipes import FAST
from unetcore.runs import RunFolder

SUFFIX = ".safetensors"


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
    predictor: Predictor
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
) -> LoadedModel:
    """Load a trained network.

    Parameters
    ----------
    path : folder that `unet train` made, or a model in safetensors.
    precision, memory, device : as of `unetcore.predict.Predictor`.

    Raises
    ------
    InputError : nothing is there, the training is unfinished, or the file is no model of ours.
    """
    network, description = load_network(path)
    return LoadedModel(path, Predictor(network, precision, memory, device), description)


def load_network(path: Path) -> tuple[nn.Module, dict]:
    """Network and description of a folder of `unet train`, or of its model's file."""
    path = Path(path)
    if path.suffix == SUFFIX:
        return load_model(path)
    if path.is_file():
        raise InputError(
            f"{path}: a file of type {path.suffix or 'none'}, expected a folder of `unet train` or "
            f"a model {SUFFIX}"
        )
    return RunFolder(path).load()


def model_file(path: Path) -> Path:
    """Safetensors file of what `load_network` takes."""
    return path if path.suffix == SUFFIX else RunFolder(path).model
