"""What the five threshold metrics share: thresholds, invariances, refusals, memory."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy import ndimage

from unetcore import metrics
from unetcore.errors import InputError

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
def test_probabilities_are_judged_once_rounded_to_float32(metric, stack):
    labels, probability = stack
    a_little_more = np.where(labels > 0, 1 + 1e-9, probability)
    assert metric(labels, a_little_more) == metric(labels, np.where(labels > 0, 1, probability))


def test_equal_pixel_errors_are_equal_though_their_fscores_are_rounded_apart():
    # Right are 2 of 16 found and 2 of 2 wanted, then 1 of 7 and 1 of 2: F = 4 / 18 = 2 / 9.
    labels = [[1] * 2 + [0] * 40]
    probability = [[0.9, 0.2] + [0.9] * 6 + [0.2] * 8 + [0] * 26]
    result = metrics.pixel_error(labels, probability, thresholds=[0.1, 0.5])
    assert result.values == (result.value, result.value)
    assert result.threshold == 0.1


def test_equal_rand_errors_are_equal_though_their_fscores_are_rounded_apart():
    # A cell of 6 px, cut once and then twice, and 10 cells of 1 px, of which 10 and then 8 are one:
    # F = 2 x 24 / (114 + 46) = 2 x 18 / (74 + 46) = 0.3.
    labels = np.array([[1] * 6 + [0, 1] * 10])
    low = np.array([[1, 1, 0, 1, 1, 1] + [0] + [1] * 19])
    high = np.array([[1, 1, 0, 1, 0, 1] + [0] + [1] * 15 + [0, 1] * 2])
    result = metrics.rand_error(labels, 0.2 * low + 0.7 * high, thresholds=[0.1, 0.5])
    assert result.values == (result.value, result.value)
    assert result.threshold == 0.1


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
    assert metric(labels * 3.0, probability) == expected


@every_metric
def test_order_of_slices_and_a_copy_of_each_change_nothing(metric, stack):
    labels, probability = stack
    expected = metric(labels, probability)
    for order in ([2, 0, 1], [0, 1, 2, 0, 1, 2]):
        result = metric(labels[order], probability[order])
        np.testing.assert_allclose(result.values, expected.values, rtol=0, atol=1e-15)
        assert result.threshold == expected.threshold


SYMMETRIES = [(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


def turned(images, turns, mirrored):
    """A stack, rotated by quarters and mirrored."""
    images = np.rot90(images, turns, axes=(1, 2))
    return images[:, :, ::-1] if mirrored else images


@pytest.mark.parametrize(("turns", "mirrored"), SYMMETRIES)
@pytest.mark.parametrize("metric", [metrics.rand_error, metrics.pixel_error])
def test_symmetries_of_the_whole_problem_change_nothing(metric, turns, mirrored, stack):
    expected = metric(*stack)
    found = metric(*(turned(images, turns, mirrored) for images in stack))
    assert found.values == expected.values
    assert (found.precision, found.recall) == (expected.precision, expected.recall)


@pytest.mark.parametrize(("turns", "mirrored"), SYMMETRIES)
def test_symmetries_leave_the_warping_error_where_no_two_pixels_are_equally_sure(
    turns, mirrored, stack
):
    """Ties are visited in scan order, by definition, so with them the result may change."""
    labels, probability = stack
    order = np.argsort(probability, axis=None)
    distinct = np.empty(probability.size)
    distinct[order] = np.arange(probability.size) / probability.size
    distinct = distinct.reshape(probability.shape)
    thresholds = [0.3 + 1e-5, 0.5 + 1e-5, 0.6 + 1e-5]  # no value as far above as one is below
    for threshold in thresholds:
        sure = np.abs(distinct.astype(np.float32) - threshold).astype(np.float32)
        assert len(np.unique(sure)) == sure.size
    expected = metrics.warping_error(labels, distinct, thresholds=thresholds)
    assert expected.value > 0
    pair = (turned(images, turns, mirrored) for images in (labels, distinct))
    assert metrics.warping_error(*pair, thresholds=thresholds).counts == expected.counts


@pytest.mark.parametrize("metric", [metrics.v_rand, metrics.v_info])
def test_mirroring_may_change_what_is_thinned(metric):
    """A border of even width has no middle: its line lies on the side that scan order says.

    Of "#....#" the line is the fourth pixel, counted from either end.
    """
    labels = np.array([[1, 1, 1, 0, 1, 1]])
    proposal = np.array([[1, 0, 0, 0, 0, 1]])
    as_is = metric(labels, proposal, thresholds=[0.5]).value
    mirrored = metric(labels[:, ::-1], proposal[:, ::-1], thresholds=[0.5]).value
    assert as_is == pytest.approx(1.0)
    assert mirrored < 0.9


@every_metric
def test_an_identical_slice_changes_nothing(metric, stack):
    labels, probability = stack
    one, two = (metric(labels[[0] * n], probability[[0] * n]) for n in (1, 2))
    np.testing.assert_allclose(two.values, one.values, rtol=0, atol=1e-15)


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
        (np.ones((2, 0)), np.ones((2, 0)), r"labels of shape \(2, 0\)"),
        (np.ones((2, 2)), [[1, np.nan], [0, 1]], "probability, slice 0: nan at y = 0, x = 1; fin"),
        (np.ones((2, 2)), [[1, 0], [0, -np.inf]], "probability, slice 0: -inf at y = 1, x = 1; f"),
        ([[1, np.nan], [0, 1]], np.ones((2, 2)), "labels, slice 0: nan at y = 0, x = 1; finite"),
        (np.ones((2, 2)), [[1, 0], [1.5, 0]], r"slice 0: 1.5 at y = 1, x = 0; .* lie in \[0, 1\]"),
        (np.ones((2, 2)), [[1, 0], [0, -0.1]], "probability, slice 0: -0.1 at y = 1, x = 1"),
        (np.ones((2, 2)), [[1, 0], [200, 1]], "probability, slice 0: 200 at y = 1, x = 0"),
        ([[1, 0], [-3, 0]], np.ones((2, 2)), "labels, slice 0: -3 at y = 1, x = 0; .* or more"),
        ([[1, 0.5], [0, 1]], np.ones((2, 2)), "labels, slice 0: 0.5 at y = 0, x = 1; .* whole"),
        ([[1, 0], [0, -2.0]], np.ones((2, 2)), "labels, slice 0: -2.0 at y = 1, x = 1"),
        (np.array([["a"]]), np.ones((1, 1)), "labels of type <U1: numbers are needed"),
        (np.ones((2, 2)), np.ones((2, 2), complex), "probability of type complex128"),
        ([[1, 0], [1]], np.ones((2, 2)), "labels: lists of different length"),
        (np.ones((2, 2)), [[1, 0], [1e300, 0]], r"slice 0: 1e\+300 at y = 1, x = 0; prob"),
        (np.ones((1, 2)), [[1 + 1e-9, 1.5]], r"slice 0: 1.5 at y = 0, x = 1; prob"),
    ],
)
def test_bad_input_is_refused_in_one_line(metric, labels, probability, message):
    with pytest.raises(InputError, match=message) as caught:
        metric(labels, probability)
    assert "\n" not in str(caught.value)


@every_metric
@pytest.mark.parametrize(
    "thresholds",
    [[], [np.nan], [0.5, np.inf], 0.5, [None], ["a"], "0.5", np.full((2, 1), 0.5), [[0.1], [1, 2]]],
)
def test_bad_thresholds_are_refused(metric, thresholds):
    with pytest.raises(InputError, match=r"^thresholds") as caught:
        metric(np.ones((2, 2)), np.ones((2, 2)), thresholds=thresholds)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metric", [metrics.rand_error, metrics.v_rand, metrics.v_info])
def test_a_slice_without_white_label_is_named(metric, stack):
    labels, probability = stack
    labels[1] = 0
    with pytest.raises(InputError, match="labels, slice 1: no white pixel"):
        metric(labels, probability)


@every_metric
def test_8_bit_maps_are_taken_as_they_are(metric):
    """Not divided by 255: every value above 0 is foreground at every threshold below 1."""
    labels = np.array([[1, 1, 0, 1, 1]] * 3, np.uint8)
    grey = np.array([[255, 1, 0, 128, 2]] * 3, np.uint8)
    assert metric(labels, grey) == metric(labels, grey > 0)
    at_100 = metric(labels, grey, thresholds=[100])
    assert at_100.values == metric(labels, grey > 100, thresholds=[0.5]).values
    assert at_100.threshold == 100


@every_metric
def test_numbers_of_any_type_are_taken_within_their_range(metric, stack):
    labels, probability = stack
    expected = metric(labels, probability)
    assert metric(labels.astype(np.int64), probability.astype(np.float64)) == expected
    binary = probability > 0.5
    assert metric(labels, binary.astype(np.int32)) == metric(labels, binary)
