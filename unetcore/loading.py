"""Trained networks, wherever they are kept, ready to predict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unetcore.errors import InputError
from unetcore.exported import FrozenPredictor, load_predictor
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


def load(path: Path, **how) -> LoadedModel:
    """Load a trained network.

    Parameters
    ----------
    path, how : as of `unetcore.exported.load_predictor`.

    Raises
    ------
    InputError : as there.
    """
    predictor, description = load_predictor(path, **how)
    return LoadedModel(Path(path), predictor, description)


def model_file(path: Path) -> Path:
    """Safetensors file of a folder of `unet train`, or that file itself.

    Raises
    ------
    InputError : another form of model, which cannot predict chunk by chunk.
    """
    path = Path(path)
    if path.suffix != SUFFIX and not path.is_dir():
        raise InputError(
            f"{path}: OUT.zarr, chunk by chunk, needs a folder of `unet train` or a {SUFFIX}"
        )
    return path if path.suffix == SUFFIX else RunFolder(path).model
