"""Loss weight maps: class balance and the narrow gaps between cells (paper Sec. 3, Eq. 2).

Two maps by name: `weight_map`, the paper's, and `later_weight_map`, that of the authors' plugin of
2019 (Falk et al., Nature Methods 16, 67-70), which has no class balance of its own.
"""

import numpy as np
from numba import njit
from scipy import ndimage

from unetcore.distances import checked_labels, small_ids, two_nearest
from unetcore.labels import check_mask
from unetcore.weight_settings import (
    BALANCES,
    LABEL_KINDS,
    WeightMapConfig,
    check_choice,
    check_gap,
    check_heights,
    check_ignore_label,
    check_share,
    check_widths,
)

SMALLEST_STEP = 2.0**-24  # relative; what is smaller than this vanishes in float32


def training_targets(labels, *, kind: str, config: WeightMapConfig):
    """Class and loss weight of every pixel of one training slice.

    Parameters
    ----------
    labels : (H, W) array of whole numbers >= 0: a mask (0 = membrane, one other value = cell
        interior) or instance ids.
    kind : "mask" or "instances". In a mask, every 4-connected component is a cell, and no gap is
        put between cells.
    config : form and numbers of the weight map.

    Returns
    -------
    classes : (H, W) uint8 array, 1 = cell interior; 0 where ignored.
    weights : (H, W) float32 array >= 0; 0 where ignored and only there, unless `config` gives
        background the weight 0.

    Raises
    ------
    InputError : unknown kind, a mask of more than two values, or as `checked_labels`.
    """
    check_choice("kind of labels", kind, LABEL_KINDS)
    labels = checked_labels(labels)
    ignored = ignored_pixels(labels, config.ignore_label)
    cells = np.where(ignored, 0, labels)
    if kind == "mask":
        check_mask(cells)
        cells, _ = ndimage.label(cells)
    else:
        cells = separate_touching(cells, config.gap)
    if config.form == "falk2019":
        weights = later_weight_map(
            cells,
            background=config.background,
            background_sigma=config.background_sigma,
            separation=config.separation,
            separation_sigma=config.separation_sigma,
        )
    else:
        weights = _balance(cells > 0, ~ignored, config.balance)
        weights += border_weight(cells, config.w0, config.sigma)
    weights[ignored] = 0
    return (cells > 0).astype(np.uint8), weights


def weight_maps(
    labels: np.ndarray, kind: str, config: WeightMapConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Classes and weights of `training_targets` for a stack, (N, H, W) each."""
    pairs = [training_targets(page, kind=kind, config=config) for page in labels]
    classes, weights = zip(*pairs, strict=True)
    return np.stack(classes), np.stack(weights)


def weight_map(labels, w0=10.0, sigma=5.0, *, balance="inverse-frequency"):
    """Loss weight of every pixel, w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)).

    Parameters
    ----------
    labels : (H, W) array of whole numbers, 0 = background, others = one id per cell.
    w0 : float >= 0, height of the border term, no unit (paper: 10).
    sigma : float > 0, width in pixels (paper: about 5).
    balance : form of w_c, see `class_balance`.

    Returns
    -------
    (H, W) float32 array, > 0: class balance w_c plus `border_weight` (Eq. 2).

    Raises
    ------
    InputError : as `border_weight` and `class_balance`.
    """
    border = border_weight(labels, w0, sigma)
    return class_balance(labels, balance) + border


def class_balance(labels, balance="inverse-frequency"):
    """Weight w_c that balances cells and background (Eq. 2).

    The paper says only that w_c balances the class frequencies. Of n pixels, n_c of the pixel's
    class and n_r of the rarer one:

    - "inverse-frequency": w_c = n / (2 n_c). The mean over the image is 1, so that balancing does
      not change the learning rate. A rare class gets large weights, beside which the border term
      of height w0 is smaller: with 5 % background, w_c = 10 there.
    - "rarest-one": w_c = n_r / n_c. The rarer class weighs 1 and the other less, so that w0 = 10
      means ten times the weight of the rarer class, whatever its share. The ratio of the classes
      is that of "inverse-frequency".
    - "none": w_c = 1. The classes are not balanced, and w0 is relative to every pixel's 1.

    An image of one class gets 1 everywhere.

    Parameters
    ----------
    labels : (H, W) array of whole numbers, 0 = background.
    balance : one of the three forms; the default is our choice.

    Returns
    -------
    (H, W) float32 array > 0.

    Raises
    ------
    InputError : unknown form, or as `checked_labels`.

    Examples
    --------
    >>> labels = np.array([[0, 7, 7, 7, 7]])
    >>> class_balance(labels).tolist()
    [[2.5, 0.625, 0.625, 0.625, 0.625]]
    >>> class_balance(labels, "rarest-one").tolist()
    [[1.0, 0.25, 0.25, 0.25, 0.25]]
    """
    check_choice("class balance", balance, BALANCES)
    cell = checked_labels(labels) > 0
    return _balance(cell, np.ones_like(cell), balance)


def border_weight(labels, w0=10.0, sigma=5.0):
    """Extra loss weight in the narrow gaps between cells (second term of Eq. 2).

    Parameters
    ----------
    labels : (H, W) array of whole numbers, 0 = background, others = one id per cell.
    w0 : float >= 0, height of the term, no unit (paper: 10).
    sigma : float > 0, width in pixels (paper: about 5).

    Returns
    -------
    (H, W) float32 array in [0, w0]; 0 inside cells.

    Raises
    ------
    InputError : as `checked_labels`, `w0` is negative, `sigma` is not positive, or one is not
        finite.

    Notes
    -----
    d1 and d2 are the distances in pixels from a background pixel to the nearest pixel of the
    nearest and of the second nearest cell. The paper does not say what holds inside cells or with
    fewer than two cells; here the term is 0 there. Where d1 + d2 > sigma sqrt(-2 ln 2^-24), 29 px
    at sigma = 5, the term is below float32's resolution of w0; it is 0.

    Examples
    --------
    >>> gap = np.array([[1, 0, 0, 0, 2]])  # everywhere in the gap d1 + d2 = 4
    >>> np.allclose(border_weight(gap)[0, 1:4], 10 * np.exp(-16 / 50))
    True
    """
    labels = checked_labels(labels)
    check_heights(w0=w0)
    check_widths(sigma=sigma)
    limit = _vanishes_at(sigma)
    d1, d2, *_ = two_nearest(labels, limit / 2, limit, where=labels == 0)
    d2 += d1  # in place: at this size, what takes time is to fetch memory
    return _gaussian(d2, w0, sigma)


def later_weight_map(
    labels, *, background=0.1, background_sigma=10.0, separation=50.0, separation_sigma=6.0
):
    """Loss weight of every pixel as in the authors' later code (plugin of 2019).

    Cells weigh 1. Background weighs v + (1 - v) exp(-d1^2 / (2 s1^2)) + lambda exp(-(d1 + d2)^2 /
    (2 s2^2)): little far from cells, about 1 at their borders, much between two of them.

    Parameters
    ----------
    labels : (H, W) array of whole numbers, 0 = background, others = one id per cell.
    background : float in [0, 1], v, weight far from all cells.
    background_sigma : float > 0, s1 in px.
    separation : float >= 0, lambda, height of the term between cells.
    separation_sigma : float > 0, s2 in px.

    Returns
    -------
    (H, W) float32 array in [v, 1 + lambda].

    Raises
    ------
    InputError : a number is out of range, or as `checked_labels`.

    Notes
    -----
    d1 and d2 are those of `border_weight`. With one cell the last term is 0; without any, the one
    before it too. That code first cuts a gap of 1 px between touching cells (`separate_touching`).
    Its versions differ in whether d1 and d2 are taken to the cells before or after that; here it is
    after, to the cells as they are taught. The authors' script of 2016 has s2^2 in place of 2 s2^2.

    Examples
    --------
    >>> lone = later_weight_map(np.array([[1, 0, 0]]))
    >>> np.allclose(lone, [[1, 0.1 + 0.9 * np.exp(-1 / 200), 0.1 + 0.9 * np.exp(-4 / 200)]])
    True
    """
    labels = checked_labels(labels)
    check_share(background)
    check_heights(separation=separation)
    check_widths(background_sigma=background_sigma, separation_sigma=separation_sigma)
    cell = labels > 0
    of_first, of_sum = _vanishes_at(background_sigma), _vanishes_at(separation_sigma)
    d1, d2, *_ = two_nearest(labels, max(of_first, of_sum / 2), of_sum, where=~cell)
    weights = np.float32(background) + _gaussian(d1, 1 - background, background_sigma)
    weights += _gaussian(d1 + d2, separation, separation_sigma)
    weights[cell] = 1
    return weights


def separate_touching(labels, gap=1):
    """Put a gap of background between cells that touch (paper Sec. 3).

    "The separation border is computed using morphological operations", says the paper, not which.
    A gap of 1 px is cut as in the authors' later code: in a scan by rows, a pixel goes if one of
    its four neighbours before it (left, upper left, upper, upper right) is still there and belongs
    to another cell. A wider gap is our own: the pixels that have a neighbour, out of 8, of a higher
    number, widened to a line by dilation.

    Parameters
    ----------
    labels : (H, W) array of whole numbers, 0 = background, others = one id per cell.
    gap : width in px, odd; 0 leaves the labels as they are.

    Returns
    -------
    (H, W) array of the same integer type.

    Raises
    ------
    InputError : as `checked_labels`, or `gap` is neither 0 nor odd.

    Examples
    --------
    >>> separate_touching(np.array([[1, 1, 1, 2, 2, 2, 0, 3]])).tolist()
    [[1, 1, 1, 0, 2, 2, 0, 3]]
    >>> separate_touching(np.array([[1, 1, 1, 2, 2, 2, 0, 3]]), gap=3).tolist()
    [[1, 0, 0, 0, 2, 2, 0, 3]]
    """
    labels = checked_labels(labels)
    check_gap(gap)
    if gap == 0:
        return labels
    if gap == 1:
        cleared = labels.astype(np.int64)
        _clear_contacts(cleared)
        return cleared.astype(labels.dtype)
    _, ids = small_ids(labels)  # the filter computes in float64, where large labels are equal
    highest = ndimage.maximum_filter(ids, size=3, mode="nearest")
    line = (ids > 0) & (highest > ids)
    distance = ndimage.distance_transform_edt(~line) if line.any() else np.inf
    return np.where(distance <= (gap - 1) / 2, 0, labels)


def ignored_pixels(labels, ignore_label: int | None) -> np.ndarray:
    """Pixels that carry the label to be ignored: bool array of the labels' shape.

    Raises
    ------
    InputError : the label to be ignored is not a whole number >= 1.
    """
    check_ignore_label(ignore_label)
    if ignore_label is None:
        return np.zeros(np.shape(labels), bool)
    return np.asarray(labels) == ignore_label


def _balance(cell, counted, balance):
    """Class balance of a bool image of cells, of which the pixels in `counted` are counted."""
    n, n_cell = int(counted.sum()), int((cell & counted).sum())
    if balance == "none" or n_cell in (0, n):
        return np.ones(cell.shape, np.float32)
    sizes = n - n_cell, n_cell
    total = n / 2 if balance == "inverse-frequency" else min(sizes)
    of_background, of_cell = (np.float32(total / size) for size in sizes)
    return np.where(cell, of_cell, of_background)


def _gaussian(distance, height, sigma):
    """Bell of a height and a width as float32; 0 at infinity, where most pixels are."""
    term = np.zeros(distance.shape, np.float32)
    near = distance < np.inf
    term[near] = height * np.exp(-(distance[near] ** 2) / (2 * sigma**2))
    return term


def _vanishes_at(sigma):
    """Distance in px beyond which a Gaussian is smaller than float32 tells from 0 beside 1."""
    return sigma * np.sqrt(-2 * np.log(SMALLEST_STEP))


@njit(cache=True, nogil=True)
def _clear_contacts(labels):
    """Clear, in a scan by rows, every pixel beside one of another cell that is still there.

    Of the 8 neighbours the scan has met four. They suffice: of two pixels that touch, it comes to
    one of them later.
    """
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            for row, column in ((y, x - 1), (y - 1, x - 1), (y - 1, x), (y - 1, x + 1)):
                if row < 0 or column < 0 or column >= width:
                    continue
                if labels[row, column] != 0 and labels[row, column] != labels[y, x]:
                    labels[y, x] = 0
