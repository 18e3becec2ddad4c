"""Images and labels that people bring: files or folders, checked before anything is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetcore.data.io import check_pair, read_labels, read_probability
from unetcore.data.stacks import is_zarr, tiff_files
from unetcore.errors import InputError
from unetcore.labels import check_mask
from unetcore.weight_settings import LABEL_KINDS
from unetcore.weights import ignored_pixels


@dataclass(frozen=True)
class AnnotatedImages:
    """Images with a label for every pixel.

    Attributes
    ----------
    images : (N, H, W) float32 array in [0, 1].
    labels : (N, H, W) int array, 0 = membrane or background.
    ignored : (N, H, W) bool array, pixels of unknown class.
    kind : what the labels are, "mask" or "instances".
    """

    images: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    kind: str


def read_stack(path: Path, read: Callable[[Path], np.ndarray]) -> np.ndarray:
    """Read a TIFF file, all TIFF files of a folder in the order of their names, or an OME-Zarr.

    Parameters
    ----------
    path : file of one or more pages, or folder; hidden files are left out.
    read : reader of one file, out of `unetcore.data.io`.

    Returns
    -------
    (N, H, W) array, N = pages of all files.

    Raises
    ------
    InputError : no TIFF file in the folder, pages of different size, or what `read` refuses.
    """
    path = Path(path)
    if not path.is_dir() or is_zarr(path):
        return read(path)
    files = tiff_files(path)
    stacks = [read(file) for file in files]
    for file, stack in zip(files, stacks, strict=True):
        if stack.shape[1:] != stacks[0].shape[1:]:
            sizes = [" x ".join(map(str, s.shape[1:])) for s in (stack, stacks[0])]
            raise InputError(f"{file}: {sizes[0]} px, but {files[0].name} before it is {sizes[1]}")
    return np.concatenate(stacks)


def read_grey(path: Path) -> np.ndarray:
    """Read grey images from a file or folder, as (N, H, W) float32 in [0, 1]; see `read_stack`."""
    return read_stack(path, read_probability)


def read_annotated(
    images: Path, labels: Path, kind: str | None = None, ignore_label: int | None = None
) -> AnnotatedImages:
    """Read images and labels that belong together, or say all that is wrong with them.

    Parameters
    ----------
    images, labels : TIFF files or folders of them.
    kind : what the labels are, "mask" or "instances"; None lets `kind_of` tell.
    ignore_label : label whose pixels are neither cell nor background; None for none.

    Raises
    ------
    InputError : `ignore_label` is not a whole number >= 1.
    ExceptionGroup : of one InputError for every problem that was found in the files.
    """
    problems = []

    def attempt(check, *arguments, **named):
        try:
            return check(*arguments, **named)
        except InputError as error:
            problems.append(error)
            return None

    grey = attempt(read_grey, images)
    ids = attempt(read_stack, labels, read_labels)
    if ids is not None:
        ignored = ignored_pixels(ids, ignore_label)
        kind = kind or kind_of(ids[~ignored])
        attempt(check_labels, ids[~ignored], kind, name=labels)
    if grey is not None and ids is not None:
        attempt(check_pair, grey, ids, images_name=images, labels_name=labels)
    if problems:
        raise ExceptionGroup("images and labels that cannot be used", problems)
    return AnnotatedImages(grey, ids, ignored, kind)


def kind_of(labels: np.ndarray) -> str:
    """Guess what labels are: a mask if they have at most two different values, else instances.

    Examples
    --------
    >>> kind_of(np.array([0, 255, 0])), kind_of(np.array([0, 1, 2]))
    ('mask', 'instances')
    """
    return "mask" if len(np.unique(labels)) <= 2 else "instances"


def check_labels(labels: np.ndarray, kind: str, *, name: Path | str = "labels") -> None:
    """Refuse labels that are not what `kind` says, or that hold nothing to learn.

    Parameters
    ----------
    labels : int array >= 0 of any shape, without the pixels to be ignored.
    kind : "mask" or "instances".
    name : what the message calls the labels, for instance their file.

    Raises
    ------
    InputError : unknown kind; no pixel, or the same value everywhere; a mask of values other than
        0 and one more.
    """
    if kind not in LABEL_KINDS:
        raise InputError(f"labels of kind {kind!r}: need one of {', '.join(LABEL_KINDS)}")
    values = np.unique(labels)
    if len(values) == 0:
        raise InputError(f"{name}: every pixel is ignored, expected background and cells")
    if len(values) == 1:
        raise InputError(f"{name}: every pixel is {values[0]}, expected background and cells")
    if kind == "mask":
        try:
            check_mask(values)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
