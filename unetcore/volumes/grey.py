"""Grey values of a stack as a network sees them, window by window."""

import math
from collections.abc import Iterator

import numpy as np

from unetcore.data.intensity import NORMALISATIONS
from unetcore.data.io import to_unit_range
from unetcore.data.stacks import Stack
from unetcore.errors import InputError

BAND = 2**22  # px that are looked at together for the mean of an image
LEAST_STD = 1e-6  # as in `unetcore.data.intensity.normalise`

Statistics = list[tuple[float, float]]


class GreyImage:
    """One image of a stack, mapped to what the network was trained on where it is sliced.

    It can be given to `unetcore.tiling.predict_tiled` in the place of an array.

    Parameters
    ----------
    stack, z : the image.
    statistics : of `grey_statistics`.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, stack: Stack, z: int, statistics: Statistics | None):
        self._stack, self._z, self._of_image = stack, z, statistics and statistics[z]
        self.shape = stack.shape[1:]

    def __getitem__(self, key: tuple) -> np.ndarray:
        *_, rows, columns = key
        called = f"{self._stack.path}, image {self._z}"
        grey = to_unit_range(self._stack.window(self._z, rows, columns), called)
        if self._of_image is None:
            return grey
        mean, std = self._of_image
        return (grey - np.float32(mean)) / np.float32(std)


def grey_statistics(stack: Stack, normalisation: str) -> Statistics | None:
    """Mean and standard deviation that map the grey values of each image to what networks see.

    The images are read once, a band of rows at a time. Whole numbers are added up exactly.

    Parameters
    ----------
    stack : grey images.
    normalisation : see `unetcore.data.intensity.normalise`.

    Returns
    -------
    (mean, standard deviation) of each image on the scale 0 to 1; None where grey values stay as
    they are.

    Raises
    ------
    InputError : unknown normalisation, or the images cannot be read.
    """
    if normalisation not in NORMALISATIONS:
        raise InputError(
            f"normalisation {normalisation!r}: need one of {', '.join(NORMALISATIONS)}"
        )
    if normalisation == "unit":
        return None
    return [_mean_and_std(stack, z) for z in range(len(stack))]


def _mean_and_std(stack: Stack, z: int) -> tuple[float, float]:
    is_whole = stack.dtype.kind in "ui"
    kind = np.uint64 if is_whole else np.float64
    n, total, squares = math.prod(stack.shape[1:]), 0, 0
    for band in _bands(stack, z):
        values = band.astype(kind)
        total += values.sum().item()
        squares += np.square(values, out=values).sum().item()
    scale = np.iinfo(stack.dtype).max if is_whole else 1
    variance = max(0, n * squares - total**2) / n**2  # of whole numbers: exact
    return total / n / scale, max(math.sqrt(variance) / scale, LEAST_STD)


def _bands(stack: Stack, z: int) -> Iterator[np.ndarray]:
    """Rows of an image, as many together as `BAND` says, in whole blocks where that is possible."""
    _, height, width = stack.shape
    rows = max(1, BAND // width)
    side = stack.block[0] or 1
    rows = max(side, rows // side * side)
    for top in range(0, height, rows):
        yield stack.window(z, slice(top, min(top + rows, height)), slice(0, width))
