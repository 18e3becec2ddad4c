"""Pairs at all thresholds from one pass, against every pair looked at, at every threshold."""

import operator

import numpy as np
import pytest
import slow_metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unetcore.metrics import rand_error
from unetcore.metrics.components import label_components
from unetcore.metrics.contingency import LabelComponents
from unetcore.metrics.pairs import joined_pairs
from unetcore.metrics.sweep import THRESHOLDS

GREYS = [0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 1.0]  # few, so that ties and plateaus occur


@st.composite
def slices(draw, greys):
    """White pixels, at least one, and grey values, each (X, Y)."""
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    white = draw(arrays.arrays(bool, shape))
    white[draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))] = True
    return white, draw(arrays.arrays(np.float64, shape, elements=st.sampled_from(greys)))


def pairs(white, probability, thresholds):
    """TP, TP + FP and TP + FN at each threshold."""
    components = LabelComponents(white)
    found = zip(*joined_pairs(components.image, probability, thresholds), strict=True)
    in_label = int((components.sizes**2).sum())
    return [(int(both), int(proposal), in_label) for both, proposal in found]


@settings(max_examples=150, deadline=None)
@given(slices(GREYS), st.lists(st.sampled_from([*GREYS, -0.5, 0.2, 2.0]), min_size=1, max_size=9))
def test_pairs_are_those_of_the_definition(images, thresholds):
    """The thresholds come in any order, repeat, lie below 0 and above 1, and equal grey values."""
    expected = [slow_metrics.rand_pairs(*images, threshold) for threshold in thresholds]
    assert pairs(*images, thresholds) == expected


@settings(max_examples=50, deadline=None)
@given(slices([0.0, 1.0, 2.0, 254.0, 255.0]))
def test_pairs_of_8_bit_maps(images):
    white, probability = images
    found = rand_error(white.T, probability.T.astype(np.uint8))
    for k, threshold in enumerate(THRESHOLDS):
        both, in_proposal, in_label = slow_metrics.rand_pairs(white, probability, threshold)
        assert (found.precision[k], found.recall[k]) == (both / in_proposal, both / in_label)


def test_a_threshold_that_is_not_strict_would_be_seen():
    """The grey value 0.5 at threshold 0.5 is background: it parts the cell."""
    white, probability = np.ones((1, 5), bool), np.array([[1, 1, 0.5, 1, 1]])
    strict = slow_metrics.rand_pairs(white, probability, 0.5)
    assert strict == (9, 9, 25)
    assert slow_metrics.rand_pairs(white, probability, 0.5, operator.ge) == (25, 25, 25)
    assert pairs(white, probability, [0.5]) == [strict]


def test_precision_and_recall_exchanged_would_be_seen():
    white, probability = np.ones((1, 5)), np.array([[1, 1, 0, 1, 1]])
    split = rand_error(white, probability, thresholds=[0.5])
    assert (split.precision, split.recall) == ((1.0,), (9 / 25,))
    merged = rand_error(probability, white, thresholds=[0.5])
    assert (merged.precision, merged.recall) == ((0.5,), (1.0,))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_many_segments_of_many_cells(share):
    """Noise of 60 x 80 px: segments of many cells unite, which small images do not show.

    Against the table of overlaps, made anew at each of 100 thresholds.
    """
    rng = np.random.default_rng(0)
    white = rng.random((60, 80)) < share
    probability = np.round(rng.random(white.shape), 2)
    components = LabelComponents(white)
    thresholds = rng.permutation(np.arange(100) / 100)
    for found, threshold in zip(pairs(white, probability, thresholds), thresholds, strict=True):
        overlaps = components.overlaps(*label_components(probability > threshold))
        in_both = (overlaps.inside**2).sum() + overlaps.missed
        in_proposal = (overlaps.proposal_sizes**2).sum() + overlaps.missed
        assert found == (in_both, in_proposal, (overlaps.label_sizes**2).sum())


def test_sums_that_32_bits_do_not_hold():
    """One cell of 69,720 px in one segment: 4.9e9 pairs."""
    white = np.ones((250, 280), bool)
    white[0] = False
    n = int(white.sum())
    assert pairs(white, np.where(white, 0.9, 0.0), [0.5, 0.95]) == [
        (n**2, n**2, n**2),
        (n, n, n**2),
    ]
