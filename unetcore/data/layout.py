"""Which axis of an array is which, and where an image of a stack lies in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from unetcore.data.raw_image import AXES, OF_CHANNELS, OF_SLICES, named_axes

IDLE = "_"  # an axis of length 1 that means nothing


@dataclass(frozen=True)
class Layout:
    """An array of images, of which one is cut out by its number.

    Attributes
    ----------
    axes : letter of each axis, out of `unetcore.data.raw_image.AXES` or `IDLE`.
    shape : of the array.
    """

    axes: str
    shape: tuple[int, ...]

    @cached_property
    def sides(self) -> dict[str, int]:
        """Lengths of the axes by their letters."""
        return dict(zip(self.axes, self.shape, strict=True))

    @cached_property
    def slices(self) -> dict[str, int]:
        """Lengths of the axes that count slices, times first."""
        return {letter: self.sides[letter] for letter in OF_SLICES if letter in self.sides}

    @property
    def stack_shape(self) -> tuple[int, int, int]:
        """(N, H, W), all times and depths along the first axis."""
        return math.prod(self.slices.values()), self.sides["Y"], self.sides["X"]

    @property
    def n_channels(self) -> int:
        """Number of channels; red, green and blue are three."""
        return math.prod(self.sides.get(letter, 1) for letter in OF_CHANNELS)

    def window(self, page: int, rows: slice, columns: slice) -> tuple[slice, ...]:
        """Slices of the array that hold a part of one image in all its channels."""
        places = np.unravel_index(page, tuple(self.slices.values())) if self.slices else ()
        spans = {letter: _one(int(k)) for letter, k in zip(self.slices, places, strict=True)}
        spans |= {"Y": rows, "X": columns, IDLE: _one(0)}
        whole = {letter: slice(0, side) for letter, side in self.sides.items()}
        return tuple((whole | spans)[letter] for letter in self.axes)

    def as_channels(self, window: np.ndarray) -> np.ndarray:
        """What `window` cuts out of the array, as (C, h, w)."""
        channels = [k for k, letter in enumerate(self.axes) if letter in OF_CHANNELS]
        y, x = self.axes.index("Y"), self.axes.index("X")
        others = [k for k in range(len(self.axes)) if k not in (*channels, y, x)]
        ordered = window.transpose([*others, *channels, y, x])
        return ordered.reshape(-1, *ordered.shape[-2:])

    def block(self, chunk: Sequence[int]) -> tuple[tuple[int, int], int]:
        """What is decoded at once where the array is stored in chunks.

        Parameters
        ----------
        chunk : sides of a chunk.

        Returns
        -------
        (h, w) in px, and the number of planes of this size: those of all channels, and of all
        images that a chunk reaches over.
        """
        sides = dict(zip(self.axes, chunk, strict=True))
        n_planes = math.prod(
            -(-self.sides[letter] // side) * side if letter in OF_CHANNELS else side
            for letter, side in sides.items()
            if letter not in "YX"
        )
        return (sides["Y"], sides["X"]), n_planes


def layout_of(names: Sequence[str], shape: tuple[int, ...], path: Path) -> Layout:
    """Layout of an array of Zarr.

    Parameters
    ----------
    names : of its axes, as OME-Zarr has them; none of a bare array, whose last two are rows and
        columns.
    path : what a message calls it.

    Raises
    ------
    InputError : axes that make no images.
    """
    letters = [name.upper() if len(name) == 1 else "?" for name in names]
    letters = letters or ["I"] * (len(shape) - 2) + ["Y", "X"]
    n_most = len("TZYX")
    idle = [
        side == 1 and letter not in AXES and (bool(names) or len(shape) > n_most)
        for letter, side in zip(letters, shape, strict=True)
    ]
    meant = [k for k in range(len(shape)) if not idle[k]]
    named = named_axes("".join(letters[k] for k in meant), tuple(shape[k] for k in meant), path)
    found = iter(named)
    return Layout("".join(IDLE if skipped else next(found) for skipped in idle), tuple(shape))


def _one(k: int) -> slice:
    return slice(k, k + 1)
