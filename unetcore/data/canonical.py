"""The canonical form: one stack of images, one of labels and one list of frames, for all data."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from unetcore.data import ctc, isbi2012
from unetcore.data.annotated import read_annotated
from unetcore.data.archive import extract
from unetcore.data.entry import DataSettings, sequence_name
from unetcore.data.frames import Frame
from unetcore.data.io import pixel_digest, to_unit_range
from unetcore.data.samples import Sample
from unetcore.errors import InputError

logger = logging.getLogger(__name__)

LAYOUTS = ("isbi2012", "ctc")


def read_archive(
    archive: Path,
    layout: str,
    *,
    members: Mapping[str, str | None],
    pixels: Mapping[str, str],
    partial: Sequence[str],
) -> tuple[np.ndarray, np.ndarray, list[Frame]]:
    """Read an archive into the canonical form and check its pixels.

    Archives are repacked and files are saved anew; what must not change are the pixels. So their
    digests are compared with those known, and logged where none is.

    Parameters
    ----------
    archive : zip file in one of the official layouts.
    layout : ``isbi2012`` or ``ctc``.
    members : git blob sha1 of files that are trusted by it (`unetcore.data.isbi2012.read`).
    pixels : sha256 of the pixels by ``images/SEQUENCE`` and ``labels/SEQUENCE``
        (`unetcore.data.io.pixel_digest`); of labels, the labelled frames count.
    partial : ids of the frames that are only partly annotated.

    Returns
    -------
    images : (N, H, W) uint8 or uint16 array.
    labels : (N, H, W) uint8 mask (0, 255) or uint16 instance ids; zero for frames without labels.
    frames : list of N frames.

    Raises
    ------
    InputError : the archive is damaged, its files do not fit together, or a digest is wrong. The
        message names the file inside the archive.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r} is not among {', '.join(LAYOUTS)}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "unpacked"
        try:
            extract(archive, folder)
            if layout == "isbi2012":
                images, labels, frames = isbi2012.read(folder, members=members)
            else:
                images, labels, frames = ctc.read(folder, partial=partial)
        except InputError as error:
            # The scratch folder is gone when somebody reads this: name the place in the archive.
            raise InputError(str(error).replace(str(folder), str(archive))) from error
    _check_pixels(_digests(images, labels, frames), pixels, archive)
    return images, labels, frames


def from_samples(
    samples: Sequence[Sample], settings: DataSettings
) -> tuple[np.ndarray, np.ndarray, list[Frame]]:
    """Bring a data set of one's own into the canonical form.

    Images smaller than the largest are continued by mirroring, and ignored there.

    Parameters
    ----------
    samples, settings : see `unetcore.data.annotated.read_annotated`.

    Returns
    -------
    images : (N C, H, W) array, one page for each channel of each frame: uint8 or uint16 where all
        images are, else float32 in [0, 1], where the darkest and brightest of an image of floats
        are 0 and 1.
    labels : (N, H, W) uint16 array, see `unetcore.data.label_map.LabelMap.apply`.
    frames : list of N frames; slices of one stack are of one sequence.

    Raises
    ------
    ExceptionGroup : of one InputError for every problem that was found.
    """
    annotated = read_annotated(samples, settings)
    types = {image.dtype.name for image in annotated.images}
    keeps_type = len(types) == 1 and types <= {"uint8", "uint16"}
    grey = [image if keeps_type else _unit_range(image) for image in annotated.images]
    images, labels = annotated.mirrored(grey)
    n_training = len(annotated.names) - annotated.n_held_out
    sequences = {name: sequence_name(k) for k, name in enumerate(dict.fromkeys(annotated.samples))}
    frames = [
        Frame(k, name, sequences[sample], True, False, "train" if k < n_training else "test")
        for k, (name, sample) in enumerate(zip(annotated.names, annotated.samples, strict=True))
    ]
    return images.reshape(-1, *images.shape[-2:]), labels, frames


def _unit_range(image: np.ndarray) -> np.ndarray:
    """Image as float32 in [0, 1]."""
    if image.dtype.name in ("uint8", "uint16"):
        return to_unit_range(image, "image")
    low, high = float(image.min()), float(image.max())
    if low >= 0 and high <= 1:
        return image.astype(np.float32)
    scaled = (image.astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny)
    return scaled.astype(np.float32)


def _digests(images: np.ndarray, labels: np.ndarray, frames: Sequence[Frame]) -> dict[str, str]:
    """Pixel digests by ``images/SEQUENCE`` and ``labels/SEQUENCE``."""
    digests = {}
    for sequence in dict.fromkeys(frame.sequence for frame in frames):
        pages = [frame.index for frame in frames if frame.sequence == sequence]
        labelled = [page for page in pages if frames[page].labelled]
        digests[f"images/{sequence}"] = pixel_digest(images[pages])
        if labelled:
            digests[f"labels/{sequence}"] = pixel_digest(labels[labelled])
    return digests


def _check_pixels(found: Mapping[str, str], expected: Mapping[str, str], archive: Path) -> None:
    for name, digest in found.items():
        if name not in expected:
            logger.info("%s: pixel digest of %s is %s, none known", archive, name, digest)
        elif digest != expected[name]:
            raise InputError(
                f"{archive}: pixel digest of {name} is {digest}, expected {expected[name]}"
            )
        else:
            logger.info("%s: pixel digest of %s as expected", archive, name)
    if absent := sorted(expected.keys() - found.keys()):
        raise InputError(f"{archive}: no {absent[0]}, whose pixel digest is known")
