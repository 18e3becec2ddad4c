"""What all threshold metrics share: the thresholds and the result."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from unetcore.errors import InputError
from unetcore.metrics.slices import as_array

BINS = 1024  # a power of two: scaling by it is exact


def accumulated_thresholds(last: float) -> tuple[float, ...]:
    """Thresholds 0, 0.1, ... up to `last`, each the rounded sum of the one before and 0.1.

    The accumulated rounding is part of the definition: the fourth is 0.30000000000000004, and a
    sweep to 1.0 ends at 0.9999999999999999.
    """
    thresholds = []
    threshold = 0.0
    while threshold <= last:
        thresholds.append(threshold)
        threshold += 0.1
    return tuple(thresholds)


WARPING_THRESHOLDS = accumulated_thresholds(0.9)
THRESHOLDS = accumulated_thresholds(1.0)


@dataclass(frozen=True)
class Sweep:
    """A metric at every threshold and at its best one.

    Attributes
    ----------
    value : float, the metric at its best threshold over the whole stack.
    threshold : float, that threshold; the first of equals.
    thresholds : tuple of T floats, as swept.
    values : tuple of T floats, the metric at each threshold, on the scale of `value`.
    """

    value: float
    threshold: float
    thresholds: tuple[float, ...]
    values: tuple[float, ...]


def at_best(thresholds: Sequence[float], values: np.ndarray, best: int) -> dict:
    """Fill the fields of a `Sweep` from (T,) `values`, of which number `best` is the best."""
    return {
        "value": float(values[best]),
        "threshold": thresholds[best],
        "thresholds": tuple(thresholds),
        "values": tuple(values.tolist()),
    }


def fscore(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall, 0 where both are 0."""
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def checked_thresholds(
    thresholds: Sequence[float] | None, default: tuple[float, ...]
) -> tuple[float, ...]:
    """Check the thresholds to sweep; `default` for None.

    Raises
    ------
    InputError : not a list of at least one finite number.
    """
    if thresholds is None:
        return default
    given = np.asarray(as_array(thresholds, "thresholds"))
    numbers = given.ndim == 1 and given.size > 0 and given.dtype.kind in "buif"
    if not numbers or not np.isfinite(given).all():
        raise InputError(
            f"thresholds {given.tolist()}: at least one, and each a finite number, is needed"
        )
    return tuple(given.astype(np.float64).tolist())


def thresholds_below(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """How many thresholds each value is above, strictly: all there is to know of it in a sweep.

    A pixel is foreground at ``ascending[k]`` if and only if its number is larger than k.

    Parameters
    ----------
    values : (X, Y) float64 array, >= 0.
    ascending : (T,) float64 array, sorted; equals are allowed.

    Returns
    -------
    (X, Y) int32 array in 0..T.
    """
    at_bins = np.searchsorted(ascending, np.arange(BINS) / BINS).astype(np.int32)
    return _thresholds_below(values, ascending, at_bins)


@njit(cache=True, nogil=True)
def _thresholds_below(values, ascending, at_bins):
    """Start from what is known of the bin's lower end, which is not above the value, and count."""
    below = np.zeros(values.shape, np.int32)
    for place, value in np.ndenumerate(values):
        k = at_bins[min(int(value * BINS), BINS - 1)]
        while k < len(ascending) and ascending[k] < value:
            k += 1
        below[place] = k
    return below
