"""A network as bioimage.io package: what ilastik, deepImageJ and others open.

A description is of one function of an image, and of one way to cut images for it. So there are
three, which share weights, text and picture: `rdf.yaml`, which programs look for first, is for
those that cut an image into tiles; `whole.bioimageio.yaml` is for images that are given as a whole;
both are of the padded head. `valid.bioimageio.yaml` is of the valid one.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import yaml
from PIL import Image

from unetcore import geometry
from unetcore.checkpoint import WEIGHTS, pack_model
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

CARD, README, COVER = "model.json", "README.md", "cover.png"
INPUT, OUTPUT = "image", "probability"


@dataclass(frozen=True)
class Way:
    """How images are cut for a head.

    Attributes
    ----------
    head : "padded" or "valid".
    smallest, step : sides that fit are smallest + step k, px.
    halo : px on every side of what comes out that a program crops; 0 for none.
    lost : px by which what comes out is smaller, both sides together.
    words : the same, for people.
    """

    head: Head
    smallest: int
    step: int
    halo: int
    lost: int
    words: str


def ways(depth: int) -> dict[str, Way]:
    """Ways to cut images, by the names of their descriptions."""
    period, lost = geometry.phase(depth), 2 * geometry.halo(depth)
    in_tiles, in_full = smallest_size("padded", depth), smallest_size("valid", depth)
    return {
        "rdf.yaml": Way(
            "padded",
            in_tiles,
            period,
            declared_halo(depth),
            0,
            "For programs that cut an image into tiles: they crop a halo, and mirror the border.",
        ),
        "whole.bioimageio.yaml": Way(
            "padded",
            1,
            1,
            0,
            0,
            "For whole images of any size: the border is mirrored inside.",
        ),
        "valid.bioimageio.yaml": Way(
            "valid",
            in_full,
            period,
            0,
            lost,
            f"For input tiles with their context, of which {lost // 2} px are lost on every side.",
        ),
    }


def pack_zip(network: UNet, description: dict, credits: Credits) -> tuple[dict, bytes]:
    """Make a bioimage.io package of both heads.

    Returns
    -------
    model card, content of the zip.

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
        for name, way in ways(network.depth).items():
            content = _description(way, card, members)
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


def _description(way: Way, card: dict, members: Mapping[str, bytes]) -> dict:
    """Description of a head, as the specification wants it."""

    def file(name, **more):
        return {"source": name, "sha256": hashlib.sha256(members[name]).hexdigest(), **more}

    head = way.head
    comment = "Made from the trained weights, as all files here are; no format came first."
    content = {
        "format_version": ModelDescr.implemented_format_version,
        "type": "model",
        "name": card["title"],
        "description": f"U-Net that finds cells. {way.words}",
        "authors": [{"name": name} for name in card["authors"]],
        "cite": card["cite"],
        "license": card["licence"],
        "documentation": file(README),
        "covers": [file(COVER)],
        "attachments": [file(CARD), file(WEIGHTS)],
        "tags": ["2d", "cells", "other", "pytorch", "semantic-segmentation", "unet"],
        "inputs": [_input(way, card) | {"test_tensor": file(f"{head}_{INPUT}.npy")}],
        "outputs": [_output(way, card) | {"test_tensor": file(f"{head}_{OUTPUT}.npy")}],
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


def _input(way, card):
    """Image: sizes, grey values, and how they are normalised."""
    given = card["input"]
    names = given["channel_names"] or [f"channel{k}" for k in range(given["channels"])]
    data, normalisation = {
        "slice": (
            {"type": "float32"},
            {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["y", "x"]}},
        ),
        # Grey values of 16 bit have another largest one, and a description can name but one type.
        "unit": (
            {"type": "uint8", "range": [0, 255]},
            {"id": "scale_linear", "kwargs": {"gain": 1 / 255}},
        ),
    }[given["normalisation"]]
    to_float = {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}
    size = {"min": way.smallest, "step": way.step}
    return {
        "id": INPUT,
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": names},
            *(_space(axis, card) | {"size": size} for axis in "yx"),
        ],
        "data": data,
        "pad": {"mode": "reflect"},
        "preprocessing": [to_float, normalisation, to_float],
    }


def _output(way, card):
    """Probabilities of the classes, and what is lost of the image or to be cropped."""
    n_classes = card["output"]["channels"]
    names = ["background", "cell"] if n_classes == 2 else [f"class{k}" for k in range(n_classes)]
    halo = {"halo": way.halo} if way.halo else {}
    return {
        "id": OUTPUT,
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": names},
            *(
                _space(axis, card)
                | {"size": {"tensor_id": INPUT, "axis_id": axis, "offset": -way.lost}}
                | halo
                for axis in "yx"
            ),
        ],
        "data": {"type": "float32", "range": [0, 1]},
    }


def _space(axis, card):
    side = card["input"]["pixel_size_um"]
    return {"type": "space", "id": axis, **({"unit": "micrometer", "scale": side} if side else {})}


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
        if any(error.loc[:1] == (place,) for error in errors):
            raise InputError(rule)
    raise ValueError(f"{name}: {[(error.loc, error.msg) for error in errors]}")
