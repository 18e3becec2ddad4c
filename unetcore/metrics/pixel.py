"""Pixel error: foreground pixels alone, blind to topology."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unetcore.metrics.sweep import (
    THRESHOLDS,
    Sweep,
    at_best,
    checked_thresholds,
    fscore,
    paired_slices,
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


def pixel_error(labels, probability, *, thresholds: Sequence[float] | None = None) -> PixelError:
    """Pixel error: 1 - the best F-score of the white pixels, pooled over the stack (Table 1).

    Not 1 - accuracy. Precision is 1 without a false white pixel and recall 1 without a missed
    one, so an empty label is met exactly by an empty proposal.

    Parameters
    ----------
    labels : (Z, Y, X) or (Y, X) array, > 0 = cell interior (white), 0 = membrane.
    probability : array of the same shape, of the cell interior, in [0, 1].
    thresholds : foreground is where probability > threshold; by default 0 to 1 in steps of 0.1.

    Returns
    -------
    PixelError, `value` in [0, 1].

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, or values are not finite.

    Examples
    --------
    >>> pixel_error([[1, 1, 0, 1]], [[0.9, 0.9, 0.2, 0.1]], thresholds=[0.5]).value  # 1 - 0.8
    0.19999999999999996
    """
    thresholds = checked_thresholds(thresholds, THRESHOLDS)
    hits, proposed = np.zeros((2, len(thresholds)), np.int64)
    n_white = 0
    for white, probability_slice in paired_slices(labels, probability):
        n_white += np.count_nonzero(white)
        for k, threshold in enumerate(thresholds):
            foreground = probability_slice > threshold
            proposed[k] += np.count_nonzero(foreground)
            hits[k] += np.count_nonzero(foreground & white)
    precision = _share(hits, proposed)
    recall = _share(hits, np.full_like(hits, n_white))
    scores = fscore(precision, recall)
    return PixelError(
        **at_best(thresholds, 1.0 - scores, scores.argmax()),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
    )


def _share(hits: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Hits / total, and 1 of nothing."""
    return np.divide(hits, total, out=np.ones(len(hits)), where=total > 0)
