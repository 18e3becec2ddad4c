"""V_info: information that label and thinned proposal share (the final challenge board)."""

from collections.abc import Sequence

import numpy as np

from unetcore.metrics.contingency import Overlaps
from unetcore.metrics.sweep import THRESHOLDS, Sweep, at_best, checked_thresholds
from unetcore.metrics.thinning import mean_thinned_score


def v_info(labels, probability, *, thresholds: Sequence[float] | None = None) -> Sweep:
    """V_info: F-score of the information shared by label and proposal, borders thinned.

    A score, 1 = perfect. F is taken per slice, averaged over slices, and the largest mean over the
    thresholds is the value. Where label or proposal has a single component the score is 0, even
    if they are equal: there is no information to share.

    Parameters
    ----------
    labels : (Z, Y, X) or (Y, X) array, > 0 = cell interior (white), 0 = membrane.
    probability : array of the same shape, of the cell interior, in [0, 1].
    thresholds : foreground is where probability > threshold; by default 0 to 1 in steps of 0.1.
        A binary map has the same value at all of them, and the first, 0, is reported.

    Returns
    -------
    Sweep, `value` in [0, 1].

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, values are not finite, or a slice of `labels`
        has no white pixel.
    """
    thresholds = checked_thresholds(thresholds, THRESHOLDS)
    scores = mean_thinned_score(labels, probability, thresholds, information_fscore)
    return Sweep(**at_best(thresholds, scores, scores.argmax()))


def information_fscore(overlaps: Overlaps) -> float:
    """F-score of the shared information on one slice, in [0, 1].

    With A the label, B the proposal, p = c / n and q = z / n: each of the z missed pixels is a
    component of B with p = 1 / n, and adds ln(1 / n) / n to the sums over B and over A and B.
    """
    n = overlaps.pixels.sum()
    missed = overlaps.missed / n * np.log(n)
    sum_a = _plogp(overlaps.label_sizes / n)
    sum_b = _plogp(overlaps.proposal_sizes / n) - missed
    sum_ab = _plogp(overlaps.inside / n) - missed
    entropy_a, entropy_b = -sum_a, -sum_b
    a_given_b, b_given_a = sum_b - sum_ab, sum_a - sum_ab
    if entropy_a == 0 or entropy_b == 0:
        return 0.0
    share_a = (entropy_a - a_given_b) / entropy_a
    share_b = (entropy_b - b_given_a) / entropy_b
    if share_a + share_b <= 0:  # nothing is shared, so neither share is known to be positive
        return 0.0
    return float(2 * share_a * share_b / (share_a + share_b))


def _plogp(p: np.ndarray) -> float:
    """Sum of p ln p, where 0 ln 0 = 0."""
    p = p[p > 0]
    return float((p * np.log(p)).sum())
