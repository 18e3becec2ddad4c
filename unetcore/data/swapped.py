"""Files that were taken for one another: labels for images, and labels of another image."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.measure import label

from unetcore.labels import IGNORED

SIDE = 192  # px, to which images are thinned out before they are compared
MOST = 40  # images of which all pairs are compared
FITS, FITS_NOT = 0.8, 0.25  # standard deviations between cells and background
FEW_VALUES, PIECES = 3, 10


def misplaced_labels(
    images: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> list[tuple[int, int]]:
    """Images whose own labels do not fit them, and others do that do not fit their own image.

    How well labels fit an image is how many standard deviations lie between cells and background,
    in grey values or in their local contrast. Where cells do not differ from background in these,
    nothing is found, nor where images look alike.

    Parameters
    ----------
    images : (C, H, W) arrays.
    labels : (H, W) arrays, see `unetcore.data.label_map.LabelMap.apply`.

    Returns
    -------
    list of (i, j), i ascending: number of an image, and of the labels of the same size that fit it
        best.
    """
    thinned = [_thinned(*pair) for pair in zip(images[:MOST], labels[:MOST], strict=True)]
    doubtful = [k for k, pair in enumerate(thinned) if _tells(*pair) and _fit(*pair) < FITS_NOT]
    found = []
    for i in doubtful:
        others = [j for j in doubtful if j != i and images[i].shape == images[j].shape]
        fits = {j: _fit(thinned[i][0], thinned[j][1]) for j in others}
        best = max(fits, key=fits.get, default=None)
        if best is not None and fits[best] > FITS:
            found.append((i, best))
    return found


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


def _tells(features, cells):
    """Whether an image has contrast, and its labels cells and background."""
    known = cells[cells != IGNORED]
    return (known > 0).any() and (known == 0).any() and np.ptp(features, axis=1).any()


def _fit(features, cells):
    """Standard deviations between cells and background, in the feature that tells them best."""
    known = cells != IGNORED
    inside, outside = (features[:, known & part] for part in (cells > 0, cells == 0))
    if not (inside.shape[1] and outside.shape[1]):
        return 0.0
    spread = np.sqrt((inside.var(axis=1) + outside.var(axis=1)) / 2)
    difference = np.abs(inside.mean(axis=1) - outside.mean(axis=1))
    return float((difference / np.maximum(spread, 1e-12)).max())
