"""Grey values of a stack as a network sees them, window by window."""

import math
from collections.abc import Iterator
from itertools import product

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

    The images are read once, block by block. Whole numbers are added up exactly.

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
    InputError : unknown normalisation, or the images cannot be read or hold no grey values.
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
    n, total, squares = math.prod(stack.shape[1:]), 0, 0
    for window in _windows(stack, z):
        # A float that is no grey value must not come into the sums.
        values = window if is_whole else to_unit_range(window, f"{stack.path}, image {z}")
        values = values.astype(np.uint64 if is_whole else np.float64)
        total += values.sum().item()
        squares += np.square(values, out=values).sum().item()
    scale = np.iinfo(stack.dtype).max if is_whole else 1
    variance = max(0, n * squares - total**2) / n**2  # of whole numbers: exact
    return total / n / scale, max(math.sqrt(variance) / scale, LEAST_STD)


def _windows(stack: Stack, z: int) -> Iterator[np.ndarray]:
    """Windows of at most `BAND` px that cover an image, block after block."""
    sides = [block or side for block, side in zip(stack.block, stack.shape[1:], strict=True)]
    spans = [_spans(0, side, step) for side, step in zip(stack.shape[1:], sides, strict=True)]
    for rows, columns in product(*spans):
        n_rows = max(1, BAND // (columns.stop - columns.start))
        for band in _spans(rows.start, rows.stop, n_rows):
            yield stack.window(z, band, columns)


def _spans(start: int, stop: int, step: int) -> list[slice]:
    """Slices of so many rows or columns, the last as long as there is room."""
    return [slice(k, min(k + step, stop)) for k in range(start, stop, step)]
