"""V_rand and V_info, the scores of the final challenge board: both after border thinning.

The proposal's membranes are thinned to lines first, so that their width does not count. A score is
taken per slice and averaged over slices; the largest mean over the thresholds is its value.
"""

from collections.abc import Collection, Sequence

import numpy as np

from unetcore.errors import InputError
from unetcore.metrics.contingency import LabelComponents
from unetcore.metrics.info import information_fscore
from unetcore.metrics.rand import rand_fscore
from unetcore.metrics.slices import over_slices
from unetcore.metrics.sweep import THRESHOLDS, Sweep, at_best, checked_thresholds
from unetcore.metrics.thinning import thin

SCORES = {"v_rand": rand_fscore, "v_info": information_fscore}


def v_rand(
    labels, probability, *, thresholds: Sequence[float] | None = None, threads: int = 1
) -> Sweep:
    """V_rand: the Rand F-score after thinning the proposal's borders (the final challenge board).

    A score, 1 = perfect: not one minus `rand_error`. A split lowers its recall, a merger its
    precision.

    Parameters
    ----------
    labels : (Z, Y, X) or (Y, X) array of whole numbers, > 0 = cell interior (white), 0 = membrane.
    probability : array of the same shape, of the cell interior, in [0, 1]; 8-bit maps unscaled.
    thresholds : foreground is where probability > threshold; by default 0 to 1 in steps of 0.1.
    threads : int >= 1, slices are judged on so many threads; the result is the same for any.

    Returns
    -------
    Sweep, `value` in [0, 1], the largest mean over the thresholds.

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, values are out of range, or a slice of
        `labels` has no white pixel.

    See Also
    --------
    thinned_scores : V_rand and V_info in the time of one.
    """
    return thinned_scores(
        labels, probability, names=["v_rand"], thresholds=thresholds, threads=threads
    )["v_rand"]


def v_info(
    labels, probability, *, thresholds: Sequence[float] | None = None, threads: int = 1
) -> Sweep:
    """V_info: F-score of the information shared by label and proposal, borders thinned.

    A score, 1 = perfect. Where label or proposal has a single component the score is 0, even if
    they are equal: there is no information to share.

    Parameters
    ----------
    labels : (Z, Y, X) or (Y, X) array of whole numbers, > 0 = cell interior (white), 0 = membrane.
    probability : array of the same shape, of the cell interior, in [0, 1]; 8-bit maps unscaled.
    thresholds : foreground is where probability > threshold; by default 0 to 1 in steps of 0.1.
        A binary map has the same value at all of them below 1, and the first, 0, is reported.
    threads : int >= 1, slices are judged on so many threads; the result is the same for any.

    Returns
    -------
    Sweep, `value` in [0, 1].

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, values are out of range, or a slice of
        `labels` has no white pixel.

    See Also
    --------
    thinned_scores : V_rand and V_info in the time of one.
    """
    return thinned_scores(
        labels, probability, names=["v_info"], thresholds=thresholds, threads=threads
    )["v_info"]


def thinned_scores(
    labels,
    probability,
    *,
    names: Collection[str] = tuple(SCORES),
    thresholds: Sequence[float] | None = None,
    threads: int = 1,
) -> dict[str, Sweep]:
    """V_rand and V_info of one thinning, which is what takes their time.

    Parameters
    ----------
    labels, probability, thresholds, threads : see `v_rand`.
    names : the scores wanted, out of `SCORES`.

    Returns
    -------
    dict of name -> Sweep, equal to what `v_rand` and `v_info` return.

    Raises
    ------
    InputError : no score is asked for, or one that is not in `SCORES`; and see `v_rand`.
    """
    if not names or not set(names) <= set(SCORES):
        raise InputError(f"names {list(names)}: at least one is needed, out of {list(SCORES)}")
    thresholds = checked_thresholds(thresholds, THRESHOLDS)

    def of_slice(z, white, values):
        components = LabelComponents(white)
        overlaps = [components.overlaps(*thin(values > threshold)) for threshold in thresholds]
        return np.array([[SCORES[name](one) for one in overlaps] for name in names])

    totals = np.zeros((len(names), len(thresholds)))
    n_slices = 0
    for scores in over_slices(of_slice, labels, probability, threads=threads, needs_white=True):
        totals += scores
        n_slices += 1
    return {
        name: Sweep(**at_best(thresholds, means, means.argmax()))
        for name, means in zip(names, totals / n_slices, strict=True)
    }
