"""Information that label and proposal share on one slice."""

import numpy as np

from unetcore.metrics.contingency import Overlaps


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
