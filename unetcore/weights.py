"""Loss weight maps: class balance and the narrow gaps between cells (paper Sec. 3, Eq. 2)."""

import numpy as np
from scipy import ndimage

from unetcore.errors import InputError

LABEL_KINDS = ("mask", "instances")
SMALLEST_STEP = 2.0**-24  # relative; what is smaller than this vanishes in float32


def weight_map(labels, w0=10.0, sigma=5.0):
    """Loss weight of every pixel, w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)).

    Parameters
    ----------
    labels : (H, W) int array, 0 = background, 1..K = one id per cell.
    w0 : float >= 0, height of the border term, no unit (paper: 10).
    sigma : float > 0, width in pixels (paper: about 5).

    Returns
    -------
    (H, W) float32 array, > 0: class balance w_c (see `class_balance`) plus `border_weight`.

    Raises
    ------
    InputError : `labels` is not a 2-D integer array, `w0` is negative or `sigma` not positive.
    """
    border = border_weight(labels, w0, sigma)
    return class_balance(labels) + border


def class_balance(labels):
    """Weight w_c that gives cells and background the same total weight, with mean 1 (Eq. 2).

    The paper says only that w_c balances the class frequencies; ours is the inverse frequency of
    the pixel's class in this image, n / (2 n_class). An image of one class gets 1 everywhere.

    Parameters
    ----------
    labels : (H, W) int array, 0 = background.

    Returns
    -------
    (H, W) float32 array with mean 1.

    Examples
    --------
    >>> class_balance(np.array([[0, 7, 7, 7]])).round(3).tolist()
    [[2.0, 0.6669999957084656, 0.6669999957084656, 0.6669999957084656]]
    """
    cell = _check_labels(labels) > 0
    n, n_cell = cell.size, int(cell.sum())
    if n_cell in (0, n):
        return np.ones(cell.shape, np.float32)
    return np.where(cell, n / (2 * n_cell), n / (2 * (n - n_cell))).astype(np.float32)


def border_weight(labels, w0=10.0, sigma=5.0):
    """Extra loss weight in the narrow gaps between cells (second term of Eq. 2).

    Parameters
    ----------
    labels : (H, W) int array, 0 = background, 1..K = one id per cell.
    w0 : float >= 0, height of the term, no unit (paper: 10).
    sigma : float > 0, width in pixels (paper: about 5).

    Returns
    -------
    (H, W) float32 array in [0, w0]; 0 inside cells.

    Raises
    ------
    InputError : `labels` is not a 2-D integer array, `w0` is negative or `sigma` not positive.

    Notes
    -----
    d1 and d2 are the distances in pixels from a background pixel to the nearest pixel of the
    nearest and of the second nearest cell. The paper does not say what holds inside cells or with
    fewer than two cells; here the term is 0 there. Beyond sigma sqrt(-2 ln 2^-24), 29 px at
    sigma = 5, it is below float32's resolution of w0, so each cell is looked at with that margin.

    Examples
    --------
    >>> gap = np.array([[1, 0, 0, 0, 2]])  # everywhere in the gap d1 + d2 = 4
    >>> np.allclose(border_weight(gap)[0, 1:4], 10 * np.exp(-16 / 50))
    True
    """
    labels = _check_labels(labels)
    if not w0 >= 0 or not sigma > 0:
        raise InputError(f"weight map with w0 = {w0}, sigma = {sigma}: w0 must be >= 0, sigma > 0")
    d1, d2 = _two_smallest_distances(
        labels, margin=int(np.ceil(sigma * np.sqrt(-2 * np.log(SMALLEST_STEP))))
    )
    term = w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return np.where(labels == 0, term, 0).astype(np.float32)


def separate_touching(labels, gap=1):
    """Put a gap of background between cells that touch (paper Sec. 3).

    "The separation border is computed using morphological operations", says the paper, not
    which. Ours clears each pixel one of whose 8 neighbours belongs to a cell of a higher number,
    which leaves a gap of one pixel, and widens that line by dilation.

    Parameters
    ----------
    labels : (H, W) int array, 0 = background, 1..K = one id per cell.
    gap : width in px, odd; 0 leaves the labels as they are.

    Returns
    -------
    (H, W) array of the same type.

    Raises
    ------
    InputError : `labels` is not a 2-D integer array, or `gap` is neither 0 nor odd.

    Examples
    --------
    >>> separate_touching(np.array([[1, 1, 1, 2, 2, 2, 0, 3]])).tolist()
    [[1, 1, 0, 2, 2, 2, 0, 3]]
    >>> separate_touching(np.array([[1, 1, 1, 2, 2, 2, 0, 3]]), gap=3).tolist()
    [[1, 0, 0, 0, 2, 2, 0, 3]]
    """
    labels = _check_labels(labels)
    if gap == 0:
        return labels
    if gap < 0 or gap % 2 == 0:
        raise InputError(f"gap of {gap} px between touching cells: need 0 or an odd number")
    highest = ndimage.maximum_filter(labels, size=3, mode="nearest")
    line = (labels > 0) & (highest > labels)
    distance = ndimage.distance_transform_edt(~line) if line.any() else np.inf
    return np.where(distance <= (gap - 1) / 2, 0, labels).astype(labels.dtype)


def training_targets(labels, *, kind, w0, sigma, gap):
    """Class and loss weight of every pixel of one training slice.

    Parameters
    ----------
    labels : (H, W) int array: a mask (0 = membrane, anything else = cell interior) or instance ids.
    kind : "mask" or "instances". In a mask, every 4-connected component is a cell.
    w0, sigma : of the border term, see `weight_map`.
    gap : px of background put between touching instances, see `separate_touching`.

    Returns
    -------
    classes : (H, W) uint8 array, 1 = cell interior.
    weights : (H, W) float32 array.

    Raises
    ------
    InputError : unknown kind, or as `weight_map`.
    """
    if kind not in LABEL_KINDS:
        raise InputError(f"labels of kind {kind!r}: need one of {', '.join(LABEL_KINDS)}")
    cells = _check_labels(labels)
    if kind == "mask":
        cells, _ = ndimage.label(cells)
    else:
        cells = separate_touching(cells, gap)
    return (cells > 0).astype(np.uint8), weight_map(cells, w0, sigma)


def _two_smallest_distances(labels, margin):
    """Distances to the nearest and second nearest cell, inf where beyond `margin` px."""
    d1 = np.full(labels.shape, np.inf)
    d2 = np.full(labels.shape, np.inf)
    for cell, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        window = tuple(slice(max(0, s.start - margin), s.stop + margin) for s in box)
        d = ndimage.distance_transform_edt(labels[window] != cell)
        d2[window] = np.minimum(d2[window], np.maximum(d1[window], d))
        d1[window] = np.minimum(d1[window], d)
    return d1, d2


def _check_labels(labels):
    labels = np.asarray(labels)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"labels of shape {labels.shape} and type {labels.dtype}: need a 2-D integer array"
        )
    if labels.size and labels.min() < 0:
        raise InputError(f"labels go down to {labels.min()}: need 0 = background, 1..K = cells")
    return labels
