"""The ISBI 2012 challenge's stacks of electron microscopy slices (paper Sec. 4, Table 1).

The archive holds ``train-volume.tif``, ``train-labels.tif`` and ``test-volume.tif``, and the
official one also ``test-labels.tif``. White (255) is the inside of a neurite, black (0) membrane.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unetcore.data.frames import Frame
from unetcore.data.io import check_pair, read_images, read_labels
from unetcore.errors import InputError

logger = logging.getLogger(__name__)

TRAIN_VOLUME, TRAIN_LABELS = "train-volume.tif", "train-labels.tif"
TEST_VOLUME, TEST_LABELS = "test-volume.tif", "test-labels.tif"
MASK_VALUES = (0, 255)


def read(
    folder: Path, *, members: Mapping[str, str | None]
) -> tuple[np.ndarray, np.ndarray, list[Frame]]:
    """Read the unpacked archive: training slices first, then test slices.

    Files called "test labels" are often somebody's predictions. So the test slices count as
    labelled only if the file has the git blob sha1 that `members` states for it.

    Parameters
    ----------
    folder : unpacked archive; the files may lie in any folder inside it.
    members : git blob sha1 of the official files by name. For the test labels, None means any
        content will do, and no entry means none will.

    Returns
    -------
    images : (N, H, W) uint8 or uint16 array.
    labels : (N, H, W) uint8 mask of the values 0 and 255; zero for slices without labels.
    frames : N frames ``train-00`` ... and ``test-00`` ..., of the sequences ``train`` and ``test``.

    Raises
    ------
    InputError : a file is missing, there twice, in colour, or of another shape than its partner;
        a label is neither 0 nor 255.
    """
    train, train_labels = _read_pair(folder, TRAIN_VOLUME, TRAIN_LABELS)
    test = read_images(_member(folder, TEST_VOLUME))
    if (test.dtype, test.shape[1:]) != (train.dtype, train.shape[1:]):
        raise InputError(
            f"{folder / TEST_VOLUME}: slices of {test.dtype} {test.shape[1:]}, those of"
            f" {TRAIN_VOLUME} are {train.dtype} {train.shape[1:]}"
        )
    test_labelled = _has_trusted_test_labels(folder, members)
    test_labels = (
        _read_pair(folder, TEST_VOLUME, TEST_LABELS)[1]
        if test_labelled
        else np.zeros(test.shape, np.uint8)
    )
    names = [("train", z, True) for z in range(len(train))]
    names += [("test", z, test_labelled) for z in range(len(test))]
    frames = [
        Frame(index, f"{stack}-{z:02d}", stack, labelled, False, stack)
        for index, (stack, z, labelled) in enumerate(names)
    ]
    return np.concatenate([train, test]), np.concatenate([train_labels, test_labels]), frames


def git_blob_sha1(path: Path) -> str:
    """Name that git gives a file's content, by which archives without a hash can be told apart.

    Parameters
    ----------
    path : file of any kind.

    Returns
    -------
    str, 40 hexadecimal digits, the same as ``git hash-object PATH``.
    """
    content = path.read_bytes()
    header = b"blob %d\0" % len(content)
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def _member(folder: Path, name: str) -> Path:
    """Find the one file of that name in the unpacked archive."""
    found = _members(folder, name)
    if not found:
        raise InputError(f"{folder / name}: no such file in the archive")
    if len(found) > 1:
        raise InputError(f"{found[0]}: the archive has another file of that name, {found[1]}")
    return found[0]


def _members(folder: Path, name: str) -> list[Path]:
    # __MACOSX holds the resource forks that one zip program adds, under the files' own names.
    return sorted(p for p in folder.rglob(name) if p.is_file() and "__MACOSX" not in p.parts)


def _read_pair(folder: Path, volume: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Slices and their masks."""
    volume_path, labels_path = _member(folder, volume), _member(folder, labels)
    images, mask = read_images(volume_path), read_labels(labels_path)
    check_pair(images, mask, images_name=volume, labels_name=str(labels_path))
    if unexpected := sorted(set(np.unique(mask).tolist()) - set(MASK_VALUES)):
        raise InputError(
            f"{labels_path}: label values {_listed(unexpected)}, expected 0 (membrane) and 255"
            " (inside) only"
        )
    return images, mask.astype(np.uint8)


def _listed(values: list[int], most: int = 5) -> str:
    """Name some values in a message, and hint at more."""
    shown = ", ".join(map(str, values[:most]))
    return f"{shown}, ..." if len(values) > most else shown


def _has_trusted_test_labels(folder: Path, members: Mapping[str, str | None]) -> bool:
    """Whether the archive has test labels, and the right ones. The log says why not."""
    found = _members(folder, TEST_LABELS)
    if not found:
        logger.warning("%s: not in the archive, the test slices have no labels", TEST_LABELS)
        return False
    if TEST_LABELS in members and members[TEST_LABELS] is None:
        return True
    expected, blob = members.get(TEST_LABELS), git_blob_sha1(_member(folder, TEST_LABELS))
    if blob != expected:
        logger.warning(
            "%s: git blob sha1 is %s, not %s: not the official file and not used, the test slices"
            " have no labels",
            TEST_LABELS,
            blob,
            expected,
        )
        return False
    return True
