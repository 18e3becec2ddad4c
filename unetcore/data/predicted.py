"""The folder that `unet predict -o FOLDER` writes: which files are of which image."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from unetcore.data.files import is_zarr
from unetcore.data.label_map import LabelMap
from unetcore.data.pictures import FORMATS, name_of
from unetcore.data.samples import delimiter_of
from unetcore.errors import InputError, naming

PROBABILITY, INSTANCES, SUMMARY = "-probability.tif", "-instances", "summary.csv"
LABEL_MAP = "label_map"  # column of the summary: what labels meant in training


@dataclass(frozen=True)
class Predicted:
    """Results of one image.

    Attributes
    ----------
    name : of the image, without its suffix.
    probability : its file.
    instances : file or OME-Zarr of them, None where there is none.
    """

    name: str
    probability: Path
    instances: Path | None


def holds_results(folder: Path) -> bool:
    """Whether a folder is one of results, and not one of nothing but probability maps."""
    if not folder.is_dir() or is_zarr(folder):
        return False
    names = [entry.name for entry in folder.iterdir()]
    told = SUMMARY in names or any(INSTANCES in name for name in names)
    return told and any(name.endswith(PROBABILITY) for name in names)


def read_results(folder: Path) -> dict[str, Predicted]:
    """Results of a folder by the names of their images, in the order of these.

    Raises
    ------
    InputError : it is no folder, or holds none; or an image has two files of instances.
    """
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"{folder}: no such file or folder")
    if not holds_results(folder):
        raise InputError(
            f"{folder}: holds no results (NAME{PROBABILITY}, NAME{INSTANCES}) of "
            f"`unet predict MODEL IMAGES -o {folder}`"
        )
    instances = _instances(folder)
    names = sorted(f.name.removesuffix(PROBABILITY) for f in folder.glob(f"*{PROBABILITY}"))
    return {
        name: Predicted(name, folder / f"{name}{PROBABILITY}", instances.get(name))
        for name in names
        if not name.startswith(".")
    }


def label_map_of(folder: Path) -> LabelMap:
    """What labels meant in the training of the model that predicted; empty if it is not known.

    Raises
    ------
    InputError : the summary says something that is no label map.
    """
    summary = Path(folder) / SUMMARY
    if not summary.is_file():
        return LabelMap()
    text = summary.read_text("utf-8-sig", errors="replace")
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter_of(text))
    said = next((row[LABEL_MAP] for row in rows if row.get(LABEL_MAP)), None)
    with naming(summary):
        return LabelMap.given(said, None)


def _instances(folder: Path) -> dict[str, Path]:
    """Files of instances by the names of their images."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        name = name_of(file)
        if not name.endswith(INSTANCES) or file.name.startswith("."):
            continue
        if not (is_zarr(file) or file.suffix.lower() in FORMATS):
            continue
        image = name.removesuffix(INSTANCES)
        if image in found:
            raise InputError(f"{file}: means the same image as {found[image].name}; delete one")
        found[image] = file
    return found
