"""4-connected components of a binary image."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def root(parent, member):
    """Follow the parents of a member of a union-find forest to its root, and shorten the way."""
    while parent[member] != member:
        parent[member] = parent[parent[member]]
        member = parent[member]
    return member


@njit(cache=True, nogil=True)
def label_components(white):
    """Give the 4-connected white components numbers in the order of their first pixel in memory.

    Two passes of union-find: provisional labels with the smaller root as the parent, then final
    numbers. No minimum size.

    Parameters
    ----------
    white : (A, B) bool or integer array, white where not 0.

    Returns
    -------
    labels : (A, B) int32 array, 0 = black, 1..count.
    count : int.
    """
    rows, columns = white.shape
    labels = np.zeros((rows, columns), np.int32)
    parent = np.zeros(rows * columns // 2 + 2, np.int32)  # a checkerboard has the most labels
    used = 0
    for r in range(rows):
        for c in range(columns):
            if not white[r, c]:
                continue
            before = labels[r - 1, c] if r > 0 else 0
            beside = labels[r, c - 1] if c > 0 else 0
            if before == 0 and beside == 0:
                used += 1
                parent[used] = used
                labels[r, c] = used
            elif before == 0 or beside == 0 or before == beside:
                labels[r, c] = max(before, beside)
            else:
                first, second = root(parent, before), root(parent, beside)
                labels[r, c] = min(first, second)
                parent[max(first, second)] = min(first, second)

    number = np.zeros(used + 1, np.int32)
    count = 0
    for label in range(1, used + 1):  # a parent is smaller than its children: already numbered
        if parent[label] == label:
            count += 1
            number[label] = count
        else:
            number[label] = number[parent[label]]
    for r in range(rows):
        for c in range(columns):
            labels[r, c] = number[labels[r, c]]
    return labels, count


@njit(cache=True, nogil=True)
def members_of(labels, count):
    """List the pixels of every component.

    Parameters
    ----------
    labels : (A, B) integer array, 0 = no component, 1..count.
    count : int.

    Returns
    -------
    members : (n,) int32 array of flat positions, by component and then in memory order.
    starts : (count + 2,) int64 array; component i is members[starts[i] : starts[i + 1]].
    """
    flat = labels.ravel()
    starts = np.zeros(count + 2, np.int64)
    for label in flat:
        if label > 0:
            starts[label + 1] += 1
    starts = np.cumsum(starts)
    members = np.empty(starts[-1], np.int32)
    free = starts.copy()
    for position, label in enumerate(flat):
        if label > 0:
            members[free[label]] = position
            free[label] += 1
    return members, starts
