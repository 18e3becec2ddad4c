"""The folder that `unet predict -o FOLDER` writes: which files are of which image."""

import csv
import glob
import io
from dataclasses import dataclass
from pathlib import Path

from unetcore.data.files import is_zarr
from unetcore.data.label_map import LabelMap
from unetcore.data.pictures import FORMATS, name_of
from unetcore.data.samples import delimiter_of
from unetcore.errors import InputError, naming

PROBABILITY, INSTANCES, SUMMARY = "-probability.tif", "-instances", "summary.csv"
# Columns of the summary: of the image, and what labels meant in training.
AXES, CHANNELS, LABEL_MAP = "axes", "channels", "label_map"


@dataclass(frozen=True)
class Predicted:
    """Results of one image.

    Attributes
    ----------
    name : of the image, without its suffix.
    probability : its file.
    instances : file or OME-Zarr of them, None where there is none.
    channels : the axes of an image with an axis C and the length of that; None of other images, and
        where it is not known.
    """

    name: str
    probability: Path
    instances: Path | None
    channels: tuple[str, int] | None = None

    @property
    def files(self) -> list[Path]:
        """All files of the image, those for people too."""
        return sorted(self.probability.parent.glob(f"{glob.escape(self.name)}-*"))


def holds_results(folder: Path) -> bool:
    """Whether a folder is one of results, and not one of nothing but probability maps."""
    if not folder.is_dir() or is_zarr(folder):
        return False
    names = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
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
    instances, channels = _instances(folder), _channels(folder)
    names = sorted(f.name.removesuffix(PROBABILITY) for f in folder.glob(f"*{PROBABILITY}"))
    return {
        name: Predicted(
            name, folder / f"{name}{PROBABILITY}", instances.get(name), channels.get(name)
        )
        for name in names
        if not name.startswith(".")
    }


def label_map_of(folder: Path) -> LabelMap:
    """What labels meant in the training of the model that predicted; empty if it is not known.

    Raises
    ------
    InputError : the summary says something that is no label map.
    """
    said = next((row[LABEL_MAP] for row in _summary(folder) if row.get(LABEL_MAP)), None)
    with naming(folder / SUMMARY):
        return LabelMap.given(said, None)


def _summary(folder: Path) -> list[dict[str, str]]:
    """Rows of the summary, none where there is none."""
    path = folder / SUMMARY
    if not path.is_file():
        return []
    text = path.read_text("utf-8-sig", errors="replace")
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter_of(text)))


def _channels(folder: Path) -> dict[str, tuple[str, int]]:
    """Axes and channels of images by their names, as far as the summary says them."""
    return {
        name_of(Path(row["image"])): (row[AXES], int(row[CHANNELS]))
        for row in _summary(folder)
        if row.get("image") and "C" in (row.get(AXES) or "") and (row.get(CHANNELS) or "").isdigit()
    }


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
