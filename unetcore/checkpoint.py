"""Reading and writing models (safetensors)."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from unetcore.data.files import write_atomically
from unetcore.errors import InputError
from unetcore.families import rebuild_network

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
    metadata = {
        "format": FORMAT,
        "family": network.family,
        "network": json.dumps(network.settings),
        "description": json.dumps(description),
    }
    weights = {name: w.detach().cpu().contiguous() for name, w in network.state_dict().items()}
    write_atomically(path, _in_order(save(weights, metadata)))


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
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: format {metadata.get('format')!r}, need {FORMAT!r}")
    family = metadata.get("family", "u-net")  # earlier releases knew no other
    network = rebuild_network(family, json.loads(metadata["network"]))
    network.load_state_dict(weights)
    return network.eval(), json.loads(metadata["description"])


def _in_order(content: bytes) -> bytes:
    """Sort the names in the header, whose order the library draws anew each time.

    A safetensors file is the length of the header in 8 bytes, the header as JSON, padded to a
    multiple of 8, and the tensors, at offsets that count from the end of the header.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]
