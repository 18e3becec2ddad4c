"""What all threshold metrics share: the thresholds, the slices, the result.

Slices are handed out *columns first*, as (X, Y) arrays: the official program scans x in the outer
and y in the inner loop, and its visiting orders are part of the definitions. Memory order is then
scan order everywhere in this package.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unetcore.errors import InputError

logger = logging.getLogger(__name__)


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
    InputError : no threshold is given, or one is not a finite number.
    """
    if thresholds is None:
        return default
    given = tuple(float(threshold) for threshold in thresholds)
    if not given or not np.isfinite(given).all():
        raise InputError(f"thresholds {given}: at least one, and each a finite number, is needed")
    return given


def paired_slices(labels, probability) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Check a label stack and its probability map, and go through them slice by slice.

    Parameters
    ----------
    labels : (Z, Y, X) or (Y, X) array, white where > 0.
    probability : array of the same shape, of the interior, in [0, 1]. 8-bit maps are taken as they
        are, not divided by 255: with one, every value above 0 is foreground at every threshold.

    Yields
    ------
    white : (X, Y) bool array.
    probability : (X, Y) float64 array holding the float32 values, as the comparison
        ``float64(float32 value) > threshold`` of the definition needs them.

    Raises
    ------
    InputError : shapes differ, are not 2-D or 3-D, hold no pixel; values are no numbers, NaN or
        infinite.
    """
    labels = checked_stack(labels, "labels")
    probability = checked_stack(probability, "probability")
    if labels.shape != probability.shape:
        raise InputError(
            f"labels {labels.shape} and probability {probability.shape}: the shapes must be equal"
        )
    warned = False
    for z, (label_slice, probability_slice) in enumerate(zip(labels, probability, strict=True)):
        white = np.ascontiguousarray(_finite(label_slice, "labels", z).T > 0)
        values = _finite(probability_slice, "probability", z).T.astype(np.float32, order="C")
        if not warned and (values.min() < 0 or values.max() > 1):
            logger.warning(
                "probability, slice %d: values from %g to %g; a map in [0, 1] is expected, and"
                " values are not rescaled",
                z,
                values.min(),
                values.max(),
            )
            warned = True
        yield white, values.astype(np.float64)


def checked_stack(array, name: str) -> np.ndarray:
    """`array` as (Z, Y, X), a single slice as Z = 1.

    Raises
    ------
    InputError : not 2-D or 3-D, without a pixel, or not made of numbers.
    """
    array = np.asarray(array)
    if array.ndim not in (2, 3) or array.size == 0:
        raise InputError(
            f"{name} of shape {array.shape}: (Z, Y, X) or (Y, X) with pixels is needed"
        )
    if array.dtype.kind not in "buif":
        raise InputError(f"{name} of type {array.dtype}: numbers are needed")
    return array.reshape(-1, *array.shape[-2:])


def _finite(values: np.ndarray, name: str, z: int) -> np.ndarray:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{name}, slice {z}: holds NaN or infinite values, finite ones are needed")
    return values
