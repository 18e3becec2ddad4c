"""An image as its file holds it, and the names of its axes."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from unetcore.errors import InputError

AXES = "TZCYXS"  # time, depth, channel, row, column, sample (of RGB)
OF_CHANNELS = "CS"
OF_SLICES = "TZ"  # times before depths, whatever the order in the file
UNNAMED = "IQ"  # pages of a TIFF file that does not say what they are


class RawImage(NamedTuple):
    """Pixels in the order of the file, and what it says of them.

    Attributes
    ----------
    pixels : array of the file's number type.
    axes : letters out of `AXES`, one per axis of `pixels`.
    pixel_size : side of a pixel in um, None if the file does not say.
    z_spacing : distance of slices in um, None if the file does not say.
    kind : "tiff", "imagej", "ome-tiff", "png", "jpeg" or "zarr".
    frame_interval : time between frames in s, None if the file does not say.
    """

    pixels: np.ndarray
    axes: str
    pixel_size: float | None
    z_spacing: float | None
    kind: str
    frame_interval: float | None = None


def named_axes(axes: str, shape: tuple[int, ...], path: Path) -> str:
    """Axes by letters of `AXES`: unnamed ones count slices, of two the first counts frames.

    Raises
    ------
    InputError : other axes, two of one kind, or no rows and columns.

    Examples
    --------
    >>> named_axes("IYX", (3, 8, 9), "a.tif"), named_axes("QQYXS", (2, 5, 8, 9, 3), "b.tif")
    ('ZYX', 'TZYXS')
    """
    free = [letter for letter in "ZT" if letter not in axes]
    n_unnamed = sum(letter in UNNAMED for letter in axes)
    names = iter(sorted(free[:n_unnamed]))
    found = "".join(next(names, "?") if letter in UNNAMED else letter for letter in axes)
    if not set("YX") <= set(found) <= set(AXES) or len(set(found)) < len(found):
        raise InputError(
            f"{path}: axes {axes} of shape {shape}, expected rows (Y), columns (X) and at most "
            "time (T), depth (Z) and channels (C)"
        )
    return found


def as_stack(raw: RawImage) -> np.ndarray:
    """Pixels as (Z, C, H, W), all times and depths along the first axis, times first."""
    axes = raw.axes
    slices = [axes.index(letter) for letter in OF_SLICES if letter in axes]
    channels = [k for k, letter in enumerate(axes) if letter in OF_CHANNELS]
    order = [*slices, *channels, axes.index("Y"), axes.index("X")]
    pixels = raw.pixels.transpose(order)
    n_channels = int(np.prod([raw.pixels.shape[k] for k in channels], dtype=int))
    stack = pixels.reshape(-1, n_channels, *pixels.shape[-2:])
    return np.ascontiguousarray(stack, stack.dtype.newbyteorder("="))
