"""Warping of one label slice, and the classes of the pixels that warping cannot mend.

Compiled, on flat images in a ring of black that is never flipped. White is 4-connected, black
8-connected.
"""

from enum import IntEnum

import numpy as np
from numba import njit

from unetcore.metrics.components import label_components

SPLIT_RADIUS = 20  # px, half width of the window in which a split is looked for
OUTSIDE = -1  # component number of the ring around the image
REACHED = 2  # value of label pixels that search 0 has come to; 3 of search 1, and so on


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


def warp_and_classify(white, probability, threshold):
    """Warp one label slice towards the thresholded proposal, and judge what is left.

    Parameters
    ----------
    white : (X, Y) bool array, the label.
    probability : (X, Y) float64 array.
    threshold : float.

    Returns
    -------
    warped : (X + 2, Y + 2) uint8 array, the warped label in a ring of black.
    remaining : (n,) int array, flat positions in it that differ from the proposal.
    codes : (n,) uint8 array, their `Mismatch` codes.
    """
    warped = np.pad(white, 1).astype(np.uint8)
    visits = _surest_first(*_mismatches(white, probability, threshold))
    remaining = _warp(warped.reshape(-1), warped.shape[1], visits)

    components, _ = label_components(warped)
    components[[0, -1]] = OUTSIDE
    components[:, [0, -1]] = OUTSIDE
    return warped, remaining, _classify(warped, components, remaining)


def as_images(warped, remaining, codes):
    """Warped label, (X, Y) bool, and codes as (X, Y) uint8 image, 0 where nothing remains."""
    classes = np.zeros(warped.size, np.uint8)
    classes[remaining] = codes
    inside = slice(1, -1)
    return (
        warped[inside, inside].astype(bool),
        classes.reshape(warped.shape)[inside, inside],
    )


@njit(cache=True, nogil=True)
def _mismatches(white, probability, threshold):
    """Pixels that differ, in scan order: flat positions in the padded image, and confidences."""
    width, height = white.shape
    positions = np.empty(white.size, np.int32)
    confidence = np.empty(white.size, np.float32)
    n = 0
    for x in range(width):
        for y in range(height):
            if white[x, y] != (probability[x, y] > threshold):
                positions[n] = (x + 1) * (height + 2) + y + 1
                confidence[n] = abs(probability[x, y] - threshold)
                n += 1
    return positions[:n], confidence[:n]


def _surest_first(positions: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Ascending positions by descending confidence, and of equals the first one first.

    The bits of floats >= 0 are in the order of the floats, so that one integer holds both keys, and
    a plain sort of integers, which is fast, need not be stable.
    """
    keys = (~confidence.view(np.uint32)).astype(np.uint64) << np.uint64(32)
    keys |= positions.astype(np.uint64)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int32)


def _rings() -> np.ndarray:
    """All 256 states of the ring of 8 neighbours, (256, 8) bool; bit k = neighbour k is white."""
    return (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool)


def _simple_rings() -> np.ndarray:
    """Whether a pixel is simple, for each of the 256 rings.

    Simple (white 4-connected, black 8-connected): exactly one 4-component of white neighbours
    touches an edge of the pixel, and exactly one 8-component of its neighbours is black. Yokoi's
    connectivity number counts both at once, by the edges where an arc of white ends.
    """
    ring, one_on, two_on = (np.roll(_rings(), -k, axis=1) for k in range(3))
    return (ring & ~(one_on & two_on))[:, 1::2].sum(axis=1) == 1


def _joined_rings() -> np.ndarray:
    """Whether the white neighbours of a pixel are one arc of its ring, for each of the 256."""
    ring, one_on = _rings(), np.roll(_rings(), -1, axis=1)
    return (ring & ~one_on).sum(axis=1) <= 1


SIMPLE = _simple_rings()
JOINED = _joined_rings()


@njit(cache=True, nogil=True)
def _ring_steps(stride):
    """List the steps to the 8 neighbours, around from one corner; odd places share an edge."""
    return (-stride - 1, -stride, -stride + 1, 1, stride + 1, stride, stride - 1, -1)


@njit(cache=True, nogil=True)
def _ring(label, position, steps):
    """State of the ring of neighbours; bit k = neighbour k is white."""
    ring = 0
    for k in range(8):
        ring |= label[position + steps[k]] << k
    return ring


@njit(cache=True, nogil=True)
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
            if SIMPLE[_ring(label, position, steps)]:
                label[position] = 1 - label[position]
            else:
                visits[kept] = position  # only places already read are written
                kept += 1
        if kept == n:
            return visits[:n]
        n = kept


@njit(cache=True, nogil=True)
def _classify(label, components, remaining):
    """Class of each remaining pixel, alone, on the warped label; its neighbours within the image.

    `components` holds OUTSIDE in the ring around the image.
    """
    flat_label, flat_components = label.ravel(), components.ravel()
    steps = _ring_steps(label.shape[1])
    queues = np.empty((4, _largest_window(label.shape)), np.int32)  # at most 4 arcs
    codes = np.empty(len(remaining), np.uint8)
    for k, p in enumerate(remaining):
        white = flat_label[p] == 1
        n_values, value = _values_around(flat_components, p, steps)
        if n_values > 2:
            codes[k] = SPLIT if white else MERGER
        elif n_values == 2:
            if not white:
                codes[k] = HOLE_ADDITION
            elif _splits_window(label, p, queues):
                codes[k] = SPLIT
            else:
                codes[k] = HOLE_DELETION
        elif value == 0:  # also where a one-pixel image has no neighbour at all
            codes[k] = OBJECT_DELETION if white else OBJECT_ADDITION
        else:
            codes[k] = HOLE_ADDITION if white else HOLE_DELETION
    return codes


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _is_whole_image(shape):
    """Whether the window is the whole image: the radius is above its width or its height."""
    return shape[0] - 2 < SPLIT_RADIUS or shape[1] - 2 < SPLIT_RADIUS


@njit(cache=True, nogil=True)
def _largest_window(shape):
    """Pixels of the largest window in an image whose shape includes the ring."""
    if _is_whole_image(shape):
        return shape[0] * shape[1]
    return (2 * SPLIT_RADIUS + 1) ** 2


@njit(cache=True, nogil=True)
def _splits_window(label, p, queues):
    """Whether making the white pixel p black leaves its white neighbours in several components.

    Connections count only within the window of SPLIT_RADIUS around p; a radius above the width or
    the height of the image makes the whole image the window.

    A search starts from each arc of white neighbours, all in turns, so that little more than the
    smallest part is looked at. Searches that meet are one. It ends when all are one, or when one
    has come to its end alone. `queues` is scratch, (4, pixels of the window) int.
    """
    width, height = label.shape
    flat = label.ravel()
    steps = _ring_steps(height)
    if JOINED[_ring(flat, p, steps)]:
        return False
    x, y = p // height, p % height
    left, right, top, bottom = 1, width - 2, 1, height - 2
    if not _is_whole_image(label.shape):
        left, right = max(left, x - SPLIT_RADIUS), min(right, x + SPLIT_RADIUS)
        top, bottom = max(top, y - SPLIT_RADIUS), min(bottom, y + SPLIT_RADIUS)

    flat[p] = 0
    search, heads, tails = np.zeros((3, 4), np.int64)
    n = 0
    for k in range(8):  # where an arc starts
        if flat[p + steps[k]] == 1 and flat[p + steps[(k + 7) % 8]] == 0:
            search[n], queues[n, 0], tails[n] = n, p + steps[k], 1
            n += 1
    for k in range(n):
        flat[queues[k, 0]] = REACHED + k
    apart = n
    ended = False
    while apart > 1 and not ended:
        for k in range(n):
            if heads[k] == tails[k]:
                continue
            q = queues[k, heads[k]]
            heads[k] += 1
            x, y = q // height, q % height
            for step, inside in (
                (-height, x > left),
                (height, x < right),
                (-1, y > top),
                (1, y < bottom),
            ):
                value = flat[q + step] if inside else 0
                if value == 1:
                    flat[q + step] = REACHED + k
                    queues[k, tails[k]] = q + step
                    tails[k] += 1
                elif value >= REACHED and search[value - REACHED] != search[k]:
                    met = search[value - REACHED]
                    for other in range(n):
                        if search[other] == met:
                            search[other] = search[k]
                    apart -= 1
        for k in range(n):
            left_over = 0
            for other in range(n):
                if search[other] == search[k]:
                    left_over += tails[other] - heads[other]
            ended = ended or left_over == 0
    for k in range(n):
        for q in queues[k, : tails[k]]:
            flat[q] = 1
    flat[p] = 1
    return apart > 1
