"""What a TIFF file must be to be read, and what is wrong with one that cannot."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile

from unetcore.data.colours import or_slices
from unetcore.errors import InputError, first_line

STACK_AXES = 3
STACKS_IN_TIME = "TZYX"  # of a hyperstack of grey images, in any order: all are slices


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say in one line what is wrong with a file that the block cannot read.

    Parameters
    ----------
    path : TIFF file that the block reads.

    Raises
    ------
    InputError : the file is absent, damaged or cut short, or the block refuses it.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    complaints = _Complaints()
    try:
        with complaints.collected():
            yield
    except InputError:
        raise
    except Exception as error:  # a damaged file fails in whichever decoder meets it first
        raise InputError(f"{path}: not a readable TIFF file ({first_line(error)})") from error
    # A file cut between two pages reads as a shorter stack; tifffile only logs that it did.
    if complaints:
        raise InputError(f"{path}: damaged or truncated TIFF file ({first_line(complaints)})")


def refuse_colour(file: tifffile.TiffFile, path: Path) -> None:
    """Refuse all that is not grey pages of one size.

    Raises
    ------
    InputError : the pages are in colour, inverted, empty, of several sizes or of too many axes.
    """
    page = file.pages.first
    if page.samplesperpixel > 1 or page.photometric == tifffile.PHOTOMETRIC.YCBCR:
        name = getattr(page.photometric, "name", page.photometric)
        hint = or_slices(page.samplesperpixel) if in_planes(page) else ""
        raise InputError(f"{path}: a colour image ({name}){hint}, expected grey values")
    if has_palette(file):
        raise InputError(f"{path}: a colour image (palette), expected grey values")
    if is_inverted(file):
        raise InputError(f"{path}: inverted grey values (0 is white), expected 0 to be black")
    if len(file.series) > 1:
        raise InputError(f"{path}: pages of different size or type, expected one size")
    series = file.series[0]
    refuse_empty(series.shape, path)
    n_axes = len(series.shape)
    is_stack = n_axes in (STACK_AXES - 1, STACK_AXES) and "C" not in series.axes
    if not is_stack and sorted(series.axes) != sorted(STACKS_IN_TIME):
        raise InputError(
            f"{path}: axes {series.axes} of shape {series.shape}, expected a stack of grey images"
        )


def axes_of_grey(series: tifffile.TiffPageSeries) -> str:
    """Letters of the axes of what `refuse_colour` lets pass; a single axis of pages counts as Z."""
    n_axes = len(series.shape)
    return series.axes if n_axes > STACK_AXES else STACKS_IN_TIME[-n_axes:]


def refuse_empty(shape: tuple[int, ...], name: Path | str) -> None:
    """Refuse an image without a pixel."""
    if 0 in shape:
        raise InputError(f"{name}: an image of shape {shape}, expected at least one pixel")


def in_planes(page: tifffile.TiffPage) -> bool:
    """Whether colours lie one after the other, as slices do, and not side by side."""
    return page.samplesperpixel > 1 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE


def has_palette(file: tifffile.TiffFile) -> bool:
    """Whether pixels are numbers of colours.

    In files of ImageJ they are values, and its lookup table only says how they are shown, but for
    colours that it has brought into 8 bits.
    """
    page = file.pages.first
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or is_grey_ramp(page.colormap):
        return False
    return not file.is_imagej or bool((file.imagej_metadata or {}).get("8bitcolor"))


def is_inverted(file: tifffile.TiffFile) -> bool:
    """Whether 0 means white; see `has_palette` for files of ImageJ.

    Pages of single bits are stored so by habit, whatever their writer meant by them.
    """
    page = file.pages.first
    is_inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and page.bitspersample > 1
    return is_inverted and not file.is_imagej


def is_grey_ramp(colormap: np.ndarray) -> bool:
    """Whether a palette (3, 2**bits) only repeats what the index says: dark to bright grey."""
    red, green, blue = colormap
    return (
        np.array_equal(red, green)
        and np.array_equal(red, blue)
        and bool((np.diff(red.astype(np.int64)) >= 0).all())
    )


class _Complaints(logging.Handler):
    """The errors that tifffile only logs while it reads a damaged file."""

    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def __bool__(self) -> bool:
        return bool(self.messages)

    def __str__(self) -> str:
        return "\n".join(self.messages)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Take the messages of the `tifffile` logger instead of letting them through."""
        source = tifffile.logger()
        propagated, source.propagate = source.propagate, False
        source.addHandler(self)
        try:
            yield
        finally:
            source.removeHandler(self)
            source.propagate = propagated
