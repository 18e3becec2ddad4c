"""What the five threshold metrics share: thresholds, invariances, refusals, memory."""

import logging
import tracemalloc
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy import ndimage

from unetcore import metrics
from unetcore.errors import InputError
from unetcore.metrics.contingency import Overlaps
from unetcore.metrics.info import information_fscore

ALL = [
    metrics.warping_error,
    metrics.rand_error,
    metrics.pixel_error,
    metrics.v_rand,
    metrics.v_info,
]
every_metric = pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)


@pytest.fixture
def stack():
    """Labels (3, 24, 30) of cells behind membranes, and a blurred, noisy map of them."""
    rng = np.random.default_rng(5)
    labels = np.ones((3, 24, 30), np.uint8)
    labels[:, ::8] = 0
    labels[:, :, 3::9] = 0
    noise = ndimage.gaussian_filter(rng.normal(0, 1, labels.shape), (0, 1, 1))
    probability = np.clip(ndimage.gaussian_filter(labels * 1.0, (0, 0.7, 0.7)) + 0.4 * noise, 0, 1)
    return labels, probability.astype(np.float32)


def test_thresholds_are_accumulated_sums():
    eleven = (0.0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5, 0.6, 0.7, 0.7999999999999999)
    eleven += (0.8999999999999999, 0.9999999999999999)
    labels = probability = np.eye(3)
    assert metrics.pixel_error(labels, probability).thresholds == eleven
    assert metrics.rand_error(labels, probability).thresholds == eleven
    assert metrics.v_rand(labels, probability).thresholds == eleven
    assert metrics.v_info(labels, probability).thresholds == eleven
    assert metrics.warping_error(labels, probability).thresholds == eleven[:10]


def test_foreground_is_the_float32_value_above_the_double_threshold():
    # 0.3 as float32 is 0.300000012 > 0.30000000000000004, though the double 0.3 is not;
    # 0.5 is not above 0.5.
    result = metrics.pixel_error([[1, 1]], [[0.3, 0.5]])
    assert result.values[3] == 0.0
    assert result.values[4] == pytest.approx(1 / 3)  # one of two found: F = 2 / 3
    assert result.values[5] == 1.0


@every_metric
def test_result_is_the_first_best_threshold(metric, stack):
    result = metric(*stack)
    better = min if metric.__name__.endswith("error") else max
    best = better(result.values)
    assert result.value == best
    assert result.threshold == result.thresholds[result.values.index(best)]
    with pytest.raises(FrozenInstanceError):
        result.value = 0.0


@every_metric
def test_given_thresholds_are_swept_in_their_order(metric, stack):
    full = metric(*stack)
    result = metric(*stack, thresholds=[full.thresholds[6], full.thresholds[2]])
    assert result.values == (full.values[6], full.values[2])


@every_metric
def test_any_value_above_0_is_white(metric, stack):
    labels, probability = stack
    ids = labels * np.random.default_rng(0).integers(1, 9, labels.shape)
    expected = metric(labels, probability)
    assert metric(ids, probability) == expected
    assert metric(labels.astype(bool), probability) == expected
    assert metric(labels * 0.5, probability) == expected


@every_metric
def test_order_of_slices_and_a_copy_of_each_change_nothing(metric, stack):
    labels, probability = stack
    expected = metric(labels, probability)
    for order in ([2, 0, 1], [0, 1, 2, 0, 1, 2]):
        result = metric(labels[order], probability[order])
        np.testing.assert_allclose(result.values, expected.values, rtol=0, atol=1e-15)
        assert result.threshold == expected.threshold


@every_metric
def test_one_slice_is_a_stack_of_one(metric, stack):
    labels, probability = stack
    assert metric(labels[0], probability[0]) == metric(labels[:1], probability[:1])


@every_metric
def test_perfect_proposal(metric, stack):
    labels, _ = stack
    result = metric(labels, labels.astype(np.float32))
    perfect = 0.0 if metric.__name__.endswith("error") else 1.0
    assert result.value == pytest.approx(perfect, abs=1e-15)
    assert result.threshold == 0.0


@every_metric
@pytest.mark.parametrize(
    ("labels", "probability", "message"),
    [
        (np.ones((4, 5)), np.ones((5, 4)), r"labels \(1, 4, 5\) and probability \(1, 5, 4\)"),
        (np.ones(4), np.ones(4), r"labels of shape \(4,\)"),
        (np.ones((1, 1, 4, 5)), np.ones((1, 1, 4, 5)), r"labels of shape \(1, 1, 4, 5\)"),
        (np.ones((0, 4, 5)), np.ones((0, 4, 5)), r"labels of shape \(0, 4, 5\)"),
        (np.ones((2, 2)), np.array([[1, np.nan], [0, 1]]), "probability, slice 0: holds NaN"),
        (np.ones((2, 2)), np.array([[1, np.inf], [0, 1]]), "probability, slice 0: holds NaN"),
        (np.array([[1, np.nan], [0, 1]]), np.ones((2, 2)), "labels, slice 0: holds NaN"),
        (np.ones((2, 2)), np.ones((2, 2), complex), "probability of type complex128"),
    ],
)
def test_bad_input_is_refused_in_one_line(metric, labels, probability, message):
    with pytest.raises(InputError, match=message) as caught:
        metric(labels, probability)
    assert "\n" not in str(caught.value)


@every_metric
@pytest.mark.parametrize("thresholds", [[], [np.nan], [0.5, np.inf]])
def test_bad_thresholds_are_refused(metric, thresholds):
    with pytest.raises(InputError, match="finite number"):
        metric(np.ones((2, 2)), np.ones((2, 2)), thresholds=thresholds)


@pytest.mark.parametrize("metric", [metrics.rand_error, metrics.v_rand, metrics.v_info])
def test_a_slice_without_white_label_is_named(metric, stack):
    labels, probability = stack
    labels[1] = 0
    with pytest.raises(InputError, match="labels, slice 1: no white pixel"):
        metric(labels, probability)


def test_8_bit_maps_are_not_rescaled_but_the_log_says_so(caplog):
    labels = np.array([[255, 0, 255]], np.uint8)
    with caplog.at_level(logging.WARNING):
        result = metrics.pixel_error(labels, np.array([[255, 1, 128]], np.uint8))
    assert result.values == pytest.approx([0.2] * 11)  # all three are foreground at any threshold
    assert "values from 1 to 255" in caplog.text


@every_metric
def test_memory_does_not_grow_with_the_stack(metric, stack):
    def peak(n_slices):
        labels = np.tile(stack[0][:1], (n_slices, 1, 1))
        probability = np.tile(stack[1][:1], (n_slices, 1, 1))
        tracemalloc.start()
        metric(labels, probability, thresholds=[0.5])
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what is made once, on the first call
    bytes_per_slice = stack[0][0].size * 4
    assert peak(64) < peak(4) + 10 * bytes_per_slice


def test_v_info_is_0_where_label_and_proposal_share_no_information():
    # Two cells of 4 px, two segments that take 2 px of each: one tells nothing of the other.
    overlaps = Overlaps(np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2]), np.array([2, 2, 2, 2]))
    assert information_fscore(overlaps) == 0
