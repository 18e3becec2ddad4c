"""Rand error of 2012: pairs of pixels that label and proposal join alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unetcore.metrics.components import label_components
from unetcore.metrics.contingency import LabelComponents, Overlaps
from unetcore.metrics.pairs import joined_pairs
from unetcore.metrics.places import Collected, Places, most_costly
from unetcore.metrics.slices import over_slices
from unetcore.metrics.sweep import THRESHOLDS, Sweep, at_best, checked_thresholds, fscore

MOST_PARTS = 10  # of one split or merger that a result carries


class Part(NamedTuple):
    """What a label component and a proposal component have in common.

    Attributes
    ----------
    y, x : int, one pixel of it, the first column by column.
    pixels : int.
    """

    y: int
    x: int
    pixels: int


class RandPlace(NamedTuple):
    """A component that is split, or one that is merged.

    Attributes
    ----------
    z : int, its slice, counted from 0 in the stack that was given.
    parts : tuple of at most `MOST_PARTS` parts, the largest first.
    n_parts : int, how many there are.
    pixels : int, white label pixels of all parts.
    pairs : int, ordered pairs of pixels in different parts: what it costs.
    """

    z: int
    parts: tuple[Part, ...]
    n_parts: int
    pixels: int
    pairs: int


@dataclass(frozen=True)
class RandError(Sweep):
    """Rand error at every threshold and at its best one.

    Attributes
    ----------
    precision : tuple of T floats; a merger lowers it, a split does not.
    recall : tuple of T floats; a split lowers it, a merger does not.
    splits : Places of `RandPlace` at the best threshold: label components that share pixels with
        two or more proposal components. The smallest overlap counted is one pixel, our choice. The
        pairs of a split are missing in the proposal and lower the recall; so do white pixels on
        the proposal's background, which are no split.
    mergers : Places of `RandPlace` at the best threshold: proposal components that share pixels
        with two or more label components. Their pairs are all that lowers the precision.
    """

    precision: tuple[float, ...]
    recall: tuple[float, ...]
    splits: Places[RandPlace]
    mergers: Places[RandPlace]


def rand_error(
    labels, probability, *, thresholds: Sequence[float] | None = None, threads: int = 1
) -> RandError:
    """Rand error: 1 - the best F-score of the foreground-restricted Rand index (Table 1).

    Pairs of pixels are counted over the white pixels of the label, slice by slice, and summed over
    the stack. Each of them that lies on the proposal's background is a component of its own. All
    thresholds are judged in one pass over the pixels of a slice.

    Parameters
    ----------
    labels : (Z, Y, X) or (Y, X) array of whole numbers, > 0 = cell interior (white), 0 = membrane.
        Components are 4-connected: touching instance ids count as one.
    probability : array of the same shape, of the cell interior, in [0, 1]; 8-bit maps unscaled.
    thresholds : foreground is where probability > threshold; by default 0 to 1 in steps of 0.1.
    threads : int >= 1, slices are judged on so many threads; the result is the same for any.

    Returns
    -------
    RandError, `value` in [0, 1].

    Raises
    ------
    InputError : shapes differ or are not 2-D or 3-D, values are out of range, or a slice of
        `labels` has no white pixel.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([[1, 1, 0, 1, 1]])
    >>> merged = rand_error(labels, np.ones((1, 5)), thresholds=[0.5])
    >>> merged.precision, merged.recall  # 8 pairs of 16 that are joined should be
    ((0.5,), (1.0,))
    >>> merged.mergers.largest[0].pairs  # those between left and right, each counted both ways
    8
    """
    thresholds = checked_thresholds(thresholds, THRESHOLDS)

    def pairs(z, white, values):
        components = LabelComponents(white)
        in_both, in_proposal = joined_pairs(components.image, values, thresholds)
        in_label = np.full_like(in_both, np.square(components.sizes).sum())
        return np.stack([in_both, in_proposal, in_label]).astype(np.float64)

    in_both, in_proposal, in_label = sum(
        over_slices(pairs, labels, probability, threads=threads, needs_white=True)
    )
    precision, recall = in_both / in_proposal, in_both / in_label
    errors = 1.0 - fscore(precision, recall)
    found = at_best(thresholds, errors, errors.argmin())
    splits, mergers = _places(labels, probability, found["threshold"], threads)
    return RandError(
        **found,
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
        splits=splits,
        mergers=mergers,
    )


def _places(labels, probability, threshold, threads) -> tuple[Places, Places]:
    """Splits and mergers of a stack at one threshold."""

    def of_slice(z, white, values):
        overlaps = LabelComponents(white).overlaps(*label_components(values > threshold))
        height = white.shape[1]
        return (
            _divided(overlaps, overlaps.label, z, height),
            _divided(overlaps, overlaps.proposal, z, height),
        )

    collected = [Collected(cost=lambda place: place.pairs) for _ in range(2)]
    for kinds in over_slices(of_slice, labels, probability, threads=threads):
        for kind, found in zip(collected, kinds, strict=True):
            kind.add(*found)
    return tuple(kind.places() for kind in collected)


def _divided(overlaps: Overlaps, owner: np.ndarray, z: int, height: int):
    """Owners, i or j, of two or more overlaps with j >= 1: how many, and the most costly of them.

    `owner` is the column of `overlaps` that holds them.

    Returns
    -------
    int, and a list of `RandPlace`.
    """
    inside = np.flatnonzero(overlaps.proposal > 0)
    cells = inside[np.lexsort((-overlaps.pixels[inside], owner[inside]))]  # by owner, then size
    c = overlaps.pixels[cells]
    n_parts = np.bincount(owner[cells])
    pixels = np.bincount(owner[cells], c)  # floats, exact below 2^53
    pairs = pixels**2 - np.bincount(owner[cells], c**2)
    end = np.cumsum(n_parts)
    divided = np.flatnonzero(n_parts > 1)
    costly = divided[most_costly(pairs[divided])]
    return len(divided), [
        RandPlace(
            z=z,
            parts=tuple(
                _part(overlaps, cell, height)
                for cell in cells[end[k] - n_parts[k] : end[k]][:MOST_PARTS]
            ),
            n_parts=int(n_parts[k]),
            pixels=int(pixels[k]),
            pairs=int(pairs[k]),
        )
        for k in costly
    ]


def _part(overlaps: Overlaps, cell: int, height: int) -> Part:
    x, y = divmod(int(overlaps.first[cell]), height)
    return Part(y, x, int(overlaps.pixels[cell]))


def rand_fscore(overlaps: Overlaps) -> float:
    """F-score of the Rand index on one slice, in (0, 1].

    Pairs are in n^2 form. The label's own sizes include the pixels that the proposal misses; in the
    proposal each of those is joined with itself alone.
    """
    in_both = np.square(overlaps.inside, dtype=np.float64).sum() + overlaps.missed
    in_proposal = np.square(overlaps.proposal_sizes).sum() + overlaps.missed
    in_label = np.square(overlaps.label_sizes).sum()
    precision, recall = in_both / in_proposal, in_both / in_label
    return float(fscore(precision, recall))
