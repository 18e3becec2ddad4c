"""Writes the page."""

import functools
import html
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from unetcore.data.files import check_space, replacing
from unetcore.errors import InputError
from unetcore.view import curves
from unetcore.view.pixels import (
    LEVELS,
    as_grey,
    contrast,
    levels,
    mean_of_blocks,
    middle_of_blocks,
    outlines,
    packed,
    shown_channels,
    two_bytes,
)

MAX_SIDE = 1024  # px
MAX_BYTES = 25_000_000
MOST_SAMPLES = 8  # slices that tell contrast and size of all
SCRIPTS = ("unpack.js", "objects.js", "stage.js", "plots.js", "view.js")
MOST_IDS = 65_535


@dataclass(frozen=True)
class View:
    """What a page shows of a stack.

    Attributes
    ----------
    pages : slices on the page, by their numbers in the stack.
    n_slices : int, of the stack.
    factor : px of the stack per px of the page, along each side.
    n_bytes : size of the file.
    """

    pages: tuple[int, ...]
    n_slices: int
    factor: int
    n_bytes: int


def write_view(
    path: Path,
    images,
    probability,
    *,
    labels=None,
    ignored=None,
    segmentation=None,
    metrics: Mapping[str, Mapping] | None = None,
    title: str = "Prediction",
    names: Sequence[str] | None = None,
    threshold: float = 0.5,
    smallest_object: int = 500,
    fill_holes: bool = False,
    border: int = 0,
    pixel_size: float | None = None,
    pages: Sequence[int] | None = None,
    max_side: int = MAX_SIDE,
    max_bytes: int = MAX_BYTES,
    remark: str = "",
) -> View:
    """Write one HTML file in which a prediction can be looked at, from anywhere and offline.

    Its thresholds are multiples of 0.005; at these the page's mask is that of the map as it was
    given, and its objects are those of `unetcore.instances.instances`.

    Parameters
    ----------
    path : file to write.
    images : (N, H, W) or (N, C, H, W) array of numbers; this and the next four may be anything with
        a shape that gives slices by their numbers, of which those are read that are shown. Of three
        channels and more the first three are red, green and blue; of two the first is grey.
    probability : (N, H, W) float array in [0, 1], of cell interior.
    labels : (N, H, W) array of whole numbers, reference: a mask or instance ids.
    ignored : (N, H, W) bool array, pixels of unknown class.
    segmentation : (N, H, W) array of whole numbers up to 65,535, cells that were segmented before.
    metrics : of the whole stack, as `unetcore.evaluate.evaluate` returns them.
    title : heading.
    names : N names of slices, for instance frames; None: their numbers alone.
    threshold : at the beginning, in [0, 1].
    smallest_object : px; objects up to this area are left out at the beginning.
    fill_holes : whether holes of objects are filled, at the beginning.
    border : px; objects that lie wholly in a margin of this width are left out.
    pixel_size : side of a pixel in um; None: areas and lengths are in px.
    pages : slices to be shown, by their numbers; None: all.
    max_side : px; larger images are reduced by a whole factor. Areas stay those of the stack.
    max_bytes : of slices that the file cannot hold within this size, as many as it can are shown,
        evenly spread, at least one.
    remark : sentence below the page's own about itself, for instance why there are no metrics.

    Returns
    -------
    View : what is shown.

    Raises
    ------
    InputError : shapes that differ, a slice that is not there, ids above 65,535.
    """
    stacks = {
        "images": images,
        "probability": probability,
        "labels": labels,
        "ignored": ignored,
        "segmentation": segmentation,
    }
    n_slices, height, width = _checked_shape(stacks)
    wanted = _checked_pages(pages, n_slices)
    factor = math.ceil(max(height, width) / max_side)
    metrics = metrics or {}
    data = {
        "levels": LEVELS,
        "width": width // factor,
        "height": height // factor,
        "factor": factor,
        "nSlices": n_slices,
        "nWanted": len(wanted),
        "threshold": threshold,
        "smallestObject": smallest_object,
        "fillHoles": fill_holes,
        "border": border / factor,
        "pixelSize": pixel_size,
        "curves": curves.curves(metrics),
        "scores": curves.scores(metrics),
        "places": curves.places(metrics, wanted, factor),
        "remark": remark,
        "slices": [],
    }
    write = _slice_writer(stacks, names, _sample(wanted, MOST_SAMPLES), factor)
    shown = _within(write, wanted, max_bytes - len(_page(title, data)))
    data["places"] = curves.places(metrics, shown, factor)
    data["slices"] = [write(z) for z in shown]
    text = _page(title, data).encode("utf-8")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    check_space(path, len(text))
    with replacing(path) as temporary:
        temporary.write_bytes(text)
    return View(tuple(shown), n_slices, factor, len(text))


def _checked_shape(stacks: Mapping[str, Any]) -> tuple[int, int, int]:
    """Slices, height and width, which all stacks have in common."""
    n, height, width = stacks["probability"].shape
    for name, stack in stacks.items():
        if stack is not None and (stack.shape[0], *stack.shape[-2:]) != (n, height, width):
            raise InputError(
                f"{name} {tuple(stack.shape)} and probability {(n, height, width)}: slices of the "
                "same number and size are needed"
            )
    return n, height, width


def _checked_pages(pages: Sequence[int] | None, n_slices: int) -> list[int]:
    chosen = list(range(n_slices)) if pages is None else list(pages)
    if not chosen or not all(0 <= z < n_slices for z in chosen):
        raise InputError(f"slices {chosen}, counted from 0: the stack has {n_slices}")
    return chosen


def _slice_writer(
    stacks: Mapping[str, Any], names: Sequence[str] | None, samples: Sequence[int], factor: int
) -> Callable[[int], dict[str, Any]]:
    """Function of a slice's number that returns what the page holds of it."""
    images = stacks["images"]
    grey = contrast([shown_channels(np.asarray(images[z])) for z in samples])

    @functools.cache
    def written(z):
        image = mean_of_blocks(shown_channels(np.asarray(images[z])), factor)
        probability = mean_of_blocks(np.asarray(stacks["probability"][z]), factor)
        found = {
            "z": z,
            "name": names[z] if names else "",
            "image": packed(as_grey(image, grey)),
            "level": packed(levels(probability)),
        }
        if stacks["labels"] is not None:
            found["reference"] = packed(_reference(stacks, z, factor))
        if stacks["segmentation"] is not None:
            found["cells"] = packed(two_bytes(_cells(stacks["segmentation"], z, factor)))
        return found

    return written


def _reference(stacks: Mapping[str, Any], z: int, factor: int) -> np.ndarray:
    labels = middle_of_blocks(np.asarray(stacks["labels"][z]), factor)
    if stacks["ignored"] is None:
        return outlines(labels)
    return outlines(labels, middle_of_blocks(np.asarray(stacks["ignored"][z], bool), factor))


def _cells(segmentation, z: int, factor: int) -> np.ndarray:
    ids = middle_of_blocks(np.asarray(segmentation[z]), factor)
    if ids.max(initial=0) > MOST_IDS:
        raise InputError(f"segmentation, slice {z}: id {ids.max()}, need at most {MOST_IDS}")
    return ids


def _within(write: Callable, wanted: list[int], max_bytes: int) -> list[int]:
    """As many of the wanted slices as the bytes hold, evenly spread."""
    largest = max(_size(write(z)) for z in _sample(wanted, MOST_SAMPLES))
    return _sample(wanted, max(1, max_bytes // largest))


def _size(found: Mapping[str, Any]) -> int:
    return len(json.dumps(found)) + 2  # a comma and a blank


def _sample(numbers: list[int], n: int) -> list[int]:
    """At most `n` of the numbers, evenly spread; the first is always one."""
    if n >= len(numbers):
        return numbers
    return [numbers[i * len(numbers) // n] for i in range(n)]


def _page(title: str, data: Mapping[str, Any]) -> str:
    """Fill the page with its title, its style, its data and its program."""
    parts = {
        "title": html.escape(title),
        "style": _asset("view.css"),
        "data": json.dumps(data).replace("<", "\\u003c"),  # no end of a script inside of one
        "script": "\n".join(map(_asset, SCRIPTS)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return files("unetcore.view").joinpath(name).read_text("utf-8")
