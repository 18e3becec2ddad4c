"""Warping error: what is left of the difference when the label may bend but not change topology.

The label is warped towards the thresholded proposal by flipping *simple* pixels, whose flip joins,
splits, opens or closes nothing. The pixels that still differ are topological errors; the 2012
challenge counts those that split or merge objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from unetcore.errors import InputError
from unetcore.metrics.components import members_of
from unetcore.metrics.places import Collected, Places, most_costly
from unetcore.metrics.slices import as_array, over_slices
from unetcore.metrics.sweep import WARPING_THRESHOLDS, Sweep, at_best, checked_thresholds
from unetcore.metrics.topology import Mismatch, as_images, warp_and_classify

EIGHT_CONNECTED = np.ones((3, 3), bool)


class MismatchCounts(NamedTuple):
    """Pixels of each class in one slice at one threshold."""

    mergers: int
    splits: int
    hole_additions: int
    object_deletions: int
    object_additions: int
    hole_deletions: int


class WarpingPlace(NamedTuple):
    """An 8-connected group of split pixels, or of merger pixels.

    Attributes
    ----------
    z : int, its slice, counted from 0 in the stack that was given.
    y, x : int, its middle pixel: half of the others come before it, column by column.
    pixels : int.
    """

    z: int
    y: int
    x: int
    pixels: int


@dataclass(frozen=True)
class WarpingError(Sweep):
    """Warping error at every threshold and at its best one.

    Attributes
    ----------
    counts : tuple of T tuples of Z `MismatchCounts`, by threshold and slice.
    classic_values : tuple of T floats, *all* remaining pixels / all pixels. Another quantity, about
        ten times larger: never the warping error of the challenge.
    splits, mergers : Places of `WarpingPlace` at the best threshold, the largest first.
    """

    counts: tuple[tuple[MismatchCounts, ...], ...]
    classic_values: tuple[float, ...]
    splits: Places[WarpingPlace]
    mergers: Places[WarpingPlace]

    @property
    def classic(self) -> float:
        """Smallest of `classic_values`, at a threshold of its own."""
        return min(self.classic_values)


def warping_error(
    labels, probability, *, thresholds: Sequence[float] | None = None, threads: int = 1
) -> WarpingError:
    """Warping error: split and merger pixels / all pixels of the stack (Table 1, 2012 definition).

    Parameters
    ----------
    labels : (Z, Y, X) or (Y, X) array of whole numbers, > 0 = cell interior (white), 0 = membrane.
        A slice without white or without black pixels is allowed; wholly white ones are judged as
        any other, where the official program is known not to report splits.
    probability : array of the same shape, of the cell interior, in [0, 1]; 8-bit maps unscaled.
    thresholds : foreground is where probability > threshold; by default 0 to 0.9 in steps of 0.1.
    threads : int >= 1, slices are judged on so many threads; the result is the same for any.

    Returns
    -------
    WarpingError, `value` in [0, 1]. One pixel of 30 x 512 x 512 is 1.27e-7: print seven decimals.

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, or values are out of range.

    Examples
    --------
    >>> labels = np.ones((3, 5))
    >>> labels[:, 2] = 0  # two objects, and a proposal that makes them one
    >>> merged = warping_error(labels, np.ones((3, 5)), thresholds=[0.5])
    >>> merged.value, merged.counts[0][0].mergers  # 3 of 15 pixels
    (0.2, 3)
    >>> merged.mergers.largest
    (WarpingPlace(z=0, y=1, x=2, pixels=3),)
    """
    thresholds = checked_thresholds(thresholds, WARPING_THRESHOLDS)

    def of_slice(z, white, values):
        return white.size, [_counts(white, values, threshold) for threshold in thresholds]

    slices = list(over_slices(of_slice, labels, probability, threads=threads))
    n_pixels = sum(size for size, _ in slices)
    counts = tuple(zip(*(of_thresholds for _, of_thresholds in slices), strict=True))
    errors = np.array([sum(c.splits + c.mergers for c in row) for row in counts]) / n_pixels
    classic = np.array([sum(sum(c) for c in row) for row in counts]) / n_pixels
    found = at_best(thresholds, errors, errors.argmin())
    splits, mergers = _places(labels, probability, found["threshold"], threads)
    return WarpingError(
        **found,
        counts=counts,
        classic_values=tuple(classic.tolist()),
        splits=splits,
        mergers=mergers,
    )


def _counts(white, values, threshold) -> MismatchCounts:
    *_, codes = warp_and_classify(white, values, threshold)
    n_of_code = np.bincount(codes, minlength=max(Mismatch) + 1).tolist()
    return MismatchCounts(*(n_of_code[code] for code in Mismatch))


def _places(labels, probability, threshold, threads) -> tuple[Places, Places]:
    """Splits and mergers of a stack at one threshold."""
    kinds = (Mismatch.SPLIT, Mismatch.MERGER)

    def of_slice(z, white, values):
        _, classes = as_images(*warp_and_classify(white, values, threshold))
        return [_groups(classes == kind) for kind in kinds]

    collected = [Collected(cost=lambda place: place.pixels) for _ in kinds]
    for z, groups in enumerate(over_slices(of_slice, labels, probability, threads=threads)):
        for of_kind, (middles, pixels) in zip(collected, groups, strict=True):
            largest = most_costly(pixels)
            of_kind.add(len(pixels), _as_places(z, middles[largest], pixels[largest]))
    return tuple(of_kind.places() for of_kind in collected)


def _groups(at_fault: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """8-connected groups of an (X, Y) bool image: middles (n, 2) as (y, x), and pixels (n,)."""
    groups, n = ndimage.label(at_fault, EIGHT_CONNECTED)
    members, starts = members_of(groups, n)
    pixels = np.diff(starts[1:])
    x, y = np.divmod(members[starts[1:-1] + pixels // 2], at_fault.shape[1])
    return np.stack([y, x], axis=1), pixels


def _as_places(z: int, middles: np.ndarray, pixels: np.ndarray) -> list[WarpingPlace]:
    rows = np.column_stack([middles, pixels]).tolist()
    return [WarpingPlace(z, *row) for row in rows]


def warping_places(classes: np.ndarray, kind: Mismatch) -> list[WarpingPlace]:
    """All places of one kind in one slice, as in the `splits` and `mergers` of `WarpingError`.

    Parameters
    ----------
    classes : (Y, X) uint8 array, what `warping_mismatches` returns.
    kind : the class of pixels.

    Returns
    -------
    list of `WarpingPlace` with z = 0, in the order of their first pixels, column by column.
    """
    at_fault = np.equal(classes.T, kind)
    return _as_places(0, *_groups(at_fault))


def warping_mismatches(label_slice, probability_slice, threshold: float) -> np.ndarray:
    """Where warping fails on one slice, and how: the pixels of splits and mergers.

    Parameters
    ----------
    label_slice : (Y, X) array of whole numbers, white where > 0.
    probability_slice : (Y, X) array, of the cell interior, in [0, 1].
    threshold : float, foreground is where probability > threshold.

    Returns
    -------
    (Y, X) uint8 array of `Mismatch` codes, 0 where the warped label agrees with the proposal.

    Raises
    ------
    InputError : shapes differ or are not 2-D, or values are out of range.
    """
    return _images(label_slice, probability_slice, threshold)[1]


def warped_label(label_slice, probability_slice, threshold: float) -> np.ndarray:
    """One label slice warped towards the thresholded proposal.

    Parameters
    ----------
    label_slice : (Y, X) array of whole numbers, white where > 0.
    probability_slice : (Y, X) array, of the cell interior, in [0, 1].
    threshold : float, foreground is where probability > threshold.

    Returns
    -------
    (Y, X) bool array, white = cell interior, of the same topology as the label.

    Raises
    ------
    InputError : shapes differ or are not 2-D, or values are out of range.
    """
    return _images(label_slice, probability_slice, threshold)[0]


def _images(label_slice, probability_slice, threshold):
    """Warped label and classes of one slice, rows first."""
    label_slice = as_array(label_slice, "labels")
    shape = tuple(label_slice.shape)
    if len(shape) != 2:
        raise InputError(f"label of shape {shape}: one slice (Y, X) is needed")
    (threshold,) = checked_thresholds([threshold], ())

    def of_slice(z, white, values):
        return as_images(*warp_and_classify(white, values, threshold))

    (images,) = over_slices(of_slice, label_slice, probability_slice)
    return tuple(np.ascontiguousarray(image.T) for image in images)
