"""A trained network as a file that other programs can use.

The suffix says which: `.safetensors` weights as they were trained, `.pt` TorchScript, `.onnx` ONNX,
`.zip` a bioimage.io package with all of these, `.md` the model card for people alone.
"""

import json
from pathlib import Path

from torch import nn

from unetcore.checkpoint import pack_model
from unetcore.data.files import check_space, write_atomically
from unetcore.errors import InputError
from unetcore.export.card import NOBODY, Credits, model_card, readme
from unetcore.export.forms import WRITERS, largest_difference
from unetcore.export.heads import Head
from unetcore.export.package import pack_zip
from unetcore.export.sample import draw_sample

SUFFIXES = (".zip", ".onnx", ".pt", ".safetensors", ".md")


def export_model(
    network: nn.Module,
    description: dict,
    out: Path,
    *,
    head: Head | None = None,
    credits: Credits = NOBODY,
) -> dict:
    """Write a trained network in the form that the suffix of `out` names.

    Parameters
    ----------
    network : UNet in evaluation mode on the CPU; as `.safetensors` or `.md` another of
        `unetcore.families` too.
    description : as kept with the model.
    out : file to be made or replaced; its folder is made where it is missing.
    head : "padded" or "valid", for `.pt` and `.onnx`; None takes the padded one.
    credits : title, licence and authors, for the model card.

    Returns
    -------
    Model card.

    Raises
    ------
    InputError : unknown suffix, a head for a form that has none or both, credits that the package
        may not have, a library that is not installed, or no room on the disk.
    FloatingPointError : a form gives other probabilities than the network.
    """
    out = Path(out)
    form = check_name(out, head)
    if form in WRITERS:
        card, content = _one_head(network, description, form, head or "padded", credits)
    elif form == ".zip":
        card, content = pack_zip(network, description, credits)
    else:
        card = model_card(network, description, credits)
        is_text = form == ".md"
        content = readme(card).encode() if is_text else _weights(network, description, card)
    out.parent.mkdir(parents=True, exist_ok=True)
    check_space(out, len(content))
    write_atomically(out, content)
    return card


def check_name(out: Path, head: Head | None = None) -> str:
    """Form that the name of a file asks for.

    Raises
    ------
    InputError : unknown suffix, or a head for a form that has none or both.
    """
    form = out.suffix.lower()
    if form not in SUFFIXES:
        raise InputError(f"{out}: need a name that ends in one of {', '.join(SUFFIXES)}")
    if head is not None and form not in WRITERS:
        raise InputError(f"{out}: a head is chosen for .pt and .onnx; a .zip holds both")
    return form


def _one_head(network, description, form, head, credits):
    """Card and content of a file of one head."""
    sample = draw_sample(network, head, description["training"]["normalisation"])
    measured = {f"{head}{form}": largest_difference(form, head, network, sample)}
    card = model_card(network, description, credits, heads=(head,), differences=measured)
    return card, WRITERS[form](network, head, card)


def _weights(network, description, card):
    """Content of a safetensors file, with the card where people and model hubs find it."""
    return pack_model(network, description, card=json.dumps(card))
