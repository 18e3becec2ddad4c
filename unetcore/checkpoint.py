"""Reading and writing models (safetensors) and the state of an unfinished training."""

import io
import json
import logging
import os
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from unetcore.errors import InputError
from unetcore.model import UNet

logger = logging.getLogger(__name__)

FORMAT = "unetcore-1"


def save_model(path: Path, network: UNet, description: dict) -> None:
    """Write weights, the network's settings and a description to one safetensors file.

    Parameters
    ----------
    description : what a user of the model must know (normalisation, threshold, provenance), as
        plain JSON values.
    """
    metadata = {
        "format": FORMAT,
        "network": json.dumps(network.settings),
        "description": json.dumps(description),
    }
    weights = {name: w.detach().cpu().contiguous() for name, w in network.state_dict().items()}
    write_atomically(path, save(weights, metadata))


def load_model(path: Path) -> tuple[UNet, dict]:
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
    network = UNet(**json.loads(metadata["network"]))
    network.load_state_dict(weights)
    return network.eval(), json.loads(metadata["description"])


def save_state(path: Path, state: dict) -> None:
    """Write the state of an unfinished training: tensors, numbers, strings, lists and dicts."""
    content = io.BytesIO()  # torch hides a full disk behind an error of its own
    torch.save(state, content)
    write_atomically(path, content.getvalue())


def load_state(path: Path) -> dict | None:
    """Read the state of an unfinished training, or None if there is none that can be read."""
    if not Path(path).is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        logger.warning("%s is damaged (%s): starting anew", path, reason)
        return None


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, also after a power cut.

    Raises
    ------
    OSError : the file cannot be written; it carries the file's name, and nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        error.filename = str(path)
        raise
