"""From a probability map to separate cells, by the recipe of the authors' release of 2015."""

import numpy as np
from scipy import ndimage

EIGHT_NEIGHBOURS = np.ones((3, 3))
FOUR_NEIGHBOURS = ndimage.generate_binary_structure(2, 1)


def instances(probability, *, threshold=0.5, smallest_object=500, fill_holes=False, border=0):
    """Label the cells of one frame.

    Pixels above the threshold are grouped into 8-connected components; components of
    `smallest_object` px or less and those that lie wholly in the margin are removed, as in the
    authors' release. Holes are filled afterwards, so that they make no component larger.

    Parameters
    ----------
    probability : (H, W) float array in [0, 1], of cell interior.
    threshold : strict lower bound of the probability of a cell pixel.
    smallest_object : px; components up to this area are removed (release: 500).
    fill_holes : whether holes of a cell become its own (release: no). A hole is a 4-connected
        region of background that touches one cell only, and not the edge of the image: what
        parts two cells, one around the other, is none.
    border : px; width of the margin whose objects are left out, for instance because the challenge
        does not annotate them (its field of interest begins after 50 px).

    Returns
    -------
    (H, W) array, 0 = background, 1..K = one id per cell: uint16, or uint32 of more cells than
    that can number.

    Examples
    --------
    >>> p = np.array([[0.9, 0.2, 0.2, 0.9], [0.2, 0.9, 0.2, 0.2]])
    >>> instances(p, smallest_object=1).tolist()
    [[1, 0, 0, 0], [0, 1, 0, 0]]
    """
    components, n = ndimage.label(probability > threshold, EIGHT_NEIGHBOURS)
    keep = np.bincount(components.ravel(), minlength=n + 1) > smallest_object
    if border:
        inside = components[border:-border, border:-border]
        keep &= np.isin(np.arange(n + 1), inside)
    keep[0] = False
    number = np.cumsum(keep) * keep
    largest = np.iinfo(np.uint16).max
    cells = number.astype(np.uint16 if number.max() <= largest else np.uint32)[components]
    return _without_holes(cells) if fill_holes else cells


class Parts:
    """A stack of masks as one of cells: what hangs together in a slice, also by corners, is a cell.

    Slices are read and parted as they are asked for.

    Parameters
    ----------
    masks : (N, H, W) array, or anything with shape and slices; cells are where it is above 0.
    """

    dtype = np.dtype(np.int32)

    def __init__(self, masks):
        self._masks = masks
        self.shape = tuple(masks.shape)

    def __getitem__(self, z: int) -> np.ndarray:
        return ndimage.label(self._masks[z] > 0, EIGHT_NEIGHBOURS)[0]


def _without_holes(cells: np.ndarray) -> np.ndarray:
    """Cells with their holes filled."""
    background, n = ndimage.label(cells == 0, FOUR_NEIGHBOURS)
    if n == 0:
        return cells
    regions = np.arange(1, n + 1)
    none = np.iinfo(cells.dtype).max
    highest = ndimage.maximum_filter(cells, footprint=FOUR_NEIGHBOURS)
    lowest = ndimage.minimum_filter(np.where(cells, cells, none), footprint=FOUR_NEIGHBOURS)
    highest = ndimage.maximum(highest, background, regions)
    lowest = ndimage.minimum(lowest, background, regions)
    edges = np.concatenate((background[[0, -1]].ravel(), background[:, [0, -1]].ravel()))
    is_hole = (highest == lowest) & ~np.isin(regions, edges)
    owner = np.concatenate(([0], np.where(is_hole, highest, 0))).astype(cells.dtype)
    return np.where(cells, cells, owner[background])
