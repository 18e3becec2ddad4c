"""Reading and writing models (safetensors)."""

import json
from pathlib import Path

from torch import nn

from unetcore.data.files import write_atomically
from unetcore.errors import InputError
from unetcore.families import rebuild_network
from unetcore.tensor_file import pack_tensors, read_tensors

FORMAT = "unetcore-1"


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
    weights, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: format {metadata.get('format')!r}, need {FORMAT!r}")
    family = metadata.get("family", "u-net")  # earlier releases knew no other
    network = rebuild_network(family, json.loads(metadata["network"]))
    network.load_state_dict(weights)
    return network.eval(), json.loads(metadata["description"])
