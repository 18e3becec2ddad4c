"""Pairs of pixels that a proposal joins, at every threshold, from one pass over its pixels.

From the highest threshold to the lowest the foreground only grows. Its components, here
*segments*, form and unite as pixels come in, and with them the table c_ij of the pixels that
segment j shares with label component i. Each change of the table adds to the sums of squares that
the Rand index is made of, so that none is ever computed anew.
"""

import numpy as np
from numba import njit, types
from numba.typed import Dict

from unetcore.metrics.components import members_of, root
from unetcore.metrics.sweep import thresholds_below

NONE = -1
SEGMENT_AND_LABEL = types.UniTuple(types.int32, 2)

# Fields of the table, which has a row per patch. Those of a segment and of a cell, c_ij, stand in
# the row of its root.
LABEL = 0  # component i of the label, 0 = black
WHITE = 1  # white pixels c_.j of the segment
N_CELLS = 2  # of the segment
FIRST_CELL = 3  # of the segment
NEXT_CELL = 4  # of the same segment
PIXELS = 5  # c_ij, of the cell
N_FIELDS = 6


def joined_pairs(
    components: np.ndarray, probability: np.ndarray, thresholds
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of white pixels of one slice that are joined in the proposal, at every threshold.

    Parameters
    ----------
    components : (X, Y) int32 array, components of the label, 0 = black, 1.. .
    probability : (X, Y) float64 array; foreground is where probability > threshold.
    thresholds : T floats in any order.

    Returns
    -------
    in_both : (T,) int64 array, TP = sum_{i,j>=1} c_ij^2 + z, where z white pixels lie on the
        proposal's background, each joined with itself alone.
    in_proposal : (T,) int64 array, TP + FP = sum_{j>=1} c_.j^2 + z.
    """
    order = np.argsort(thresholds, kind="stable")
    levels = thresholds_below(probability, np.asarray(thresholds, np.float64)[order])
    sums = np.empty((2, len(order)), np.int64)
    sums[:, order] = _sweep(np.pad(components, 1), np.pad(levels, 1), len(order))
    return sums[0], sums[1]


@njit(cache=True, nogil=True)
def _sweep(components, levels, n_levels):
    """Sums TP and TP + FP at each level, (2, n_levels); both images have a ring of 0 around.

    A pixel next to one of its own label component joins the patch of that one; any other starts a
    patch. Patches are the members of two forests: segments, and within them cells.
    """
    stride = components.shape[1]
    steps = (-stride, -1, 1, stride)
    label = components.ravel()
    pixels, starts = members_of(levels, n_levels)  # those of level 0 never come in
    patch = np.full(len(label), NONE, np.int32)
    segments = np.empty(len(label), np.int32)
    cells = np.empty(len(label), np.int32)
    table = np.empty((len(label), N_FIELDS), np.int32)
    cell_of = Dict.empty(SEGMENT_AND_LABEL, types.int32)
    n_patches = 0
    missed = np.count_nonzero(label)
    in_both = in_proposal = 0
    sums = np.empty((2, n_levels), np.int64)
    for level in range(n_levels, 0, -1):
        for p in pixels[starts[level] : starts[level + 1]]:
            white = label[p] > 0
            for step in steps:
                if patch[p + step] != NONE and label[p + step] == label[p]:
                    patch[p] = patch[p + step]
                    break
            else:
                patch[p] = segments[n_patches] = cells[n_patches] = n_patches
                _start(table[n_patches], n_patches, label[p])
                n_patches += 1

            segment = root(segments, patch[p])
            if white:
                cell = root(cells, patch[p])
                in_both += 2 * table[cell, PIXELS] + 1
                in_proposal += 2 * table[segment, WHITE] + 1
                table[cell, PIXELS] += 1
                table[segment, WHITE] += 1
                missed -= 1
            for step in steps:
                if patch[p + step] != NONE:
                    other = root(segments, patch[p + step])
                    if other != segment:
                        in_proposal += 2 * np.int64(table[segment, WHITE]) * table[other, WHITE]
                        segment, new = _unite(segment, other, segments, cells, table, cell_of)
                        in_both += new
        sums[0, level - 1] = in_both + missed
        sums[1, level - 1] = in_proposal + missed
    return sums


@njit(cache=True, nogil=True)
def _start(row, patch, label):
    """Fill the row of a new patch: a segment of its own, with one cell if it is white."""
    row[LABEL] = label
    row[WHITE] = row[PIXELS] = 0
    row[N_CELLS] = label > 0
    row[FIRST_CELL] = patch if label > 0 else NONE
    row[NEXT_CELL] = NONE


@njit(cache=True, nogil=True)
def _unite(into, gone, segments, cells, table, cell_of):
    """Unite two segments, given by their roots: the one of fewer cells goes into the other.

    Returns the root, and the pairs that are now joined in label and proposal.
    """
    if table[into, N_CELLS] < table[gone, N_CELLS]:
        into, gone = gone, into
    segments[gone] = into
    table[into, WHITE] += table[gone, WHITE]
    joined = 0
    cell = table[gone, FIRST_CELL]
    while cell != NONE:
        after = table[cell, NEXT_CELL]
        same = _find_cell(into, table[cell, LABEL], table, cell_of)
        if same == NONE:
            _append(cell, into, table, cell_of)
        else:
            joined += 2 * np.int64(table[same, PIXELS]) * table[cell, PIXELS]
            table[same, PIXELS] += table[cell, PIXELS]
            cells[cell] = same
        cell = after
    return into, joined


@njit(cache=True, nogil=True)
def _find_cell(segment, label, table, cell_of):
    """Find the cell that a segment has in a label component; NONE without one."""
    if table[segment, N_CELLS] <= 1:
        only = table[segment, FIRST_CELL]
        return only if only != NONE and table[only, LABEL] == label else NONE
    key = (segment, label)
    if key in cell_of:
        return cell_of[key]
    return NONE


@njit(cache=True, nogil=True)
def _append(cell, segment, table, cell_of):
    """Give a segment one more cell. From the second on, `cell_of` knows all of them."""
    first = table[segment, FIRST_CELL]
    if table[segment, N_CELLS] == 1:
        cell_of[(segment, table[first, LABEL])] = first
    if table[segment, N_CELLS] > 0:
        cell_of[(segment, table[cell, LABEL])] = cell
    table[cell, NEXT_CELL] = first
    table[segment, FIRST_CELL] = cell
    table[segment, N_CELLS] += 1
