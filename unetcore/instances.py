"""From a probability map to separate cells, by the recipe of the authors' release of 2015."""

import numpy as np
from scipy import ndimage

EIGHT_NEIGHBOURS = np.ones((3, 3))


def instances(probability, *, threshold=0.5, smallest_object=500, field_of_interest=0):
    """Label the cells of one frame.

    Pixels above the threshold are grouped into 8-connected components; components of
    `smallest_object` px or less and those that lie wholly in the margin are removed.

    Parameters
    ----------
    probability : (H, W) float array in [0, 1], of cell interior.
    threshold : strict lower bound of the probability of a cell pixel.
    smallest_object : px; components up to this area are removed (release: 500).
    field_of_interest : px; width of the margin whose objects the challenge does not annotate.

    Returns
    -------
    (H, W) uint16 array, 0 = background, 1..K = one id per cell.

    Examples
    --------
    >>> p = np.array([[0.9, 0.2, 0.2, 0.9], [0.2, 0.9, 0.2, 0.2]])
    >>> instances(p, smallest_object=1).tolist()
    [[1, 0, 0, 0], [0, 1, 0, 0]]
    """
    components, n = ndimage.label(probability > threshold, EIGHT_NEIGHBOURS)
    keep = np.bincount(components.ravel(), minlength=n + 1) > smallest_object
    if field_of_interest:
        inside = components[
            field_of_interest:-field_of_interest, field_of_interest:-field_of_interest
        ]
        keep &= np.isin(np.arange(n + 1), inside)
    keep[0] = False
    number = np.cumsum(keep) * keep
    return number[components].astype(np.uint16)
