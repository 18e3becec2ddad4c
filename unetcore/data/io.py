"""The only reader and writer of images.

Every array is a stack (N, H, W) of grey images, one TIFF page per slice or frame. What cannot be
such a stack (colour, NaN, pages of different size, a file cut short) is refused in one line.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile

from unetcore.data.files import check_space, is_zarr, replacing
from unetcore.data.label_map import IGNORE, LabelMap
from unetcore.data.raw_image import RawImage, as_stack
from unetcore.data.sizes import in_words
from unetcore.data.stacks import Stack, open_stack
from unetcore.data.tiff import STACK_AXES, axes_of_grey, reading, refuse_colour, refuse_empty
from unetcore.errors import InputError
from unetcore.labels import IGNORED, known_labels, named_whole_numbers

IMAGE_TYPES = ("uint8", "uint16", "float32")


def read_images(path: Path) -> np.ndarray:
    """Grey images of a TIFF file.

    Parameters
    ----------
    path : TIFF file of one or more pages, all of one size.

    Returns
    -------
    (N, H, W) uint8, uint16 or float32 array; float values are finite, their range is not checked.

    Raises
    ------
    InputError : the file is missing, damaged, in colour, of another number type, or holds NaN.

    See Also
    --------
    to_unit_range : the grey values as the network wants them.
    """
    images = _read_stack(path)
    if images.dtype.name not in IMAGE_TYPES:
        raise InputError(f"{path}: values of type {images.dtype}, expected {_either(IMAGE_TYPES)}")
    refuse_not_finite(images, path)
    return images


def read_frame_images(path: Path, n_frames: int) -> np.ndarray:
    """Images of a dataset in its canonical form, with their channels.

    Parameters
    ----------
    path : images.tif: one page for each channel of each frame.
    n_frames : number of frames of the dataset.

    Returns
    -------
    (N, H, W) array; (N, C, H, W) where frames have several channels.

    Raises
    ------
    InputError : as `read_images`, or pages that do not part among the frames.
    """
    pages = read_images(path)
    if len(pages) % n_frames:
        raise InputError(f"{path}: {len(pages)} pages for {n_frames} frames")
    n_channels = len(pages) // n_frames
    return pages if n_channels == 1 else pages.reshape(n_frames, n_channels, *pages.shape[1:])


def read_labels(path: Path) -> np.ndarray:
    """Labels or masks of a TIFF file.

    Parameters
    ----------
    path : TIFF file of whole, non-negative numbers of any type; its pages are all of one size.

    Returns
    -------
    (N, H, W) array of integers >= 0: a mask's two values, or instance ids with 0 = background.

    Raises
    ------
    InputError : the file is missing, damaged, in colour, or its values are no whole numbers >= 0.
    """
    return named_whole_numbers(_read_stack(path), path)


def read_probability(path: Path) -> np.ndarray:
    """Probability map of a TIFF file.

    Parameters
    ----------
    path : TIFF file; float32 in [0, 1], or uint8 and uint16 whose largest value means 1.

    Returns
    -------
    (N, H, W) float32 array in [0, 1].

    Raises
    ------
    InputError : as `read_images`, or a float value outside [0, 1].
    """
    return to_unit_range(read_images(path), str(path))


def open_labels(
    path: Path, pages: Sequence[int] | None = None, *, fill_missing: bool = False
) -> "ConvertedStack":
    """Labels or masks that are read slice by slice, as they are asked for.

    Parameters
    ----------
    path : as of `unetcore.data.stacks.open_stack`.
    pages : slices wanted, by their numbers; None: all.
    fill_missing : whether chunks that a Zarr does not have count as its fill value.

    Returns
    -------
    ConvertedStack of integers >= 0; what `read_labels` refuses is refused when a slice is read.

    Raises
    ------
    InputError : the file cannot be read.
    """
    stack = open_stack(path, fill_missing=fill_missing)
    return ConvertedStack(stack, pages, named_whole_numbers)


def open_known(
    path: Path, label_map: LabelMap, kind: str | None = None, *, fill_missing: bool = False
) -> tuple["ConvertedStack", "ConvertedStack | None"]:
    """Labels as a map tells what they mean, read slice by slice, and which pixels are ignored.

    Parameters
    ----------
    path, fill_missing : as of `open_labels`.
    label_map : what the values mean. An empty one leaves them as they are, and values that it does
        not name stay cells with their number.
    kind : "mask" or "instances"; None: a mask if the map names its cells.

    Returns
    -------
    labels : ConvertedStack of integers >= 0; 0 where they are ignored.
    ignored : ConvertedStack of bools; None where nothing can be ignored.

    Whoever asks for a slice of one and then of the other has it read once.
    """
    if not label_map.meanings and kind != "mask":
        return open_labels(path, fill_missing=fill_missing), None
    stack = open_stack(path, fill_missing=fill_missing)
    kind = kind or ("mask" if label_map.names_cells else "instances")

    def coded(labels, name):
        return label_map.apply(labels, kind, name)

    meant = ConvertedStack(stack, None, coded, dtype=np.dtype(np.uint16))
    if IGNORE not in label_map.meanings.values():
        return meant, None
    both = _LatestKept(meant)
    known = ConvertedStack(both, None, lambda labels, name: known_labels(labels))
    is_ignored = ConvertedStack(
        both, None, lambda labels, name: labels == IGNORED, dtype=np.dtype(bool)
    )
    return known, is_ignored


def open_frames(
    path: Path, pages: Sequence[int], ignore_label: int | None
) -> tuple["ConvertedStack", "ConvertedStack | None"]:
    """Labels of some frames of a dataset, and which of their pixels are ignored.

    Parameters
    ----------
    path, pages : as of `open_labels`.
    ignore_label : label of pixels of which nothing is known; None for none.

    Returns
    -------
    labels : ConvertedStack of integers >= 0.
    ignored : ConvertedStack of bools, None without such a label.
    """
    if ignore_label is None:
        return open_labels(path, pages), None

    def is_ignored(labels, name):
        return labels == ignore_label

    ignored = ConvertedStack(open_stack(path), pages, is_ignored, dtype=np.dtype(bool))
    return open_labels(path, pages), ignored


def open_probability(path: Path, pages: Sequence[int] | None = None) -> "ConvertedStack":
    """Probability map that is read slice by slice, on the scale 0 to 1; see `open_labels`."""
    return ConvertedStack(open_stack(path), pages, to_unit_range)


class ConvertedStack:
    """Some slices of a stack, read and converted one by one.

    Parameters
    ----------
    stack : where the slices are; one that was converted may be converted again.
    pages : their numbers there; None: all.
    convert : function of a slice and of what messages call it.
    dtype : type of the numbers after that; None: that of the file.

    Attributes
    ----------
    path : of the file.
    shape : (N, H, W).
    dtype : as given, or the type of the numbers in the file.
    """

    def __init__(
        self,
        stack: "Stack | ConvertedStack | _LatestKept",
        pages: Sequence[int] | None,
        convert: Callable,
        dtype: np.dtype | None = None,
    ):
        self.path = stack.path
        self._stack, self._convert = stack, convert
        self._pages = range(len(stack)) if pages is None else pages
        self.shape, self.dtype = (len(self._pages), *stack.shape[1:]), dtype or stack.dtype

    def __len__(self) -> int:
        return len(self._pages)

    def __getitem__(self, z: int) -> np.ndarray:
        page = self._pages[z]
        return self._convert(self._stack[page], f"{self._stack.path}, slice {page}")


class _LatestKept:
    """A stack whose latest slice stays in memory, for what is made of it in several ways."""

    def __init__(self, stack: ConvertedStack):
        self.path, self.shape, self.dtype = stack.path, stack.shape, stack.dtype
        self._slice = lru_cache(maxsize=1)(stack.__getitem__)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, z: int) -> np.ndarray:
        return self._slice(z)


def to_unit_range(images: np.ndarray, name: str) -> np.ndarray:
    """Grey values on the scale 0 to 1, by the number type alone, never by looking at the data.

    Parameters
    ----------
    images : array of uint8, uint16 or float; floats must lie in [0, 1] already.
    name : what the message calls the array, for instance its file.

    Returns
    -------
    float32 array in [0, 1] of the same shape.

    Raises
    ------
    InputError : no value, another number type, NaN, or a float value outside [0, 1].

    Examples
    --------
    >>> to_unit_range(np.array([0, 51, 255], np.uint8), "example").tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    refuse_empty(images.shape, name)
    if images.dtype.name in ("uint8", "uint16"):
        return images.astype(np.float32) / np.float32(np.iinfo(images.dtype).max)
    if images.dtype.kind != "f":
        raise InputError(f"{name}: values of type {images.dtype}, expected {_either(IMAGE_TYPES)}")
    refuse_not_finite(images, name)
    low, high = images.min(), images.max()
    if low < 0 or high > 1:
        raise InputError(f"{name}: float values from {low:g} to {high:g}, expected 0 to 1")
    return images.astype(np.float32)


def grey_values(pixels: np.ndarray, kind: str, name: str) -> np.ndarray:
    """Numbers of an image as the floats that `unetcore.data.intensity.normalise` takes.

    Parameters
    ----------
    pixels : real numbers, of any shape.
    kind : normalisation that will follow. For "unit" the number type says what is white: uint8,
        uint16, or floats in [0, 1]. For "slice" any numbers will do, as a common factor changes
        nothing.
    name : what the message calls the image, for instance its file.

    Returns
    -------
    float32 array of the same shape. uint8 and uint16 are divided by their largest number; with
    "slice" anything else by a power of two that brings it to at most 1.

    Raises
    ------
    InputError : for "unit", another number type, or a float outside [0, 1].
    """
    if kind != "slice" or pixels.dtype.name in ("uint8", "uint16"):
        return to_unit_range(pixels, name)
    wide = pixels.astype(np.float64)
    _, exponent = np.frexp(np.abs(wide).max(initial=0))
    return np.ldexp(wide, -exponent).astype(np.float32)


def check_pair(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    images_name: str = "images",
    labels_name: str = "labels",
) -> None:
    """Refuse images and labels that do not belong together.

    Parameters
    ----------
    images, labels : (N, H, W) arrays.
    images_name, labels_name : what the message calls them, for instance their files.

    Raises
    ------
    InputError : N, or (H, W), differs.
    """
    if len(images) != len(labels):
        raise InputError(
            f"{labels_name}: {len(labels)} label pages for the {len(images)} images of"
            f" {images_name}"
        )
    if images.shape[1:] != labels.shape[1:]:
        raise InputError(
            f"{labels_name}: labels of {in_words(labels.shape[-2:])} px for images of "
            f"{in_words(images.shape[-2:])} px in {images_name}"
        )


def write_stack(path: Path, array: np.ndarray) -> None:
    """Write a stack as a TIFF file, whole or not at all.

    The file appears under its name only when it is complete. The same array always makes the same
    bytes.

    Parameters
    ----------
    path : file to write; its folder is made where it is missing.
    array : (N, H, W) array of uint8, uint16 or float32, N >= 1; one page each.

    Raises
    ------
    InputError : the disk has not enough free space.
    ValueError : `array` is no such stack.
    """
    if array.ndim != STACK_AXES or array.size == 0 or array.dtype.name not in IMAGE_TYPES:
        raise ValueError(f"{path}: cannot write {array.dtype} of shape {array.shape} as a stack")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    check_space(path, array.nbytes)
    with replacing(path) as temporary:
        # Deflate level 1: within a few percent of the best size, at a fifth of the time. No
        # metadata and no date, so that equal arrays are equal files.
        tifffile.imwrite(
            temporary,
            array,
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": 1},
            metadata=None,
        )


def pixel_digest(array: np.ndarray) -> str:
    """sha256 of the pixels, in C order and little-endian, whatever file they came from.

    Parameters
    ----------
    array : array of any shape and number type.

    Returns
    -------
    str, 64 hexadecimal digits.
    """
    little_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return hashlib.sha256(little_endian.data).hexdigest()


def _read_stack(path: Path) -> np.ndarray:
    """Pages of a TIFF file as (N, H, W), or one line that says why they are no such stack."""
    path = Path(path)
    if is_zarr(path):
        return np.stack(list(open_stack(path)))
    with reading(path), tifffile.TiffFile(path) as file:
        refuse_colour(file, path)
        raw = RawImage(file.asarray(), axes_of_grey(file.series[0]), None, None, "tiff")
    return as_stack(raw)[:, 0]


def refuse_not_finite(images: np.ndarray, name: Path | str) -> None:
    """Refuse NaN and infinity: how many there are, and where the first is."""
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        bad = np.argwhere(~np.isfinite(images))
        raise InputError(
            f"{name}: {len(bad)} values are NaN or infinite, the first at {tuple(bad[0].tolist())}"
        )


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
