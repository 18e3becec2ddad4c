"""Warping error: what is left of the difference when the label may bend but not change topology.

The label is warped towards the thresholded proposal by flipping *simple* pixels, whose flip joins,
splits, opens or closes nothing. The pixels that still differ are topological errors; the 2012
challenge counts those that split or merge objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import njit

from unetcore.errors import InputError
from unetcore.metrics.components import label_components
from unetcore.metrics.sweep import (
    WARPING_THRESHOLDS,
    Sweep,
    at_best,
    checked_thresholds,
    paired_slices,
)

SPLIT_RADIUS = 20  # px, half width of the window in which a split is looked for
OUTSIDE = -1  # component number of the ring around the image
REACHED = 2  # value of label pixels that a search has come to


class Mismatch(IntEnum):
    """Classes of the pixels that still differ after warping, as in the images of classes."""

    MERGER = 1
    SPLIT = 2
    HOLE_ADDITION = 4
    OBJECT_DELETION = 8
    OBJECT_ADDITION = 16
    HOLE_DELETION = 32


MERGER = int(Mismatch.MERGER)  # the compiled functions take plain numbers
SPLIT = int(Mismatch.SPLIT)
HOLE_ADDITION = int(Mismatch.HOLE_ADDITION)
OBJECT_DELETION = int(Mismatch.OBJECT_DELETION)
OBJECT_ADDITION = int(Mismatch.OBJECT_ADDITION)
HOLE_DELETION = int(Mismatch.HOLE_DELETION)


class MismatchCounts(NamedTuple):
    """Pixels of each class in one slice at one threshold."""

    mergers: int
    splits: int
    hole_additions: int
    object_deletions: int
    object_additions: int
    hole_deletions: int


@dataclass(frozen=True)
class WarpingError(Sweep):
    """Warping error at every threshold and at its best one.

    Attributes
    ----------
    counts : tuple of T tuples of Z `MismatchCounts`, by threshold and slice.
    classic_values : tuple of T floats, *all* remaining pixels / all pixels. Another quantity, about
        ten times larger: never the warping error of the challenge.
    """

    counts: tuple[tuple[MismatchCounts, ...], ...]
    classic_values: tuple[float, ...]

    @property
    def classic(self) -> float:
        """Smallest of `classic_values`, at a threshold of its own."""
        return min(self.classic_values)


def warping_error(
    labels, probability, *, thresholds: Sequence[float] | None = None
) -> WarpingError:
    """Warping error: split and merger pixels / all pixels of the stack (Table 1, 2012 definition).

    Parameters
    ----------
    labels : (Z, Y, X) or (Y, X) array, > 0 = cell interior (white), 0 = membrane. A slice without
        white or without black pixels is allowed; wholly white ones are judged as any other, where
        the official program is known not to report splits.
    probability : array of the same shape, of the cell interior, in [0, 1].
    thresholds : foreground is where probability > threshold; by default 0 to 0.9 in steps of 0.1.

    Returns
    -------
    WarpingError, `value` in [0, 1]. One pixel of 30 x 512 x 512 is 1.27e-7: print seven decimals.

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, or values are not finite.

    Examples
    --------
    >>> labels = np.ones((3, 5))
    >>> labels[:, 2] = 0  # two objects, and a proposal that makes them one
    >>> merged = warping_error(labels, np.ones((3, 5)), thresholds=[0.5])
    >>> merged.value, merged.counts[0][0].mergers  # 3 of 15 pixels
    (0.2, 3)
    """
    thresholds = checked_thresholds(thresholds, WARPING_THRESHOLDS)
    counts = [[] for _ in thresholds]
    n_pixels = 0
    for white, probability_slice in paired_slices(labels, probability):
        n_pixels += white.size
        for of_threshold, threshold in zip(counts, thresholds, strict=True):
            *_, classes = _warp_and_classify(white, probability_slice, threshold)
            of_threshold.append(
                MismatchCounts(*(int(np.count_nonzero(classes == code)) for code in Mismatch))
            )
    errors = np.array([sum(c.splits + c.mergers for c in row) for row in counts]) / n_pixels
    classic = np.array([sum(sum(c) for c in row) for row in counts]) / n_pixels
    return WarpingError(
        **at_best(thresholds, errors, errors.argmin()),
        counts=tuple(tuple(row) for row in counts),
        classic_values=tuple(classic.tolist()),
    )


def warping_mismatches(label_slice, probability_slice, threshold: float) -> np.ndarray:
    """Where warping fails on one slice, and how: the places of splits and mergers.

    Parameters
    ----------
    label_slice : (Y, X) array, white where > 0.
    probability_slice : (Y, X) array, of the cell interior, in [0, 1].
    threshold : float, foreground is where probability > threshold.

    Returns
    -------
    (Y, X) uint8 array of `Mismatch` codes, 0 where the warped label agrees with the proposal.

    Raises
    ------
    InputError : shapes differ or are not 2-D, or values are not finite.
    """
    return _images(label_slice, probability_slice, threshold)[1]


def warped_label(label_slice, probability_slice, threshold: float) -> np.ndarray:
    """One label slice warped towards the thresholded proposal.

    Parameters
    ----------
    label_slice : (Y, X) array, white where > 0.
    probability_slice : (Y, X) array, of the cell interior, in [0, 1].
    threshold : float, foreground is where probability > threshold.

    Returns
    -------
    (Y, X) bool array, white = cell interior, of the same topology as the label.

    Raises
    ------
    InputError : shapes differ or are not 2-D, or values are not finite.
    """
    return _images(label_slice, probability_slice, threshold)[0]


def _images(label_slice, probability_slice, threshold):
    shape = np.shape(label_slice)
    if len(shape) != 2:
        raise InputError(f"label of shape {shape}: one slice (Y, X) is needed")
    (threshold,) = checked_thresholds([threshold], ())
    ((white, values),) = paired_slices(label_slice, probability_slice)
    warped, remaining, classes = _warp_and_classify(white, values, threshold)
    image = np.zeros(warped.size, np.uint8)
    image[remaining] = classes
    inside = slice(1, -1)
    image = image.reshape(warped.shape)[inside, inside]
    return warped[inside, inside].T.astype(bool), np.ascontiguousarray(image.T)


def _warp_and_classify(white, probability, threshold):
    """Warp one (X, Y) label slice and judge what is left.

    Returns
    -------
    warped : (X + 2, Y + 2) uint8 array, the warped label in a ring of black.
    remaining : (n,) int array, positions in it that differ from the proposal.
    classes : (n,) uint8 array, their `Mismatch` codes.
    """
    warped = np.pad(white, 1).astype(np.uint8)
    stride = warped.shape[1]
    x, y = np.nonzero(white != (probability > threshold))
    confidence = np.abs(probability[x, y] - threshold).astype(np.float32)
    order = np.argsort(-confidence, kind="stable")
    visits = ((x + 1) * stride + y + 1)[order]
    remaining = _warp(warped.reshape(-1), stride, visits)

    components, _ = label_components(warped)
    components[[0, -1]] = OUTSIDE
    components[:, [0, -1]] = OUTSIDE
    classes = _classify(warped, components, remaining)
    return warped, remaining, classes


@njit(cache=True)
def _ring_steps(stride):
    """List the steps to the 8 neighbours, around from one corner; odd places share an edge."""
    return (-stride - 1, -stride, -stride + 1, 1, stride + 1, stride, stride - 1, -1)


def _simple_rings() -> np.ndarray:
    """Whether a pixel is simple, for each of the 256 rings; bit k = neighbour k is white.

    Simple (white 4-connected, black 8-connected): exactly one 4-component of white neighbours
    touches an edge of the pixel, and exactly one 8-component of its neighbours is black. Yokoi's
    connectivity number counts both at once, by the edges where an arc of white ends.
    """
    simple = np.zeros(256, np.bool_)
    for code in range(256):
        white = [bool(code >> (k % 8) & 1) for k in range(10)]
        arcs = sum(white[k] and not (white[k + 1] and white[k + 2]) for k in (1, 3, 5, 7))
        simple[code] = arcs == 1
    return simple


SIMPLE = _simple_rings()


@njit(cache=True)
def _warp(label, stride, visits):
    """Flip simple pixels of the flat label in place, in passes over `visits`, until none is left.

    A pixel is judged in the state the earlier flips have made, and flips at most once: it then
    agrees with the proposal. Returns the positions that still differ.
    """
    steps = _ring_steps(stride)
    n = len(visits)
    while True:
        kept = 0
        for position in visits[:n]:
            ring = 0
            for k in range(8):
                ring |= label[position + steps[k]] << k
            if SIMPLE[ring]:
                label[position] = 1 - label[position]
            else:
                visits[kept] = position  # only places already read are written
                kept += 1
        if kept == n:
            return visits[:n]
        n = kept


@njit(cache=True)
def _classify(label, components, remaining):
    """Class of each remaining pixel, alone, on the warped label; its neighbours within the image.

    `components` holds OUTSIDE in the ring around the image.
    """
    width, height = label.shape
    flat_label, flat_components = label.ravel(), components.ravel()
    steps = _ring_steps(height)
    queue = np.empty(width * height, np.int32)
    classes = np.empty(len(remaining), np.uint8)
    for k, p in enumerate(remaining):
        white = flat_label[p] == 1
        n_values, value = _values_around(flat_components, p, steps)
        if n_values > 2:
            classes[k] = SPLIT if white else MERGER
        elif n_values == 2:
            if not white:
                classes[k] = HOLE_ADDITION
            elif _splits_window(label, p, queue):
                classes[k] = SPLIT
            else:
                classes[k] = HOLE_DELETION
        elif value == 0:  # also where a one-pixel image has no neighbour at all
            classes[k] = OBJECT_DELETION if white else OBJECT_ADDITION
        else:
            classes[k] = HOLE_ADDITION if white else HOLE_DELETION
    return classes


@njit(cache=True)
def _values_around(components, p, steps):
    """Count the different components around p, black as one; and name one (0 without any)."""
    n_values = 0
    value = 0
    for k in range(8):
        here = components[p + steps[k]]
        new = here != OUTSIDE
        for before in range(k):
            new = new and here != components[p + steps[before]]
        if new:
            n_values += 1
            value = here
    return n_values, value


@njit(cache=True)
def _splits_window(label, p, queue):
    """Whether making the white pixel p black leaves its white neighbours in several components.

    Connections count only within the window of SPLIT_RADIUS around p; a radius above the width or
    the height of the image makes the whole image the window. One search from one of the neighbours
    decides: it comes to all the others or it does not. `queue` is scratch as large as the label.
    """
    width, height = label.shape
    x, y = p // height, p % height
    left, right, top, bottom = 1, width - 2, 1, height - 2
    if width - 2 >= SPLIT_RADIUS and height - 2 >= SPLIT_RADIUS:
        left, right = max(left, x - SPLIT_RADIUS), min(right, x + SPLIT_RADIUS)
        top, bottom = max(top, y - SPLIT_RADIUS), min(bottom, y + SPLIT_RADIUS)

    flat = label.ravel()
    steps = _ring_steps(height)
    flat[p] = 0
    head = tail = 0
    for step in steps:
        if tail == 0 and flat[p + step] == 1:
            flat[p + step] = REACHED
            queue[tail] = p + step
            tail += 1
    while head < tail:
        q = queue[head]
        head += 1
        x, y = q // height, q % height
        for step, inside in (
            (-height, x > left),
            (height, x < right),
            (-1, y > top),
            (1, y < bottom),
        ):
            if inside and flat[q + step] == 1:
                flat[q + step] = REACHED
                queue[tail] = q + step
                tail += 1

    split = False
    for step in steps:
        split = split or flat[p + step] == 1
    for q in queue[:tail]:
        flat[q] = 1
    flat[p] = 1
    return split
