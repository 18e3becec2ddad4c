"""Files that were taken for one another: labels for images, and labels of another image."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy import ndimage
from skimage.measure import label

from unetcore.labels import IGNORED

SIDE = 192  # px, to which images are thinned out before they are compared
MOST = 40  # images of which all pairs are compared
FITS, FITS_NOT = 0.8, 0.25  # standard deviations between cells and background
FEW_VALUES, PIECES = 3, 10


def swapped_labels(
    images: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> list[tuple[int, int]]:
    """Pairs of images whose labels fit each other's image, and not their own.

    How well labels fit an image is how many standard deviations lie between cells and background,
    in grey values or in their local contrast. Where cells do not differ from background in these,
    nothing is found.

    Parameters
    ----------
    images : (C, H, W) arrays.
    labels : (H, W) arrays, see `unetcore.data.label_map.LabelMap.apply`.

    Returns
    -------
    list of (i, j), i < j, numbers of images of the same size whose labels seem swapped.
    """
    thinned = [_thinned(*pair) for pair in zip(images[:MOST], labels[:MOST], strict=True)]
    own = [_fit(features, cells) for features, cells in thinned]
    doubtful = [k for k, fit in enumerate(own) if fit < FITS_NOT]
    return [
        (i, j)
        for i, j in combinations(doubtful, 2)
        if images[i].shape == images[j].shape
        and _fit(thinned[i][0], thinned[j][1]) > FITS
        and _fit(thinned[j][0], thinned[i][1]) > FITS
    ]


def looks_like_grey_values(labels: np.ndarray) -> bool:
    """Whether labels of instances look like the grey values of an image.

    Parameters
    ----------
    labels : (H, W) array of whole numbers.

    Returns
    -------
    bool: the numbers are on average in `PIECES` pieces and more, where one per cell is expected.
    """
    values = np.unique(labels)
    if len(values) <= FEW_VALUES:
        return False
    _, n_pieces = label(labels, background=-1, connectivity=1, return_num=True)
    return n_pieces > PIECES * len(values)


def _thinned(image, labels):
    """Grey values and local contrast, (F, n), and labels, (n,), of every few pixels."""
    step = max(1, -(-max(labels.shape) // SIDE))
    image = image.astype(np.float64)
    contrast = [ndimage.gaussian_gradient_magnitude(channel, 1.5) for channel in image]
    features = np.concatenate((image, contrast))[:, ::step, ::step]
    return features.reshape(len(features), -1), labels[::step, ::step].ravel()


def _fit(features, cells):
    """Standard deviations between cells and background, in the feature that tells them best."""
    known = cells != IGNORED
    inside, outside = (features[:, known & part] for part in (cells > 0, cells == 0))
    if not (inside.shape[1] and outside.shape[1]):
        return 0.0
    spread = np.sqrt((inside.var(axis=1) + outside.var(axis=1)) / 2)
    difference = np.abs(inside.mean(axis=1) - outside.mean(axis=1))
    return float((difference / np.maximum(spread, 1e-12)).max())
