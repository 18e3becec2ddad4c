"""Probability maps in 16 bits, such that no comparison with a tenth changes."""

import numpy as np

LEVELS = 65530  # intervals of [0, 1]; a multiple of 10, so that tenths lie between two of them
ROUNDING = 0.5 / LEVELS  # half an interval, 7.63e-6


def to_levels(probability: np.ndarray) -> np.ndarray:
    """Number the interval of each probability.

    Parameters
    ----------
    probability : array in [0, 1]; the intervals are open at their lower end.

    Returns
    -------
    uint16 array of the same shape: 0 for exactly 0, else 1 to `LEVELS`.
    """
    return np.ceil(probability.astype(np.float64) * LEVELS).astype(np.uint16)


def from_levels(levels: np.ndarray) -> np.ndarray:
    """Middle of each numbered interval, and 0.

    Returns
    -------
    float32 array, which differs from the probabilities by at most `ROUNDING`, and is greater than
    k / 10, for whole k, where they are: metrics at such thresholds are the same.

    Examples
    --------
    >>> [f"{p:.6f}" for p in from_levels(to_levels(np.array([0, 0.1, 0.3], np.float32)))]
    ['0.000000', '0.100008', '0.300008']
    """
    return np.maximum((levels - 0.5) / LEVELS, 0).astype(np.float32)
