"""A network as bioimage.io package: what ilastik, deepImageJ and others open.

A description is of one function of an image. `rdf.yaml`, which programs look for first, describes
the padded head; `valid.bioimageio.yaml`, beside it, the valid one. Both are complete, and share
weights, text and picture.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping

import numpy as np
import torch
import yaml
from PIL import Image

from unetcore import geometry
from unetcore.checkpoint import pack_model
from unetcore.errors import InputError
from unetcore.export.card import TOLERANCE, Credits, model_card, readme
from unetcore.export.forms import WRITERS, largest_difference
from unetcore.export.heads import HEADS, Head
from unetcore.export.onnx_file import OPSET
from unetcore.export.sample import Sample, declared_halo, draw_sample, smallest_size
from unetcore.model import UNet

try:
    from bioimageio.spec import InvalidDescr, ModelDescr, ValidationContext, build_description
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("bioimageio"):
        raise
    ModelDescr = None

DESCRIPTIONS = {"padded": "rdf.yaml", "valid": "valid.bioimageio.yaml"}
WEIGHTS, CARD, README, COVER = "model.safetensors", "model.json", "README.md", "cover.png"
TITLE = re.compile(r"[A-Za-z0-9_+\- ()]{5,128}")  # what the specification allows
INPUT, OUTPUT = "image", "probability"
IN_WORDS = {
    "padded": "Any image size, same size out: the context is mirrored inside. Programs that cut "
    "an image into tiles crop the halo.",
    "valid": "Unpadded: input tiles whose context is there, output tiles without it.",
}


def pack_zip(network: UNet, description: dict, credits: Credits) -> tuple[dict, bytes]:
    """Make a bioimage.io package of both heads.

    Returns
    -------
    model card, content of the zip; equal models make equal bytes.

    Raises
    ------
    InputError : the library is not installed, or the credits break a rule of the specification.
    FloatingPointError : a form gives other probabilities than the network.
    """
    if ModelDescr is None:
        raise InputError(
            "a bioimage.io package needs the package bioimageio.core: "
            "pip install 'unetcore[export]'"
        )
    card, members = _members(network, description, credits)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(members):
            _add(archive, name, members[name])
        for head, name in DESCRIPTIONS.items():
            content = _description(head, network, card, members)
            _check(content, archive, name)
            _add(archive, name, yaml.dump(content, Dumper=_Plain, sort_keys=False).encode())
    return card, packed.getvalue()


class _Plain(yaml.SafeDumper):
    """Writes what stands in two places twice, without a reference."""

    def ignore_aliases(self, data):
        return True


def _add(archive, name, content):
    archive.writestr(zipfile.ZipInfo(name), content)  # without a date


def _members(network, description, credits):
    """Model card, and contents of all files but the descriptions, by name."""
    normalisation = description["training"]["normalisation"]
    samples = {head: draw_sample(network, head, normalisation) for head in HEADS}
    measured = {
        f"{head}{form}": largest_difference(form, head, network, samples[head])
        for head in HEADS
        for form in WRITERS
    }
    card = model_card(network, description, credits, heads=HEADS, differences=measured)
    members = {
        README: readme(card).encode(),
        CARD: json.dumps(card, indent=1).encode(),
        WEIGHTS: pack_model(network, description, card=json.dumps(card)),
        COVER: _cover(samples["padded"]),
    }
    for head, sample in samples.items():
        own = card | {"heads": [head]}
        members |= {f"{head}{form}": write(network, head, own) for form, write in WRITERS.items()}
        members[f"{head}_{INPUT}.npy"] = _npy(sample.drawn)
        members[f"{head}_{OUTPUT}.npy"] = _npy(sample.expected)
    return card, members


def _npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _cover(sample: Sample) -> bytes:
    """PNG of the drawn image and its probability side by side, each a square."""
    side = min(sample.drawn.shape[-2:])
    grey = sample.drawn[0, 0, :side, :side]
    probability = np.round(255 * sample.expected[0, -1, :side, :side]).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(np.concatenate((grey, probability), axis=1)).save(content, "PNG")
    return content.getvalue()


def _description(head: Head, network: UNet, card: dict, members: Mapping[str, bytes]) -> dict:
    """Description of a head, as the specification wants it."""

    def file(name, **more):
        return {"source": name, "sha256": hashlib.sha256(members[name]).hexdigest(), **more}

    unit = card["input"]["pixel_size_um"]
    comment = "Made from the trained weights, as all files here are; no format came first."
    content = {
        "format_version": ModelDescr.implemented_format_version,
        "type": "model",
        "name": card["title"],
        "description": f"U-Net that finds cells. {IN_WORDS[head]}",
        "authors": [{"name": name} for name in card["authors"]],
        "cite": card["cite"],
        "license": card["licence"],
        "documentation": file(README),
        "covers": [file(COVER)],
        "attachments": [file(CARD), file(WEIGHTS)],
        "tags": ["2d", "cells", "other", "pytorch", "semantic-segmentation", "unet"],
        "inputs": [
            _input(head, network.depth, card, unit) | {"test_tensor": file(f"{head}_{INPUT}.npy")}
        ],
        "outputs": [
            _output(head, network.depth, card, unit) | {"test_tensor": file(f"{head}_{OUTPUT}.npy")}
        ],
        "weights": {
            "torchscript": file(
                f"{head}.pt", pytorch_version=torch.__version__.partition("+")[0], comment=comment
            ),
            "onnx": file(
                f"{head}.onnx", opset_version=OPSET, parent="torchscript", comment=comment
            ),
        },
        "config": {
            "bioimageio": {
                "architecture_type": "U-Net",
                "model_parameter_count": card["parameters"],
                "reproducibility_tolerance": [
                    {
                        "relative_tolerance": 0,
                        "absolute_tolerance": TOLERANCE,
                        "mismatched_elements_per_million": 0,
                    }
                ],
            },
            "unetcore": {"head": head, **card["tiling"]},
        },
    }
    return {key: value for key, value in content.items() if value is not None}


def _input(head, depth, card, unit):
    """Image: sizes, grey values, and how they are normalised."""
    size = {"min": smallest_size(head, depth), "step": geometry.phase(depth)}
    given = card["input"]
    names = given["channel_names"] or [f"channel{k}" for k in range(given["channels"])]
    whole = {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["y", "x"]}}
    kinds = {
        "slice": ({"type": "float32"}, whole),
        # Grey values of 16 bit have another largest one, and a description can name but one type.
        "unit": (
            {"type": "uint8", "range": [0, 255]},
            {"id": "scale_linear", "kwargs": {"gain": 1 / 255}},
        ),
    }
    data, step = kinds[given["normalisation"]]
    to_float = {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}
    return {
        "id": INPUT,
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": names},
            *(_space(axis, unit) | {"size": size} for axis in "yx"),
        ],
        "data": data,
        "pad": {"mode": "reflect"},
        "preprocessing": [to_float, step, to_float],
    }


def _output(head, depth, card, unit):
    """Probabilities of the classes, and what is lost of the image."""
    n_classes = card["output"]["channels"]
    names = ["background", "cell"] if n_classes == 2 else [f"class{k}" for k in range(n_classes)]
    lost = 2 * geometry.halo(depth)
    halo = {"padded": {"halo": declared_halo(depth)}, "valid": {}}[head]
    offset = {"padded": 0, "valid": -lost}[head]
    return {
        "id": OUTPUT,
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": names},
            *(
                _space(axis, unit)
                | {"size": {"tensor_id": INPUT, "axis_id": axis, "offset": offset}}
                | halo
                for axis in "yx"
            ),
        ],
        "data": {"type": "float32", "range": [0, 1]},
    }


def _space(axis, unit):
    scale = {"unit": "micrometer", "scale": unit} if unit else {}
    return {"type": "space", "id": axis, **scale}


def _check(content: dict, files: zipfile.ZipFile, name: str) -> None:
    """Let the library check a description and all files that it names; nothing is fetched."""
    context = ValidationContext(
        root=files, file_name=name, perform_io_checks=True, log_warnings=False
    )
    found = build_description(content, context=context)
    if not isinstance(found, InvalidDescr):
        return
    errors = [error for detail in found.validation_summary.details for error in detail.errors]
    rules = {
        "license": f"licence {content.get('license')!r}: need an SPDX identifier, as CC-BY-4.0",
        "name": f"title {content['name']!r}: need 5 to 128 of the characters a-z, A-Z, 0-9, "
        "_ + - ( ) and blanks",
        "authors": f"authors {[a['name'] for a in content['authors']]}: a name has no slash",
    }
    for place, rule in rules.items():
        if any(place in error.loc for error in errors):
            raise InputError(rule)
    raise ValueError(f"{name}: {[(error.loc, error.msg) for error in errors]}")
