"""`unet predict` of pictures: what it reads, writes and says."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import typer
from tqdm import tqdm

from unetcore.data.files import check_writable, is_folder
from unetcore.data.pictures import (
    SUFFIXES_OF_RESULTS,
    Picture,
    name_of,
    picture_files,
    read_picture,
    suffix_like,
    write_like,
)
from unetcore.data.png_jpeg import write_png
from unetcore.data.predicted import AXES, CHANNELS, INSTANCES, LABEL_MAP, PROBABILITY, SUMMARY
from unetcore.data.sizes import in_words
from unetcore.data.stacks import TIFF_SUFFIXES
from unetcore.errors import InputError
from unetcore.measurements import Table, measure, write_table
from unetcore.memory import keep_freed_memory
from unetcore.overlay import overlay
from unetcore.terminal import command, count, is_blank, is_quiet, say, table_lines

# Modules that need torch, which takes more than a second to import, are imported where needed.

CUT = ("threshold", "smallest_object", "fill_holes", "border")  # settings of cutting cells out
RGB = ("red", "green", "blue")


@dataclass(frozen=True)
class Job:
    """Pictures to be predicted, by what, and how.

    Attributes
    ----------
    image : picture, or folder of them.
    files : the pictures.
    model : the network.
    pixel_size : um, in place of what the files say; None leaves it to them.
    how : arguments of `unetcore.picture_prediction.predict_picture`.
    postprocessing : that was asked for, see `unetcore.picture_prediction.postprocessing_for`.
    """

    image: Path
    files: list[Path]
    model: Any
    pixel_size: float | None
    how: Mapping[str, Any]
    postprocessing: Mapping[str, Any]

    def read(self, file: Path) -> Picture:
        """Read a picture; its pixel size is the one that was given, if one was."""
        picture = read_picture(file)
        return picture if self.pixel_size is None else replace(picture, pixel_size=self.pixel_size)

    def predict(self, picture: Picture, bar: tqdm) -> np.ndarray:
        """Probability (Z, H, W) of a picture."""
        from unetcore.picture_prediction import predict_picture

        maps = []
        for page in predict_picture(picture, self.model, **self.how):
            maps.append(page)
            bar.update()
        return np.stack(maps)

    def settings_for(self, picture: Picture) -> dict:
        """Threshold and the like, in pixels of a picture."""
        from unetcore.picture_prediction import postprocessing_for

        return postprocessing_for(picture, self.model, self.postprocessing)


def predict_pictures(
    model: Path,
    image: Path,
    out: Path,
    *,
    loading: Mapping[str, Any],
    how: Mapping[str, Any],
    postprocessing: Mapping[str, Any],
    pixel_size: float | None = None,
    segmentation: Path | None = None,
    as_json: bool = False,
) -> None:
    """Predict pictures into a TIFF file of probabilities, or into a folder of all results.

    Nothing is predicted before all pictures have been read once and been found to fit.

    Parameters
    ----------
    model : what `unetcore.loading.load_predictor` takes.
    image : picture, or folder of them.
    out : name of a TIFF file, or of a folder.
    loading : further arguments of `load_predictor`.
    how, postprocessing, pixel_size : see `Job`.
    segmentation : file of cells to be written beside a TIFF file; None for none.
    as_json : whether what was made is printed as JSON, and not in words.

    Raises
    ------
    InputError : a name or a setting that does not fit.
    ExceptionGroup : of one InputError for every picture that cannot be predicted.
    """
    from unetcore.loading import load_predictor

    into_folder = _is_folder(out)
    if into_folder and segmentation:
        raise InputError(f"--segmentation is for OUT.tif; the folder {out} gets all instances")
    files = picture_files(image)
    targets = [path for path in (out, segmentation) if path is not None]
    _refuse_overwriting(files, targets)
    _refuse_among_images(image, files, targets)
    keep_freed_memory()
    loaded = load_predictor(model, **loading)
    job = Job(image, files, loaded, pixel_size, how, postprocessing)
    n_slices = _check(job, out if into_folder else None)
    check_writable(out if into_folder else out.parent)
    if segmentation:
        _refuse_type(segmentation, n_slices)
        check_writable(segmentation.parent)
    hidden = is_quiet() or None  # None: shown on a terminal
    with tqdm(total=n_slices, desc="predict", unit="image", disable=hidden, leave=False) as bar:
        write = _write_folder if into_folder else _write_file
        lines, rows = write(job, out, bar, segmentation)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "images": rows}, indent=1))
        return
    for line in lines:
        say(line)


def _refuse_overwriting(files: list[Path], targets: list[Path]) -> None:
    """Refuse results in the place of an image, or of each other."""
    images = {file.resolve() for file in files}
    for path in targets:
        if path.resolve() in images:
            raise InputError(f"{path}: is the image itself, take another name for the result")
    if len({path.resolve() for path in targets}) < len(targets):
        raise InputError(f"{targets[-1]}: is the probability already, take another name")


def _refuse_among_images(image: Path, files: list[Path], targets: list[Path]) -> None:
    """Refuse results that the next call would take for images."""
    folders = {image.resolve(), *(file.resolve().parent for file in files)}
    for path in targets:
        if path.resolve() in folders:
            raise InputError(f"{path}: the folder of the images, take another one for the results")
        is_file = path.suffix and not path.is_dir()  # what is in folders below is no image
        if is_file and is_folder(image) and path.resolve().parent == image.resolve():
            raise InputError(f"{path}: in the folder of the images, take another place")


def _refuse_type(segmentation: Path, n_slices: int) -> None:
    """Refuse a name of a file that cannot hold cells, before anything is predicted."""
    suffix = segmentation.suffix.lower()
    if suffix not in (*TIFF_SUFFIXES, ".png", ".zarr"):
        raise InputError(
            f"--segmentation {segmentation}: a name of type {suffix or 'none'}, need NAME.tif"
        )
    if suffix == ".png" and n_slices > 1:
        raise InputError(
            f"--segmentation {segmentation}: a PNG holds one image, not {n_slices}: need NAME.tif"
        )


def _is_folder(out: Path) -> bool:
    """Whether a name is that of a folder rather than of a TIFF file."""
    if out.is_dir() or not (out.suffix or out.is_file()):
        return True
    if out.suffix.lower() in TIFF_SUFFIXES:
        return False
    raise InputError(
        f"{out}: a name of type {out.suffix}, need OUT.tif (probability), OUT.zarr (the same, of "
        "large images), or the name of a folder (all results; one with a dot has to exist)"
    )


def _check(job: Job, folder: Path | None) -> int:
    """Read all pictures, say all that is wrong with them, and count their slices.

    The folder gets the results; where there is none, they go into one file.
    """
    from unetcore.picture_prediction import refuse_unfit

    problems, sizes, n_slices = [], {}, 0
    for file in job.files:
        try:
            picture = job.read(file)
            refuse_unfit(picture, job.model)
            if folder is not None:
                _refuse_other_types(picture, folder)
        except InputError as error:
            problems.append(error)
            continue
        n_slices += len(picture.pixels)
        sizes[file] = picture.pixels.shape[-2:]
        first = next(iter(sizes))
        if folder is None and sizes[file] != sizes[first]:
            problems.append(InputError(_other_size(file, first, sizes)))
    if problems:
        raise ExceptionGroup("pictures that cannot be predicted", problems)
    return n_slices


def _refuse_other_types(picture: Picture, folder: Path) -> None:
    """Refuse a folder where cells of this name are of another type, corrected ones perhaps."""
    suffix = suffix_like(picture, np.empty(0, np.uint16))
    for other in SUFFIXES_OF_RESULTS:
        file = folder / f"{name_of(picture.path)}{INSTANCES}{other}"
        if other != suffix and file.exists():
            raise InputError(
                f"{file}: cells of {picture.path} in a file of another type than it will get "
                f"({suffix}): move it away, or take another folder"
            )


def _other_size(file: Path, first: Path, sizes: Mapping[Path, tuple[int, int]]) -> str:
    this, other = (in_words(sizes[each]) for each in (file, first))
    return (
        f"{file}: {this} px, but {first.name} before it is {other}: into one TIFF file go images "
        "of one size, give the name of a folder"
    )


def _write_file(
    job: Job, out: Path, bar: tqdm, segmentation: Path | None
) -> tuple[list[str], list[dict]]:
    """Write probabilities of all pictures as one TIFF file, and their cells if they are wanted."""
    from unetcore.picture_prediction import cells_of

    pictures, maps, shares, cells, rows = [], [], [], [], []
    for file in job.files:
        picture = job.read(file)
        probability, settings = job.predict(picture, bar), job.settings_for(picture)
        pictures.append(_without_pixels(picture))
        maps.append(probability)
        shares += [(page > settings["threshold"]).mean() for page in probability]
        interior = float((probability > settings["threshold"]).mean())
        rows.append({"image": file.name, "slices": len(probability), "interior": interior})
        if segmentation:
            cells.append(cells_of(probability, settings))
    like = _as_one(pictures, job.image)
    write_like(out, np.concatenate(maps), replace(like, kind=_flavour(out)))
    lines = [f"{out}: {count(len(shares), 'image')}, {100 * np.mean(shares):.1f} % cell interior"]
    if segmentation:
        found = np.concatenate(cells)
        write_like(segmentation, found, replace(like, kind=_flavour(segmentation)))
        lines.append(f"{segmentation}: {count(_n_cells(found), 'cell')}")
    page = out.with_suffix(".html")
    lines += [
        "\nLook at it, and compare it with labels, by:",
        f"  {command('view', job.image, out, '-o', page, *cut_options(settings))}",
        f"  {command('evaluate', 'LABELS.tif', out, *label_map_option(job.model))}",
    ]
    return lines, rows


def _write_folder(
    job: Job, out: Path, bar: tqdm, segmentation: None
) -> tuple[list[str], list[dict]]:
    """Write all results of every picture, and a table of all pictures."""
    rows, remarks = [], []
    for file in job.files:
        picture = job.read(file)
        rows.append(_write_results(job, picture, job.predict(picture, bar), out))
        remarks.append("the same everywhere" if is_blank(picture.pixels) else "")
    write_table(out / SUMMARY, {name: [row[name] for row in rows] for name in rows[0]})
    found = [
        (row["image"], count(row["cells"], "cell"), f"{100 * row['interior']:.1f} % interior", said)
        for row, said in zip(rows, remarks, strict=True)
    ]
    first = job.files[0]
    map_of_first = out / f"{name_of(first)}{PROBABILITY}"
    page = out / f"{name_of(first)}.html"
    lines = [
        *table_lines(found),
        f"{out}: of {count(len(rows), 'image')} the probability, mask, instances, measurements and "
        f"overlay each; {SUMMARY}",
        "\nLook at them, and compare them with labels, by:",
        f"  {command('view', first, map_of_first, '-o', page, *cut_options(rows[0]))}",
        f"  {command('evaluate', 'LABELS', out, *label_map_option(job.model))}",
    ]
    return lines, rows


def cut_options(settings: Mapping[str, Any]) -> list[object]:
    """Options by which `unet view` shows the cells that were cut out here."""
    words = ["--threshold", settings["threshold"], "--smallest-object", settings["smallest_object"]]
    words += ["--border", settings["border"]] if settings["border"] else []
    return words + ([] if settings["fill_holes"] else ["--no-fill-holes"])


def label_map_option(model: Any) -> list[str]:
    """Option by which labels mean what those of a model's training meant."""
    said = model.description.get("label_map")
    return ["--label-map", said] if said else []


def _write_results(job: Job, picture: Picture, probability: np.ndarray, out: Path) -> Table:
    """Write all results of a picture, and return its row of the summary."""
    from unetcore.picture_prediction import cells_of

    settings, name = job.settings_for(picture), name_of(picture.path)
    mask, cells = probability > settings["threshold"], cells_of(probability, settings)
    write_like(out / f"{name}{PROBABILITY}", probability, replace(picture, kind="imagej"))
    for what, stack in (("mask", mask), ("instances", cells)):
        write_like(out / f"{name}-{what}{suffix_like(picture, stack)}", stack, picture)
    table = measure(
        cells,
        picture.pixels,
        name=picture.path.name,
        pixel_size=picture.pixel_size,
        channels=_channels(picture, job),
    )
    write_table(out / f"{name}-measurements.csv", table)
    write_png(out / f"{name}-overlay.png", overlay(picture.pixels, cells), None)
    n_slices, height, width = cells.shape
    return {
        "image": picture.path.name,
        "slices": n_slices,
        "height_px": height,
        "width_px": width,
        AXES: picture.axes,
        CHANNELS: picture.pixels.shape[1],
        "pixel_size_um": picture.pixel_size,
        "cells": len(table["label"]),
        "interior": float(mask.mean()),
        "median_area_px": _median(table["area_px"]),
        "median_area_um2": _median(table["area_um2"]),
        **{name: settings[name] for name in CUT},
        LABEL_MAP: job.model.description.get("label_map"),
    }


def _channels(picture: Picture, job: Job) -> tuple[str, ...] | None:
    """Names of channels: the model's, or the colours of an image in colours."""
    if (names := job.model.channels) and len(names) == picture.pixels.shape[1]:
        return tuple(names)
    return RGB if "S" in picture.axes and picture.pixels.shape[1] == len(RGB) else None


def _without_pixels(picture: Picture) -> Picture:
    """The same, but of one value that stands for all, which takes no memory."""
    return replace(picture, pixels=np.broadcast_to(np.uint8(0), picture.pixels.shape))


def _as_one(pictures: list[Picture], image: Path) -> Picture:
    """Picture whose axes and pixel size the results of several have in one file."""
    if len(pictures) == 1:
        return pictures[0]
    shape = (sum(len(picture.pixels) for picture in pictures), *pictures[0].pixels.shape[-2:])
    sizes = {picture.pixel_size for picture in pictures}
    size = sizes.pop() if len(sizes) == 1 else None
    return Picture(image, np.empty(0), "ZYX", shape, size, None, "tiff")


def _flavour(path: Path) -> str:
    """Kind of the TIFF file that a name asks for: ImageJ's, unless it says OME."""
    return "ome-tiff" if path.stem.endswith(".ome") else "imagej"


def _n_cells(cells: np.ndarray) -> int:
    return int(cells.max(axis=(1, 2)).sum(dtype=np.int64))


def _median(values: list) -> float | None:
    """Median, None of nothing and of what is unknown."""
    return float(np.median(values)) if values and values[0] is not None else None
