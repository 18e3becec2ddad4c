"""`unet evaluate`: one prediction by its labels, or all results of a folder by theirs."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import typer

from unetcore import cli_options as options
from unetcore.cli_results import evaluate_results
from unetcore.data.annotated import IN_ONE_PIECE, read_reference
from unetcore.data.entry import SUFFIXES as OF_ENTRIES
from unetcore.data.files import is_folder
from unetcore.data.io import check_pair, open_known, open_labels, open_probability, to_unit_range
from unetcore.data.label_map import LabelMap
from unetcore.data.pictures import FORMATS, read_grey
from unetcore.data.predicted import holds_results, read_results
from unetcore.data.rois import SUFFIXES as OF_REGIONS
from unetcore.data.rois import placed_by_number
from unetcore.data.stacks import TIFF_SUFFIXES, open_stack
from unetcore.errors import InputError
from unetcore.exchanged import remark, sides_of
from unetcore.instances import Parts
from unetcore.labels import named_whole_numbers
from unetcore.terminal import is_quiet, metrics_table

# Metrics need numba, which takes a moment to import; they are imported where needed.


def evaluate(
    labels: options.Reference,
    probability: options.Probability,
    out: options.TableOut = None,
    segmentation: options.IsSegmentation = False,
    as_json: options.AsJson = False,
    unscaled: options.Unscaled = False,
    threads: options.Threads = 1,
    fill_missing: options.FillMissingLabels = False,
    labels_are: options.LabelsAre = None,
    label_map: options.LabelMapText = None,
    ignore_label: options.IgnoreLabel = None,
) -> None:
    """Compare a prediction with labels.

    Of a probability: warping, Rand and pixel error (2012), V_rand and V_info (later), each at its
    best threshold. Of a segmentation: SEG and IoU of the cell tracking challenge. What is ignored
    counts nowhere.

    Of a folder that `unet predict -o FOLDER` wrote: a row for each image, and of all together. By a
    mask all of these, by instances SEG and IoU. Without --label-map, labels mean what dataset.yaml
    says, or what those of the training meant.
    """
    of_files = {
        "--segmentation": segmentation,
        "--unscaled": unscaled,
        "--fill-missing": fill_missing,
    }
    if _are_results(labels, probability):
        for option, given in of_files.items():
            if given:
                raise InputError(f"{option} is for two files; {probability} is a folder of results")
        said = {"labels_are": labels_are, "label_map": label_map, "ignore_label": ignore_label}
        evaluate_results(labels, probability, out, said, threads=threads, as_json=as_json)
        return
    if out is not None:
        raise InputError(f"--out is for a folder of results; {probability} is none")
    if labels_are is not None and not segmentation:
        raise InputError("--labels-are is for --segmentation, and for a folder of results")
    if segmentation and (unscaled or threads > 1):
        raise InputError("--unscaled and --threads are for a probability, not for --segmentation")
    meanings = LabelMap.given(label_map, ignore_label)
    if segmentation:
        values = _of_segmentation(labels, probability, meanings, labels_are, fill_missing)
    else:
        values = _of_probability(labels, probability, meanings, unscaled, threads, fill_missing)
    typer.echo(json.dumps(values, indent=1) if as_json else metrics_table(values))


def _are_results(labels: Path, probability: Path) -> bool:
    """Whether images are to be evaluated one by one, or else two stacks."""
    if labels.suffix.lower() in (".csv", *OF_ENTRIES) or holds_results(probability):
        return True
    if is_folder(probability) and not _holds(FORMATS, probability):
        read_results(probability)  # says that there are none
    return False


def _of_probability(
    labels: Path,
    probability: Path,
    meanings: LabelMap,
    unscaled: bool,
    threads: int,
    fill_missing: bool,
) -> dict:
    """Metrics of membranes of one stack."""
    from unetcore.evaluate import OF_MEMBRANES, evaluate
    from unetcore.metrics import Slices

    if _is_read_whole(probability):
        grey = read_grey(probability)
        found = grey if unscaled else to_unit_range(grey, str(probability))
    else:
        found = open_stack(probability) if unscaled else open_probability(probability)
    reference, ignored = _reference(labels, found, probability, meanings, None, fill_missing)
    sides = sides_of(reference, found, ignored)
    if np.isnan(sides.outside) and np.isnan(sides.cells):
        raise InputError(f"{labels}: every pixel is ignored")
    if np.isnan(sides.outside):
        raise InputError(
            f"{labels}: every pixel is cell, expected background and cells: say by --label-map "
            "what values mean, as in 1=background,2=cell"
        )
    if sides.look_exchanged and not unscaled:
        typer.echo(remark(labels, sides, meanings), err=True)
    named = Slices(reference, labels), Slices(found, probability)
    return evaluate(OF_MEMBRANES, *named, ignored=ignored, threads=threads)


def _of_segmentation(
    labels: Path, segmentation: Path, meanings: LabelMap, kind: str | None, fill_missing: bool
) -> dict:
    """Metrics of cells of one stack."""
    from unetcore.evaluate import OF_CELLS, evaluate
    from unetcore.metrics import Slices

    if _is_read_whole(segmentation):
        found = named_whole_numbers(read_grey(segmentation), segmentation)
    else:
        found = open_labels(segmentation)
    reference, ignored = _reference(labels, found, segmentation, meanings, kind, fill_missing)
    found = Slices(found, segmentation)
    if ignored is not None:
        found = found.without(ignored)  # a cell of a mask ends there, on both sides
    if kind is None and meanings.names_cells:
        kind = "mask"
    named = Slices(_cells(reference, labels, kind), labels)
    found = Slices(_cells(found, segmentation, None), segmentation)
    return evaluate(OF_CELLS, named, None, segmentation=found, ignored=ignored)


def _reference(
    labels: Path,
    found: Any,
    path: Path,
    meanings: LabelMap,
    kind: str | None,
    fill_missing: bool,
):
    """Labels of the same shape as what was found, and which pixels are ignored."""
    if labels.suffix.lower() in OF_REGIONS and len(found) > 1 and placed_by_number(labels):
        advice = "if the images had channels, evaluate the folder of results, which knows them"
        typer.echo(f"{labels}: regions lie on images by their number; {advice}", err=True)
    if _is_read_whole(labels):
        reference, ignored = read_reference(labels, found.shape, meanings, kind, path)
    else:
        reference, ignored = open_known(labels, meanings, kind, fill_missing=fill_missing)
    check_pair(found, reference, images_name=path, labels_name=labels)
    return reference, ignored


def _cells(stack: Any, path: Path, kind: str | None) -> Any:
    """Stack with a number per cell; those of a mask are its parts, which is said if it was told."""
    if kind == "instances":
        return stack
    if kind is None and not _has_one_value(stack):
        if (stack[0] > 0).all() and not is_quiet():
            advice = "if values are classes, say by --label-map what they mean"
            typer.echo(f"{path}: no pixel of the first image is background (0); {advice}", err=True)
        return stack
    if kind is None and not is_quiet():
        what = "a mask: its parts that hang together, also by corners, are taken for cells"
        typer.echo(f"{path}: {what}", err=True)
    return Parts(stack)


def _has_one_value(stack: Any) -> bool:
    """Whether all that is not 0 has one value; read no further than it takes to know."""
    found: set[int] = set()
    for z in range(stack.shape[0]):
        page = stack[z]
        found |= set(np.unique(page[page > 0])[:2].tolist())
        if len(found) > 1:
            return False
    return len(found) == 1


def _is_read_whole(path: Path) -> bool:
    """Whether a path is a picture, or a folder of them, that is read as a whole."""
    if is_folder(path):
        return _holds(set(FORMATS) - set(TIFF_SUFFIXES), path)
    return path.suffix.lower() in IN_ONE_PIECE


def _holds(suffixes: Collection[str], folder: Path) -> bool:
    shown = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return any(entry.suffix.lower() in suffixes for entry in shown)
