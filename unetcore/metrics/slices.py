"""From two stacks to checked slices, on one thread or several, one slice in memory at a time.

Slices are handed out *columns first*, as (X, Y) arrays: the official program scans x in the outer
and y in the inner loop, and its visiting orders are part of the definitions. Memory order is then
scan order everywhere in this package.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from typing import TypeVar

import numpy as np

from unetcore.errors import InputError

Judged = TypeVar("Judged")


class Slices:
    """A stack as a sequence of (Y, X) arrays, of which nothing is read before it is asked for.

    A metric takes it as it takes the stack, and what it refuses is then called by `name` and
    `frames`: "gold.tif, frame 01-067" in the place of "labels, slice 3".

    Parameters
    ----------
    stack : (Z, Y, X) or (Y, X) array, or anything with shape, dtype and slices, as a memory map or
        a Zarr array.
    name : what messages call it, for instance its file.
    frames : what messages call each slice; None: by its number in the stack.

    Raises
    ------
    InputError : not 2-D or 3-D, without a pixel, not made of numbers, or not one slice per frame.
    """

    def __init__(self, stack, name, *, frames: Sequence[str] | None = None):
        stack = as_array(stack, name)
        shape = tuple(stack.shape)
        if len(shape) not in (2, 3) or 0 in shape:
            raise InputError(f"{name} of shape {shape}: (Z, Y, X) or (Y, X) with pixels is needed")
        if stack.dtype.kind not in "buif":
            raise InputError(f"{name} of type {stack.dtype}: numbers are needed")
        self._stack = stack
        self._frames = frames
        self.name, self.dtype = name, stack.dtype
        self.shape = shape if len(shape) == 3 else (1, *shape)
        if frames is not None and len(frames) != len(self):
            raise InputError(f"{name}: {len(self)} slices for {len(frames)} frames")

    @classmethod
    def of(cls, stack, name) -> "Slices":
        """Take a stack as it is if it has a name of its own, and else by `name`."""
        return stack if isinstance(stack, cls) else cls(stack, name)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, z: int) -> np.ndarray:
        if not 0 <= z < len(self):
            raise IndexError(z)
        return np.asarray(self._stack[z if len(self._stack.shape) == 3 else ...])

    def called(self, z: int) -> str:
        """Words for slice z in a message."""
        which = f"slice {z}" if self._frames is None else f"frame {self._frames[z]}"
        return f"{self.name}, {which}"

    def without(self, ignored) -> "Slices":
        """Make the same stack with 0 where nothing is known.

        Parameters
        ----------
        ignored : bool stack of the same shape, or anything with slices.

        Raises
        ------
        InputError : it has another shape.
        """
        ignored = Slices.of(ignored, "ignored pixels")
        self.refuse_other_shape(ignored)
        return Slices(_Without(self, ignored), self.name, frames=self._frames)

    def refuse_other_shape(self, other: "Slices") -> None:
        """Raise InputError if the two stacks do not have the same shape."""
        if self.shape != other.shape:
            raise InputError(
                f"{self.name} {self.shape} and {other.name} {other.shape}: the shapes must be equal"
            )


class _Without:
    """A stack with 0 in some of its pixels, slice by slice."""

    def __init__(self, stack: Slices, ignored: Slices):
        self._stack, self._ignored = stack, ignored
        self.shape, self.dtype = stack.shape, stack.dtype

    def __getitem__(self, z: int) -> np.ndarray:
        values = self._stack[z]
        return np.where(self._ignored[z], np.zeros((), values.dtype), values)


def as_array(values, name):
    """Turn nested lists into an array; what has a dtype already is left as it is, and unread.

    Raises
    ------
    InputError : the lists differ in length.
    """
    if isinstance(getattr(values, "dtype", None), np.dtype):
        return values
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name}: lists of different length, an array is needed") from error


def over_slices(
    judge: Callable[[int, np.ndarray, np.ndarray], Judged],
    labels,
    probability,
    *,
    threads: int = 1,
    needs_white: bool = False,
) -> Iterator[Judged]:
    """Judge a probability map by its labels, slice by slice.

    Slices are read in order by the calling thread and judged on `threads` threads; the results come
    in the order of the slices, so that a sum over them is the same for any number of threads. At
    most 2 * `threads` slices are in memory.

    Parameters
    ----------
    judge : function of the number z of a slice, its white pixels, (X, Y) bool, and its
        probabilities, (X, Y) float64. These hold float32 values, as the comparison
        ``float64(float32 value) > threshold`` of the definition needs them.
    labels : (Z, Y, X) or (Y, X) array of whole numbers >= 0, white where > 0.
    probability : array of the same shape, see `interior_probability`.
    threads : int >= 1.
    needs_white : whether to refuse a slice without white pixels.

    Yields
    ------
    What `judge` returns, for z = 0, 1, ...

    Raises
    ------
    InputError : shapes differ, are not 2-D or 3-D, hold no pixel; values are not as described;
        `threads` is not a whole number >= 1.
    """
    labels, probability = Slices.of(labels, "labels"), Slices.of(probability, "probability")
    labels.refuse_other_shape(probability)
    if not isinstance(threads, Integral) or threads < 1:
        raise InputError(f"threads {threads!r}: a whole number >= 1 is needed")

    def judged(z, label_slice, probability_slice):
        white = np.ascontiguousarray(whole_numbers(label_slice, labels.called(z)).T > 0)
        if needs_white and not white.any():
            raise InputError(
                f"{labels.called(z)}: no white pixel; the Rand and information scores are"
                " undefined there, so leave the slice out"
            )
        return judge(z, white, interior_probability(probability_slice, probability.called(z)))

    slices = zip(range(len(labels)), labels, probability, strict=True)
    if threads == 1 or len(labels) == 1:
        yield from (judged(*one) for one in slices)
        return
    with ThreadPoolExecutor(min(threads, len(labels))) as pool:
        in_flight = deque()
        for one in slices:
            in_flight.append(pool.submit(judged, *one))
            if len(in_flight) >= 2 * threads:
                yield in_flight.popleft().result()
        while in_flight:
            yield in_flight.popleft().result()


def whole_numbers(labels: np.ndarray, called: str) -> np.ndarray:
    """Check one slice of labels, `called` so in messages: whole numbers >= 0 of any number type.

    Raises
    ------
    InputError : a label is negative, fractional, NaN or infinite; the first one is named.
    """
    _refuse_not_finite(labels, called)
    if labels.dtype.kind == "f":
        _refuse(labels != np.floor(labels), labels, called, "labels are whole numbers")
    if labels.dtype.kind in "if":
        _refuse(labels < 0, labels, called, "labels are 0 (background) or more")
    return labels


def interior_probability(probability: np.ndarray, called: str) -> np.ndarray:
    """Check one slice of a probability map and turn it columns first.

    Parameters
    ----------
    probability : (Y, X) array. Floats, and integers of more than 8 bits, must lie in [0, 1] once
        they are rounded to float32. 8-bit maps are taken as they are, as the official program does,
        and not divided by 255: with one, every value above 0 is foreground at every threshold
        below 1.
    called : what messages call the slice.

    Returns
    -------
    (X, Y) float64 array of float32 values.

    Raises
    ------
    InputError : a value is NaN, infinite or outside [0, 1]; the first one is named.
    """
    _refuse_not_finite(probability, called)
    with np.errstate(over="ignore"):  # what overflows is outside [0, 1], and refused as such
        values = probability.T.astype(np.float32, order="C").astype(np.float64)
    if probability.dtype.name not in ("bool", "uint8") and (values.min() < 0 or values.max() > 1):
        outside = (values < 0) | (values > 1)
        _refuse(outside.T, probability, called, "probabilities lie in [0, 1]")
    return values


def _refuse_not_finite(values: np.ndarray, called: str) -> None:
    if values.dtype.kind == "f":
        _refuse(~np.isfinite(values), values, called, "finite numbers are needed")


def _refuse(bad: np.ndarray, values: np.ndarray, called: str, rule: str) -> None:
    """Raise InputError if anything is `bad`, naming the first value that is."""
    if bad.any():
        y, x = (int(place) for place in np.argwhere(bad)[0])
        raise InputError(f"{called}: {values[y, x]} at y = {y}, x = {x}; {rule}")
