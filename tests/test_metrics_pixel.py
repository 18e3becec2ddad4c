"""Pixel error on rows of pixels."""

import numpy as np
import pytest

from unetcore.metrics import pixel_error


def test_pure_split_lowers_recall_only():
    result = pixel_error([[1, 1, 1, 1, 1]], [[1, 1, 0, 1, 1]], thresholds=[0.5])
    assert result.precision == (1.0,)
    assert result.recall == (0.8,)
    assert result.value == pytest.approx(1 / 9)  # F = 1.6 / 1.8


def test_pure_merger_lowers_precision_only():
    result = pixel_error([[1, 1, 0, 1, 1]], [[1, 1, 1, 1, 1]], thresholds=[0.5])
    assert result.precision == (0.8,)
    assert result.recall == (1.0,)
    assert result.value == pytest.approx(1 / 9)


def test_it_is_not_one_minus_accuracy():
    labels = np.zeros((1, 10))
    labels[0, :2] = 1
    proposal = np.zeros((1, 10))
    proposal[0, 1:3] = 1
    assert pixel_error(labels, proposal).value == pytest.approx(0.5)  # accuracy would say 0.2


def test_counts_are_pooled_over_slices():
    # tp 1 + 3, fp 1 + 0, fn 0 + 1: not the mean of the slices' own F-scores.
    labels = np.array([[[1, 0, 0, 0]], [[1, 1, 1, 1]]])
    proposal = np.array([[[1, 1, 0, 0]], [[1, 1, 1, 0]]])
    result = pixel_error(labels, proposal, thresholds=[0.5])
    assert result.precision == (0.8,)
    assert result.recall == (0.8,)


@pytest.mark.parametrize(
    ("label", "proposal", "expected"),
    [
        (0, 0, 0.0),  # nothing to find, nothing found: precision and recall are 1
        (0, 1, 1.0),  # fn = 0 gives recall 1, but precision is 0
        (1, 0, 1.0),
    ],
)
def test_empty_images(label, proposal, expected):
    result = pixel_error(np.full((2, 2), label), np.full((2, 2), proposal), thresholds=[0.5])
    assert result.value == expected
