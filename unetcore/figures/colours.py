"""Cells in colours: every instance in one that its neighbours do not have."""

import numpy as np
from matplotlib.colors import to_rgba
from scipy import ndimage
from skimage.segmentation import expand_labels, find_boundaries

from unetcore.figures.style import FILLS


def as_instances(labels: np.ndarray) -> np.ndarray:
    """Instance ids of labels: a mask of one value above 0 falls into its 4-connected components."""
    values = np.unique(labels)
    if np.count_nonzero(values) > 1:
        return labels
    return ndimage.label(labels)[0]


def colour_instances(labels: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """Colours of instances, such that neighbours differ.

    Parameters
    ----------
    labels : (H, W) integer array, 0 = background.
    alpha : opacity of the instances.

    Returns
    -------
    (H, W, 4) float array in [0, 1]; the background is transparent dark grey, or opaque with
    `alpha` 1. Instances are drawn apart by a dark line where they touch.
    """
    ids, dense = np.unique(labels, return_inverse=True)
    dense = dense.reshape(labels.shape) + (ids[0] != 0)  # 0 stays for the background
    colour_of = np.array(_neighbours_differ(dense))
    palette = np.array([to_rgba(colour, alpha) for colour in ("0.15", *FILLS)])
    palette[0, 3] = alpha == 1.0
    coloured = palette[colour_of[dense]]
    coloured[find_boundaries(dense, mode="inner") & _touches_other(dense)] = palette[0]
    return coloured


def _touches_other(labels: np.ndarray) -> np.ndarray:
    """Pixels with another instance among their neighbours."""
    highest = ndimage.maximum_filter(labels, size=3)
    lowest = ndimage.minimum_filter(np.where(labels > 0, labels, labels.max() + 1), size=3)
    return (labels > 0) & ((highest != labels) | (lowest != labels)) & (lowest != highest)


def _neighbours_differ(labels: np.ndarray, reach: float = 6) -> list[int]:
    """Number of a fill for each label, 0 for background; labels within `reach` px get others.

    Greedy: each label takes the least used number that none of its neighbours has, or, where
    all are taken, the least used one.
    """
    neighbours = _neighbours(expand_labels(labels, reach))
    fills = range(1, len(FILLS) + 1)
    chosen, used = [0] * len(neighbours), [0] * (len(FILLS) + 1)
    for label in range(1, len(neighbours)):
        taken = {chosen[neighbour] for neighbour in neighbours[label]}
        free = [fill for fill in fills if fill not in taken] or fills
        chosen[label] = min(free, key=lambda fill: used[fill])
        used[chosen[label]] += 1
    return chosen


def _neighbours(labels: np.ndarray) -> list[set[int]]:
    """Labels that share a side of a pixel with each label, 0 included."""
    neighbours: list[set[int]] = [set() for _ in range(int(labels.max()) + 1)]
    for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        for left, right in np.unique(np.stack([a, b])[:, a != b], axis=1).T.tolist():
            neighbours[left].add(right)
            neighbours[right].add(left)
    return neighbours
