"""Exact distances from every pixel to its nearest and second nearest cell, in one transform.

Two sweeps along each row, to the right and to the left, carry the two nearest distinct labels. Then
every row is merged with the rows above and below it, outwards, until the rows alone are too far.

A distance and its label are one int64 *key*: px^2 in the upper 32 bits, the label in the lower. So
one comparison of whole numbers orders by distance, ties by label; nothing is rounded before the
last square root, and whole rows are merged without a branch.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from unetcore.errors import InputError
from unetcore.labels import whole_numbers

LABEL_BITS = 32
LABEL_MASK = 2**LABEL_BITS - 1
LARGEST_LABEL = 2**31 - 1
LONGEST = 2**15 - 1  # px; twice its square fits above the label of an int64
STRIP = 512  # columns merged together: few enough for the cache, enough to go many at a time
ASK_EVERY = 3  # rows merged; to ask whether more are needed takes as long as to merge two


class TwoNearest(NamedTuple):
    """What `two_nearest` finds.

    Attributes
    ----------
    d1, d2 : (H, W) float64 arrays, distances in px; inf where there is no such cell.
    label1, label2 : (H, W) arrays of the labels' type, the cells at d1 and d2; 0 where there is
        none. Both are None unless asked for.
    """

    d1: np.ndarray
    d2: np.ndarray
    label1: np.ndarray | None
    label2: np.ndarray | None


def two_nearest(
    labels, limit=np.inf, limit_of_sum=None, *, where=None, return_labels=False
) -> TwoNearest:
    """Exact Euclidean distances to the nearest and the second nearest distinct label.

    Parameters
    ----------
    labels : (H, W) array of whole numbers, 0 = background, others = one id per cell; a cell may
        consist of several parts.
    limit : float >= 0, px. Where d1 is larger, d1 and d2 are inf.
    limit_of_sum : float >= 0, px. Where d1 + d2 is larger, d2 is inf. By default 2 * `limit`.
    where : (H, W) bool array, the pixels to compute; by default all. The others get inf.
    return_labels : whether to name the two cells as well.

    Returns
    -------
    TwoNearest. d1 is the distance to the nearest pixel of the nearest cell, 0 inside a cell; d2 to
    the nearest pixel of the nearest *other* cell. Of cells equally near, that of the lower label
    counts as the nearer one.

    Raises
    ------
    InputError : as `checked_labels`; a limit is negative or NaN; `where` has another shape; the
        image is so large that it needs a limit.

    Notes
    -----
    The time grows with the distance to the second nearest cell, up to the limits: give limits where
    cells are few and far between. Memory is that of d1 and d2, and of as many rows, 16 bytes per
    pixel, as lie within the limits.

    Examples
    --------
    >>> found = two_nearest(np.array([[7, 0, 0, 0, 9]]))
    >>> found.d1.tolist(), found.d2.tolist()
    ([[0.0, 1.0, 2.0, 1.0, 0.0]], [[4.0, 3.0, 2.0, 3.0, 4.0]])
    """
    labels = checked_labels(labels)
    limit_of_sum = 2 * limit if limit_of_sum is None else limit_of_sum
    if not (limit >= 0 and limit_of_sum >= 0):
        raise InputError(f"limits of {limit} and {limit_of_sum} px: need numbers >= 0")
    where = np.ones(labels.shape, bool) if where is None else np.asarray(where, bool)
    if where.shape != labels.shape:
        raise InputError(f"`where` of shape {where.shape} for labels of shape {labels.shape}")
    if _n_labels_up_to_two(labels) < 2:
        limit_of_sum = 0  # nothing to look for beyond the only cell
    diagonal = float(np.hypot(*labels.shape))
    limit, limit_of_sum = min(limit, diagonal), min(limit_of_sum, 2 * diagonal)
    reach = float(min(max(limit, limit_of_sum), diagonal))
    if reach > LONGEST:
        raise InputError(f"distances up to {reach:.0f} px: need a limit of {LONGEST} px or less")
    names, ids = small_ids(labels)
    d1, d2 = np.full((2, *ids.shape), np.inf)
    found = np.zeros((2, *ids.shape), np.int32) if return_labels else None
    _fill(ids, where, reach, float(limit), float(limit_of_sum), d1, d2, found)
    label1, label2 = (None, None) if found is None else names(found)
    return TwoNearest(d1, d2, label1, label2)


def checked_labels(labels) -> np.ndarray:
    """Labels of one image as an integer array, or a refusal.

    Parameters
    ----------
    labels : (H, W) array of whole numbers >= 0 of any integer type, bool, or float.

    Returns
    -------
    (H, W) integer array; the array itself where it was one.

    Raises
    ------
    InputError : not two axes, no pixel, or as `unetcore.labels.whole_numbers`.
    """
    try:
        labels = np.asarray(labels)
    except ValueError as error:
        raise InputError("labels of rows that differ in length: need 2-D") from error
    if labels.ndim != 2 or labels.size == 0:
        raise InputError(f"labels of shape {labels.shape}: need 2-D with at least one pixel")
    return whole_numbers(labels)


def _n_labels_up_to_two(labels):
    """Count the distinct labels; more than two count as two."""
    highest = labels.max()
    if highest == 0:
        return 0
    return 1 if ((labels == 0) | (labels == highest)).all() else 2


def small_ids(labels: np.ndarray):
    """Labels as int32 in the same order, and the function that gives their names back.

    Parameters
    ----------
    labels : (H, W) integer array >= 0 with fewer than 2^31 different values.

    Returns
    -------
    names : function of an array of ids, of the labels that they stand for.
    ids : (H, W) int32 array, rows in memory; 0 where `labels` is 0. The labels themselves where
        none is above 2^31 - 1.
    """
    if labels.max() <= LARGEST_LABEL:
        return lambda ids: ids.astype(labels.dtype), np.ascontiguousarray(labels, np.int32)
    names = np.unique(np.concatenate([np.zeros(1, labels.dtype), labels.ravel()]))
    return lambda ids: names[ids], np.searchsorted(names, labels).astype(np.int32)


@njit(cache=True, nogil=True)
def _fill(labels, where, reach, limit, limit_of_sum, d1, d2, found):
    """Fill d1 and d2 wherever `where` is true, and `found` by the labels unless it is None.

    Of the keys along rows, only those of the rows within `reach` px are kept.
    """
    height, width = labels.shape
    none = (np.int64(reach**2) + 2) << LABEL_BITS
    farthest = min(int(reach), height - 1)
    n_kept = min(2 * farthest + 1, height)
    keys1, keys2 = np.empty((n_kept, width), np.int64), np.empty((n_kept, width), np.int64)
    strip1, strip2 = np.empty(STRIP, np.int64), np.empty(STRIP, np.int64)
    n_swept = 0
    for y in range(height):
        while n_swept < min(y + farthest + 1, height):
            _keys_along_row(labels[n_swept], none, keys1[n_swept % n_kept], keys2[n_swept % n_kept])
            n_swept += 1
        last = min(farthest, max(y, height - 1 - y))
        for left in range(0, width, STRIP):
            right = min(left + STRIP, width)
            best1, best2 = strip1[: right - left], strip2[: right - left]
            wanted = where[y, left:right]
            best1[:] = keys1[y % n_kept, left:right]
            best2[:] = keys2[y % n_kept, left:right]
            offset = 1
            while offset <= last and (
                offset % ASK_EVERY != 1
                or _may_improve(best1, best2, wanted, offset, limit, limit_of_sum)
            ):
                above = y - offset if offset <= y else y + offset  # twice the same does no harm
                below = y + offset if y + offset < height else y - offset
                _merge(
                    keys1[above % n_kept, left:right],
                    keys2[above % n_kept, left:right],
                    keys1[below % n_kept, left:right],
                    keys2[below % n_kept, left:right],
                    offset,
                    best1,
                    best2,
                )
                offset += 1
            _write(best1, best2, wanted, y, left, limit, limit_of_sum, d1, d2, found)


@njit(cache=True, nogil=True)
def _keys_along_row(labels, none, keys1, keys2):
    """Keys of the two nearest distinct labels of the row itself, for every pixel of it.

    Two labels suffice. Of a third, the pixels of the other two lie in the same row at smaller
    column offsets, hence nearer to every pixel of the column: it is neither the nearest label nor
    the second nearest. What has no smaller key than `none` is left out; `none` has the label 0.
    """
    keys1[:] = none
    keys2[:] = none
    _sweep(labels, keys1, keys2)
    _sweep(labels[::-1], keys1[::-1], keys2[::-1])


@njit(cache=True, nogil=True)
def _sweep(labels, keys1, keys2):
    """Insert what lies at or before every pixel of a row into its keys."""
    near, near_label = 0, 0  # the last labelled pixel
    far, far_label = 0, 0  # the last one of another label than that
    for x in range(labels.size):
        label = np.int64(labels[x])
        if label != 0:
            if label != near_label:
                far, far_label = near, near_label
            near, near_label = x, label
        if near_label != 0:
            key = _key(x - near, near_label)
            keys1[x], keys2[x] = _insert(key, keys1[x], keys2[x])
        if far_label != 0:
            key = _key(x - far, far_label)
            keys1[x], keys2[x] = _insert(key, keys1[x], keys2[x])


@njit(cache=True, nogil=True)
def _key(distance, label):
    """Key of a label of the same row; beyond `LONGEST` px it is above any `none`: never kept."""
    return min(distance, LONGEST + 1) ** 2 << LABEL_BITS | label


@njit(cache=True, nogil=True)
def _merge(above1, above2, below1, below2, offset, best1, best2):
    """Insert the keys of the two rows that are `offset` px away."""
    farther = offset**2 << LABEL_BITS
    for x in range(best1.size):
        key1, key2 = best1[x], best2[x]
        key1, key2 = _insert(above1[x] + farther, key1, key2)
        key1, key2 = _insert(above2[x] + farther, key1, key2)
        key1, key2 = _insert(below1[x] + farther, key1, key2)
        key1, key2 = _insert(below2[x] + farther, key1, key2)
        best1[x], best2[x] = key1, key2


@njit(cache=True, nogil=True)
def _insert(key, key1, key2):
    """The two smallest keys of distinct labels out of a new one and two sorted ones."""
    same_label = (key ^ key1) & LABEL_MASK == 0
    return min(key, key1), key2 if same_label else min(key2, max(key, key1))


@njit(cache=True, nogil=True)
def _write(best1, best2, wanted, y, left, limit, limit_of_sum, d1, d2, found):
    """Write what is within the limits, of the part of row y that begins at column `left`."""
    for x in np.flatnonzero(wanted):
        nearest, label1 = np.sqrt(best1[x] >> LABEL_BITS), best1[x] & LABEL_MASK
        other, label2 = np.sqrt(best2[x] >> LABEL_BITS), best2[x] & LABEL_MASK
        if label1 == 0 or nearest > limit:
            continue
        if label2 == 0 or nearest + other > limit_of_sum:
            other, label2 = np.inf, 0
        d1[y, left + x], d2[y, left + x] = nearest, other
        if found is not None:
            found[0, y, left + x], found[1, y, left + x] = label1, label2


@njit(cache=True, nogil=True)
def _may_improve(best1, best2, wanted, offset, limit, limit_of_sum):
    """Whether rows `offset` px away, or more, can still matter to a pixel.

    A nearest label that is farther than that can be replaced within `limit`; a second nearest one
    if its distance, at least `offset`, and d1 together can stay within `limit_of_sum`. The 2 px^2
    make up for rounding; the distances themselves are held against the limits in the end.
    """
    here = offset**2 << LABEL_BITS
    first = offset <= limit
    second = offset <= limit_of_sum
    room = min(max(limit_of_sum - offset, 0.0), LONGEST)
    near = (int(room**2) + 2) << LABEL_BITS
    improves = False
    for x in range(best1.size):
        improves |= wanted[x] & (
            (first & (best1[x] > here)) | (second & (best2[x] > here) & (best1[x] < near))
        )
    return improves
