"""Pixel error: foreground pixels alone, blind to topology."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unetcore.metrics.slices import over_slices
from unetcore.metrics.sweep import (
    THRESHOLDS,
    Sweep,
    at_best,
    checked_thresholds,
    fscore,
    thresholds_below,
)


@dataclass(frozen=True)
class PixelError(Sweep):
    """Pixel error at every threshold and at its best one.

    Attributes
    ----------
    precision : tuple of T floats; white pixels too many lower it (a merger).
    recall : tuple of T floats; white pixels missing lower it (a split).
    """

    precision: tuple[float, ...]
    recall: tuple[float, ...]


def pixel_error(
    labels, probability, *, thresholds: Sequence[float] | None = None, threads: int = 1
) -> PixelError:
    """Pixel error: 1 - the best F-score of the white pixels, pooled over the stack (Table 1).

    Not 1 - accuracy. Precision is 1 without a false white pixel and recall 1 without a missed
    one, so an empty label is met exactly by an empty proposal.

    Parameters
    ----------
    labels : (Z, Y, X) or (Y, X) array of whole numbers, > 0 = cell interior (white), 0 = membrane.
    probability : array of the same shape, of the cell interior, in [0, 1]; 8-bit maps unscaled.
    thresholds : foreground is where probability > threshold; by default 0 to 1 in steps of 0.1.
    threads : int >= 1, slices are judged on so many threads; the result is the same for any.

    Returns
    -------
    PixelError, `value` in [0, 1].

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, or values are out of range.

    Examples
    --------
    >>> pixel_error([[1, 1, 0, 1]], [[0.9, 0.9, 0.2, 0.1]], thresholds=[0.5]).value  # 1 - 0.8
    0.19999999999999996
    """
    thresholds = checked_thresholds(thresholds, THRESHOLDS)
    order = np.argsort(thresholds, kind="stable")
    ascending = np.array(thresholds)[order]

    def of_slice(z, white, values):
        levels = thresholds_below(values, ascending)
        return np.stack([_at_least(levels[white], len(order)), _at_least(levels, len(order))])

    counts = sum(over_slices(of_slice, labels, probability, threads=threads))
    n_white = counts[0, 0]
    hits, proposed = np.empty((2, len(order)), np.int64)
    hits[order], proposed[order] = counts[:, 1:]
    precision = _share(hits, proposed)
    recall = _share(hits, np.full_like(hits, n_white))
    errors = 1.0 - fscore(precision, recall)
    return PixelError(
        **at_best(thresholds, errors, errors.argmin()),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
    )


def _at_least(levels: np.ndarray, n_levels: int) -> np.ndarray:
    """Pixels of at least each level, (n_levels + 1,) int64 array: from level 0, which all have."""
    return np.bincount(levels.ravel(), minlength=n_levels + 1)[::-1].cumsum()[::-1]


def _share(hits: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Hits / total, and 1 of nothing."""
    return np.divide(hits, total, out=np.ones(len(hits)), where=total > 0)
