"""Rand error of 2012 and the later V_rand: pairs of pixels that label and proposal join alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unetcore.metrics.components import label_components
from unetcore.metrics.contingency import LabelComponents, Overlaps
from unetcore.metrics.sweep import (
    THRESHOLDS,
    Sweep,
    at_best,
    checked_thresholds,
    fscore,
    paired_slices,
)
from unetcore.metrics.thinning import mean_thinned_score


@dataclass(frozen=True)
class RandError(Sweep):
    """Rand error at every threshold and at its best one.

    Attributes
    ----------
    precision : tuple of T floats; a merger lowers it, a split does not.
    recall : tuple of T floats; a split lowers it, a merger does not.
    """

    precision: tuple[float, ...]
    recall: tuple[float, ...]


def rand_error(labels, probability, *, thresholds: Sequence[float] | None = None) -> RandError:
    """Rand error: 1 - the best F-score of the foreground-restricted Rand index (Table 1).

    Pairs of pixels are counted over the white pixels of the label, slice by slice, and summed over
    the stack. Each of them that lies on the proposal's background is a component of its own.

    Parameters
    ----------
    labels : (Z, Y, X) or (Y, X) array, > 0 = cell interior (white), 0 = membrane. Components are
        4-connected: touching instance ids count as one.
    probability : array of the same shape, of the cell interior, in [0, 1].
    thresholds : foreground is where probability > threshold; by default 0 to 1 in steps of 0.1.

    Returns
    -------
    RandError, `value` in [0, 1].

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, values are not finite, or a slice of `labels`
        has no white pixel.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([[1, 1, 0, 1, 1]])
    >>> merged = rand_error(labels, np.ones((1, 5)), thresholds=[0.5])
    >>> merged.precision, merged.recall  # 8 pairs of 16 that are joined should be
    ((0.5,), (1.0,))
    """
    thresholds = checked_thresholds(thresholds, THRESHOLDS)
    pairs = np.zeros((3, len(thresholds)))
    for z, (white, probability_slice) in enumerate(paired_slices(labels, probability)):
        components = LabelComponents(white, z)
        for k, threshold in enumerate(thresholds):
            proposal = label_components(probability_slice > threshold)
            pairs[:, k] += joined_pairs(components.overlaps(*proposal))
    both, in_proposal, in_label = pairs
    precision, recall = both / in_proposal, both / in_label
    scores = fscore(precision, recall)
    return RandError(
        **at_best(thresholds, 1.0 - scores, scores.argmax()),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
    )


def v_rand(labels, probability, *, thresholds: Sequence[float] | None = None) -> Sweep:
    """V_rand: the Rand F-score after thinning the proposal's borders (the final challenge board).

    A score, 1 = perfect: not one minus `rand_error`. The proposal's membranes are thinned to lines
    first, so that their width does not count; F is taken per slice and averaged over slices.

    Parameters
    ----------
    labels : (Z, Y, X) or (Y, X) array, > 0 = cell interior (white), 0 = membrane.
    probability : array of the same shape, of the cell interior, in [0, 1].
    thresholds : foreground is where probability > threshold; by default 0 to 1 in steps of 0.1.

    Returns
    -------
    Sweep, `value` in [0, 1], the largest mean over the thresholds.

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, values are not finite, or a slice of `labels`
        has no white pixel.
    """
    thresholds = checked_thresholds(thresholds, THRESHOLDS)
    scores = mean_thinned_score(labels, probability, thresholds, rand_fscore)
    return Sweep(**at_best(thresholds, scores, scores.argmax()))


def rand_fscore(overlaps: Overlaps) -> float:
    """F-score of the Rand index on one slice, in (0, 1]."""
    both, in_proposal, in_label = joined_pairs(overlaps)
    precision, recall = both / in_proposal, both / in_label
    return 2 * precision * recall / (precision + recall)


def joined_pairs(overlaps: Overlaps) -> tuple[float, float, float]:
    """Pairs of pixels (n^2 form) joined in both, in the proposal, in the label.

    In this order: TP, TP + FP, TP + FN. The label's own sizes include the pixels that the proposal
    misses; in the proposal each of those is joined with itself alone.
    """
    both = np.square(overlaps.inside, dtype=np.float64).sum() + overlaps.missed
    in_proposal = np.square(overlaps.proposal_sizes).sum() + overlaps.missed
    in_label = np.square(overlaps.label_sizes).sum()
    return float(both), float(in_proposal), float(in_label)
