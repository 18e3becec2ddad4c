"""Reading and writing models (safetensors)."""

import json
import zipfile
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from unetcore.data.files import write_atomically
from unetcore.errors import InputError, first_line
from unetcore.families import rebuild_network
from unetcore.tensor_file import pack_tensors, read_tensors

FORMAT = "unetcore-1"
# Damaged, cut short, encrypted, or packed in a way that is not known here.
OF_DAMAGED_ZIPS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)
ZIP, WEIGHTS = ".zip", "model.safetensors"  # a package of `unet export`, and the file in it


def save_model(path: Path, network: nn.Module, description: dict) -> None:
    """Write weights, the network's settings and a description to one safetensors file.

    The same content makes the same bytes.

    Parameters
    ----------
    network : UNet or another of `unetcore.families`.
    description : what a user of the model must know (normalisation, threshold, provenance), as
        plain JSON values.
    """
    write_atomically(path, pack_model(network, description))


def pack_model(network: nn.Module, description: dict, **more: str) -> bytes:
    """Content of the file that `save_model` writes, with more strings that only people look at."""
    metadata = {
        "format": FORMAT,
        "family": network.family,
        "network": json.dumps(network.settings),
        "description": json.dumps(description),
    }
    return pack_tensors(network.state_dict(), metadata | more)


def load_model(path: Path) -> tuple[nn.Module, dict]:
    """Read a model that `save_model` wrote.

    Parameters
    ----------
    path : the file, or a package of `unet export` that holds it.

    Returns
    -------
    network in evaluation mode on the CPU, description.

    Raises
    ------
    InputError : the file is absent, damaged or not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    if path.suffix.lower() == ZIP:
        return _from_zip(path)
    weights, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: format {metadata.get('format')!r}, need {FORMAT!r}")
    family = metadata.get("family", "u-net")  # earlier releases knew no other
    network = rebuild_network(family, json.loads(metadata["network"]))
    network.load_state_dict(weights)
    return network.eval(), json.loads(metadata["description"])


def _from_zip(path: Path) -> tuple[nn.Module, dict]:
    """Network and description of the weights in a package."""
    try:
        with zipfile.ZipFile(path) as archive, TemporaryDirectory() as folder:
            if WEIGHTS not in archive.namelist():
                raise InputError(
                    f"{path}: holds no {WEIGHTS}: packages of other programs cannot be predicted "
                    "with here"
                )
            member = _extracted(archive, folder, path)
            try:
                return load_model(member)
            except InputError as error:
                raise InputError(str(error).replace(str(member), f"{path}: {WEIGHTS}")) from error
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: no zip, or a damaged one ({first_line(error)})") from error


def _extracted(archive: zipfile.ZipFile, folder: str, path: Path) -> Path:
    """File of the weights, taken out of a package."""
    try:
        return Path(archive.extract(WEIGHTS, folder))
    except OF_DAMAGED_ZIPS as error:
        raise InputError(f"{path}: a damaged zip ({first_line(error)})") from error
