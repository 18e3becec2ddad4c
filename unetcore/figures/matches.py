"""What became of the cells of a frame, as SEG sees it."""

from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CellMatches:
    """What became of the cells of a frame, and of the segments; lists of ids.

    Attributes
    ----------
    found : cells with a match of their own. As in SEG, a segment is the match of a cell if it
        covers more than half of it.
    merged : cells that share their match with others.
    missed : cells without a match.
    merging : segments that are the match of several cells.
    wrong : segments that are the match of none.
    """

    found: list[int]
    merged: list[int]
    missed: list[int]
    merging: list[int]
    wrong: list[int]


def match_cells(labels: np.ndarray, segments: np.ndarray) -> CellMatches:
    """Match the cells of a frame with its segments.

    Parameters
    ----------
    labels, segments : (H, W) integer arrays of ids, 0 = background.

    Examples
    --------
    >>> match_cells(np.array([[1, 1, 2, 2, 0, 3]]), np.array([[7, 7, 7, 7, 8, 0]]))
    CellMatches(found=[], merged=[1, 2], missed=[3], merging=[7], wrong=[8])
    """
    match = {}
    for cell in np.unique(labels[labels > 0]).tolist():
        under = segments[labels == cell]
        segment = int(np.bincount(under).argmax())
        covers = segment > 0 and 2 * np.count_nonzero(under == segment) > under.size
        match[cell] = segment if covers else 0
    cells_of = Counter(segment for segment in match.values() if segment)
    return CellMatches(
        found=[cell for cell, segment in match.items() if cells_of[segment] == 1],
        merged=[cell for cell, segment in match.items() if cells_of[segment] > 1],
        missed=[cell for cell, segment in match.items() if not segment],
        merging=sorted(segment for segment, n in cells_of.items() if n > 1),
        wrong=[s for s in np.unique(segments[segments > 0]).tolist() if s not in cells_of],
    )
