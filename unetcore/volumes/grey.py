"""Grey values of a stack as a network sees them, window by window."""

import math
from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np

from unetcore.data.intensity import NORMALISATIONS
from unetcore.data.io import refuse_not_finite, to_unit_range
from unetcore.data.stacks import Stack
from unetcore.errors import InputError

BAND = 2**22  # values that are looked at together for the mean of an image
LEAST_STD = 1e-6  # as in `unetcore.data.intensity.normalise`
COUNTED = ("uint8", "uint16")  # added up exactly; the largest number means 1
NARROW = ("float16", "float32")  # that float32 holds

Statistics = list[Mapping]  # of each image: "unit", and "mean" and "std" of its channels in units


class GreyImage:
    """One image of a stack, mapped to what the network was trained on where it is sliced.

    It can be given to `unetcore.tiling.predict_tiled` in the place of an array.

    Parameters
    ----------
    stack, z : the image, of a stack in channels.
    statistics : of `grey_statistics`.

    Attributes
    ----------
    shape : (C, H, W).
    """

    dtype = np.dtype(np.float32)

    def __init__(self, stack: Stack, z: int, statistics: Statistics | None):
        self._stack, self._z, self._of_image = stack, z, statistics and statistics[z]
        self.shape = (stack.n_channels, *stack.shape[1:])

    def __getitem__(self, key: tuple) -> np.ndarray:
        *_, rows, columns = key
        window = self._stack.window(self._z, rows, columns)
        called = f"{self._stack.path}, image {self._z}"
        if self._of_image is None:
            return to_unit_range(window, called)
        grey = in_units(window, self._of_image["unit"], called)
        mean, std = (
            np.array(self._of_image[name], np.float32)[:, None, None] for name in ("mean", "std")
        )
        grey -= mean
        grey /= std
        return grey


def grey_statistics(stack: Stack, normalisation: str) -> Statistics | None:
    """Mean and standard deviation that map the grey values of each image to what networks see.

    The images are read once, block by block. uint8 and uint16 are added up exactly.

    Parameters
    ----------
    stack : images, in channels.
    normalisation : see `unetcore.data.intensity.normalise`.

    Returns
    -------
    Of each image the number that is 1 on the scale of a network, and mean and standard deviation of
    each channel on this scale, as plain JSON values; None where grey values stay as they are.

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
    measure = _counted if stack.dtype.name in COUNTED else _measured
    return [measure(stack, z) for z in range(len(stack))]


def in_units(values: np.ndarray, unit: float, name: str) -> np.ndarray:
    """Numbers of an image by `unetcore.data.io.grey_values`, whose unit is that of the whole image.

    Parameters
    ----------
    values : array of real numbers.
    unit : 255, 65535 or a power of two.
    name : what the message calls the image.

    Returns
    -------
    float32 array of the same shape.

    Raises
    ------
    InputError : NaN or infinity.
    """
    if values.dtype.name in COUNTED:
        return values.astype(np.float32) / np.float32(unit)
    refuse_not_finite(values, name)
    wide = values.astype(np.float32 if values.dtype.name in NARROW else np.float64)
    _, exponent = math.frexp(unit)
    return np.ldexp(wide, 1 - exponent, out=wide).astype(np.float32, copy=False)


def _counted(stack: Stack, z: int) -> dict:
    """Statistics of whole numbers, whose sums are exact."""
    n = math.prod(stack.shape[1:])
    total, squares = ([0] * stack.n_channels for _ in range(2))
    for c, plane in _planes(stack, z):
        values = plane.astype(np.uint64)
        total[c] += values.sum().item()
        squares[c] += np.square(values, out=values).sum().item()
    variances = [n * s - t**2 for s, t in zip(squares, total, strict=True)]  # times n squared
    unit = np.iinfo(stack.dtype).max
    return _described(unit, [t / n for t in total], [math.sqrt(v) / n for v in variances])


def _measured(stack: Stack, z: int) -> dict:
    """Statistics of numbers of any size, by sums of squares around the mean of each window."""
    called, largest = f"{stack.path}, image {z}", 0.0
    n, mean, squares = ([0] * stack.n_channels for _ in range(3))
    for c, plane in _planes(stack, z):
        refuse_not_finite(plane, called)
        values = plane.astype(np.float64)
        largest = max(largest, values.max().item(), -values.min().item())
        with np.errstate(over="ignore", invalid="ignore"):  # that is said below
            centre = values.mean().item()
            values -= centre
            spread = np.square(values, out=values).sum().item()
        # Both parts of what was seen, as if they had been looked at together (Chan 1979).
        apart, before = centre - mean[c], n[c]
        n[c] += values.size
        mean[c] += apart * values.size / n[c]
        squares[c] += spread + apart * apart * before * values.size / n[c]
    if not all(map(math.isfinite, squares)):
        raise InputError(f"{called}: values up to {largest:g}, which are too large to be squared")
    _, exponent = math.frexp(largest)
    stds = [math.sqrt(s / k) for s, k in zip(squares, n, strict=True)]
    return _described(2.0**exponent, mean, stds)


def _described(unit: float, means: list[float], stds: list[float]) -> dict:
    """Statistics of an image from those of its channels on the scale of the file."""
    return {
        "unit": unit,
        "mean": [mean / unit for mean in means],
        "std": [max(std / unit, LEAST_STD) for std in stds],
    }


def _planes(stack: Stack, z: int) -> Iterator[tuple[int, np.ndarray]]:
    """Windows that cover an image, block after block, channel by channel with its number."""
    for window in _windows(stack, z):
        yield from enumerate(window)


def _windows(stack: Stack, z: int) -> Iterator[np.ndarray]:
    """Windows (C, h, w) of at most `BAND` values that cover an image, block after block."""
    sides = [block or side for block, side in zip(stack.block, stack.shape[1:], strict=True)]
    spans = [_spans(0, side, step) for side, step in zip(stack.shape[1:], sides, strict=True)]
    for rows, columns in product(*spans):
        n_rows = max(1, BAND // (stack.n_channels * (columns.stop - columns.start)))
        for band in _spans(rows.start, rows.stop, n_rows):
            yield stack.window(z, band, columns)


def _spans(start: int, stop: int, step: int) -> list[slice]:
    """Slices of so many rows or columns, the last as long as there is room."""
    return [slice(k, min(k + step, stop)) for k in range(start, stop, step)]
