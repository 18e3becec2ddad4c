"""Movies of cells in the Cell Tracking Challenge's layout (paper Sec. 4, Table 2).

An archive holds the frames of two sequences as ``01/t000.tif`` ... and ``02/t000.tif`` ..., and
under ``01_GT/SEG/man_seg002.tif`` ... the instance labels of a few of them, drawn by people (gold
truth). The silver truth under ``01_ST`` is made by machines and is never read here.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unetcore.data.frames import Frame
from unetcore.data.io import check_pair, read_images, read_labels
from unetcore.errors import InputError

SEQUENCES = ("01", "02")
_IMAGE = re.compile(r"t(\d{3,4})\.tif")
_GOLD = re.compile(r"man_seg(\d{3,4})\.tif")
_LARGEST_ID = np.iinfo(np.uint16).max


def read(folder: Path, *, partial: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[Frame]]:
    """Read the unpacked archive: all frames of sequence 01, then all of 02.

    Parameters
    ----------
    folder : unpacked archive; the sequences may lie in any folder inside it.
    partial : ids of the frames that are only partly annotated, as ``01-067``.

    Returns
    -------
    images : (N, H, W) uint8 or uint16 array.
    labels : (N, H, W) uint16 instance ids, 0 = background; zero for frames without labels.
    frames : N frames ``01-000`` ..., all of the split ``train``: the challenge's test labels are
        secret.

    Raises
    ------
    InputError : a frame or the labels are missing, in colour, or of another shape; a partial frame
        has no labels.
    """
    root = _root(folder)
    images, labels, frames = [], [], []
    for sequence in SEQUENCES:
        paths = _numbered(root / sequence, _IMAGE)
        gold = _numbered(root / f"{sequence}_GT" / "SEG", _GOLD)
        _check_numbers(paths, gold)
        for number, path in paths.items():
            image = _read_frame(path, images)
            images.append(image)
            labels.append(_read_gold(gold.get(number), image, path))
            name = f"{sequence}-{number:03d}"
            frames.append(
                Frame(len(frames), name, sequence, number in gold, name in partial, "train")
            )
    _check_partial(partial, frames)
    return np.concatenate(images), np.concatenate(labels), frames


def _root(folder: Path) -> Path:
    """Find the folder in which the sequences lie."""
    roots = sorted(
        path.parent
        for path in folder.rglob(SEQUENCES[0])
        if path.is_dir() and "__MACOSX" not in path.parts
    )
    if not roots:
        raise InputError(f"{folder / SEQUENCES[0]}: no such folder in the archive")
    if len(roots) > 1:
        raise InputError(f"{roots[0]}: the archive has another dataset, {roots[1]}")
    return roots[0]


def _numbered(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """Files of a folder by the number in their name, in order."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    numbered = {int(m[1]): path for path in paths if (m := pattern.fullmatch(path.name))}
    if not numbered:
        raise InputError(f"{folder}: no file {pattern.pattern} in the archive")
    return dict(sorted(numbered.items()))


def _check_numbers(paths: dict[int, Path], gold: dict[int, Path]) -> None:
    """Refuse a sequence with a gap, and labels without their frame."""
    if missing := sorted(set(range(max(paths))) - paths.keys()):
        last = next(reversed(paths.values()))
        raise InputError(f"{last}: the archive has no frame {missing[0]} before it")
    if orphans := sorted(gold.keys() - paths.keys()):
        raise InputError(f"{gold[orphans[0]]}: labels without their frame")


def _read_frame(path: Path, earlier: list[np.ndarray]) -> np.ndarray:
    """One frame (1, H, W), of the same shape and number type as those before."""
    image = read_images(path)
    # A file of two pages differs from its own first page, so it never passes as the first frame.
    first = earlier[0] if earlier else image[:1]
    if (image.dtype, image.shape) != (first.dtype, first.shape):
        raise InputError(
            f"{path}: {image.dtype} of shape {image.shape}, the first frame has {first.dtype}"
            f" {first.shape}"
        )
    return image


def _read_gold(path: Path | None, image: np.ndarray, image_path: Path) -> np.ndarray:
    """Instance labels (1, H, W) of one frame, zero where it has none."""
    if path is None:
        return np.zeros(image.shape, np.uint16)
    labels = read_labels(path)
    check_pair(image, labels, images_name=str(image_path), labels_name=str(path))
    if not 0 < labels.max() <= _LARGEST_ID:
        raise InputError(f"{path}: largest label is {labels.max()}, expected 1 to {_LARGEST_ID}")
    return labels.astype(np.uint16)


def _check_partial(partial: Sequence[str], frames: list[Frame]) -> None:
    labelled = {frame.id for frame in frames if frame.labelled}
    if unknown := sorted(set(partial) - labelled):
        raise InputError(f"partial frame {unknown[0]}: the archive has no labels of that frame")
