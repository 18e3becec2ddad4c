"""Weighted energy by hand, and what it does not depend on."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from unetcore.loss import constant_loss, soft_dice_loss, weighted_cross_entropy
from unetcore.settings import REDUCTIONS


def random_case(seed, n_classes=3):
    rng = np.random.default_rng(seed)
    scores = torch.tensor(rng.normal(0, 3, (2, n_classes, 5, 7)), dtype=torch.float32)
    classes = torch.tensor(rng.integers(0, n_classes, (2, 5, 7)))
    weights = torch.tensor(rng.uniform(0, 10, (2, 5, 7)), dtype=torch.float32)
    return scores, classes, weights


@pytest.mark.parametrize(("reduction", "divisor"), [("weighted-mean", 8), ("mean", 2), ("sum", 1)])
def test_two_pixels_by_hand(reduction, divisor):
    # softmax of (0, ln 3) is (1/4, 3/4); the first pixel is of class 1, the second of class 0
    scores = torch.tensor([[[[0.0, 0.0]], [[math.log(3), math.log(3)]]]])
    classes = torch.tensor([[[1, 0]]])
    weights = torch.tensor([[[2.0, 6.0]]])
    expected = (2 * math.log(4 / 3) + 6 * math.log(4)) / divisor
    found = weighted_cross_entropy(scores, classes, weights, reduction)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_a_loop_over_pixels(seed, reduction):
    scores, classes, weights = random_case(seed)
    energies = []
    for tile in range(len(scores)):
        total = mass = 0.0
        for row, column in np.ndindex(classes.shape[1:]):
            log_p = log_softmax(scores[tile, :, row, column].double().numpy())
            w = weights[tile, row, column].item()
            total -= w * log_p[classes[tile, row, column]]
            mass += w
        energies.append(total / {"weighted-mean": mass, "mean": 35, "sum": 1}[reduction])
    found = weighted_cross_entropy(scores, classes, weights, reduction)
    assert found.item() == pytest.approx(np.mean(energies))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_energy_of_a_batch_is_the_mean_of_its_tiles(reduction):
    case = random_case(0)
    case[2][1] *= 7  # a heavy tile counts as one tile
    one_by_one = [
        weighted_cross_entropy(*(each[k : k + 1] for each in case), reduction) for k in range(2)
    ]
    found = weighted_cross_entropy(*case, reduction)
    torch.testing.assert_close(found, (one_by_one[0] + one_by_one[1]) / 2)
    assert one_by_one[0] != one_by_one[1]


def test_only_the_ratio_of_weights_counts():
    scores, classes, weights = random_case(0)
    loss = weighted_cross_entropy(scores, classes, weights)
    for factor in (1e-3, 17.0):
        torch.testing.assert_close(weighted_cross_entropy(scores, classes, factor * weights), loss)


def test_pixels_of_weight_zero_count_for_nothing():
    scores, classes, weights = random_case(1)
    weights[:, :2] = 0
    scores.requires_grad_()
    loss = weighted_cross_entropy(scores, classes, weights)
    loss.backward()
    kept = weighted_cross_entropy(scores[:, :, 2:], classes[:, 2:], weights[:, 2:])
    torch.testing.assert_close(loss, kept)
    assert not scores.grad[:, :, :2].any()
    assert scores.grad[:, :, 2:].all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_is_probability_minus_truth(reduction):
    scores, classes, weights = random_case(2)
    scores.requires_grad_()
    weighted_cross_entropy(scores, classes, weights, reduction).backward()
    truth = torch.nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2)
    mass = weights.sum((1, 2), keepdim=True)  # of each tile
    shares = weights / {"weighted-mean": mass, "mean": 35, "sum": 1}[reduction] / 2
    expected = shares[:, None] * (scores.detach().softmax(1) - truth)
    torch.testing.assert_close(scores.grad, expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_tile_without_labels_has_loss_and_gradient_zero(reduction):
    scores, classes, weights = random_case(3)
    scores.requires_grad_()
    loss = weighted_cross_entropy(scores, classes, 0 * weights, reduction)
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()


def test_loss_of_bfloat16_scores_is_computed_in_float32():
    scores, classes, weights = random_case(4)
    loss = weighted_cross_entropy(scores.bfloat16(), classes, weights)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(
        loss, weighted_cross_entropy(scores.bfloat16().float(), classes, weights)
    )


def test_sure_and_wrong_is_finite():
    scores = torch.tensor([[[[-1e4]], [[1e4]]]])
    loss = weighted_cross_entropy(scores, torch.tensor([[[0]]]), torch.ones(1, 1, 1))
    assert loss.item() == 2e4


def sure(*classes, n_classes=2):
    """Scores (1, K, 1, W) of a network that is sure of a class at each pixel."""
    indicators = torch.nn.functional.one_hot(torch.tensor(classes), n_classes)
    return 1e4 * (2.0 * indicators.T[None, :, None] - 1)


def dice_of(scores, *classes, weights=None):
    ones = torch.ones(1, 1, len(classes))
    found = soft_dice_loss(scores, torch.tensor([[classes]]), ones if weights is None else weights)
    return found.item()


def test_dice_loss_of_sure_predictions_by_hand():
    # A class of which n pixels are predicted, m are true and k are both: (2 k + 1) / (n + m + 1).
    assert dice_of(sure(0, 1, 1, 0), 0, 1, 1, 0) == 0
    assert dice_of(sure(1, 1, 1, 1), 0, 0, 0, 0) == pytest.approx(1 - 1 / 5)  # of both classes
    assert dice_of(sure(1, 0, 1, 0), 1, 1, 0, 0) == pytest.approx(1 - 3 / 5)  # of both classes
    assert dice_of(sure(1, 1, 0, 0, 0), 1, 0, 0, 0, 0) == pytest.approx(1 - (3 / 4 + 7 / 8) / 2)
    three = sure(0, 1, 2, n_classes=3), 0, 2, 2  # 3 / 3, 1 / 2 and 3 / 4
    assert dice_of(*three) == pytest.approx(1 - (1 + 1 / 2 + 3 / 4) / 3)


def test_dice_loss_of_probabilities_by_hand():
    # 1/4 and 3/4 at both pixels, one of class 1 and one of class 0
    scores = torch.tensor([[[[0.0, 0.0]], [[math.log(3), math.log(3)]]]])
    overlap = (2 / 4 + 1) / (2 / 4 + 1 + 1), (2 * 3 / 4 + 1) / (2 * 3 / 4 + 1 + 1)
    assert dice_of(scores, 1, 0) == pytest.approx(1 - sum(overlap) / 2)


def slow_dice_loss(scores, classes, weights):
    """The same pixel by pixel, in float64."""
    overlaps = []
    for tile in range(len(scores)):
        both, each = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
        for row, column in zip(*np.nonzero(weights[tile].numpy()), strict=True):
            p = np.exp(log_softmax(scores[tile, :, row, column]))
            each += p
            each[classes[tile, row, column]] += 1
            both[classes[tile, row, column]] += p[classes[tile, row, column]]
        overlaps.append((2 * both + 1) / (each + 1))
    return 1 - np.mean(overlaps)


@pytest.mark.parametrize("seed", range(3))
def test_dice_loss_and_its_gradient_agree_with_a_loop_over_pixels(seed):
    scores, classes, weights = random_case(seed)
    weights[:, 1:3] = 0
    scores.requires_grad_()
    loss = soft_dice_loss(scores, classes, weights)
    loss.backward()
    given = scores.detach().double().numpy()
    assert loss.item() == pytest.approx(slow_dice_loss(given, classes, weights), rel=1e-5)
    assert 0 < loss.item() < 1
    for place in [(0, 0, 0, 0), (1, 2, 4, 6), (0, 1, 2, 3)]:  # the last one counts for nothing
        step = np.zeros_like(given)
        step[place] = 1e-5
        rise = slow_dice_loss(given + step, classes, weights)
        rise -= slow_dice_loss(given - step, classes, weights)
        assert scores.grad[place].item() == pytest.approx(rise / 2e-5, rel=1e-3, abs=1e-7)
    assert not scores.grad[:, :, 1:3].any()
    assert scores.grad[:, :, 3:].all()


def test_dice_loss_does_not_depend_on_weights_above_zero():
    scores, classes, weights = random_case(0)
    expected = soft_dice_loss(scores, classes, torch.ones_like(weights))
    assert soft_dice_loss(scores, classes, weights) == expected
    weights[:, :, :2] = 0
    kept = soft_dice_loss(scores[..., 2:], classes[..., 2:], weights[..., 2:])
    torch.testing.assert_close(soft_dice_loss(scores, classes, weights), kept)


def test_dice_loss_of_a_batch_is_the_mean_of_its_tiles():
    case = random_case(0)
    case[2][1, :4] = 0  # a tile of few labels counts as one tile
    one_by_one = [soft_dice_loss(*(each[k : k + 1] for each in case)) for k in range(2)]
    torch.testing.assert_close(soft_dice_loss(*case), (one_by_one[0] + one_by_one[1]) / 2)
    assert one_by_one[0] != one_by_one[1]


def test_dice_loss_of_a_tile_without_labels_and_its_gradient_are_zero():
    scores, classes, weights = random_case(3)
    scores.requires_grad_()
    loss = soft_dice_loss(scores, classes, 0 * weights)
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()


def test_dice_loss_of_sure_and_wrong_has_a_finite_gradient():
    scores = sure(1, 0, 1).requires_grad_()
    soft_dice_loss(scores, torch.tensor([[[0, 1, 0]]]), torch.ones(1, 1, 3)).backward()
    assert torch.isfinite(scores.grad).all()


def test_dice_loss_of_bfloat16_scores_is_computed_in_float32():
    scores, classes, weights = random_case(4)
    loss = soft_dice_loss(scores.bfloat16(), classes, weights)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, soft_dice_loss(scores.bfloat16().float(), classes, weights))


def pixels(*numbers):
    return np.array(numbers).reshape(1, 1, -1)


def test_constant_loss_of_two_classes_of_the_same_weight_is_ln_2():
    # One cell pixel of weight 3 weighs what three background pixels of weight 1 do.
    found = constant_loss(pixels(0, 0, 0, 1), pixels(1, 1, 1, 3), "weighted-mean", 400)
    assert found == pytest.approx(math.log(2))


@pytest.mark.parametrize(("reduction", "factor"), [("weighted-mean", 1), ("mean", 2), ("sum", 800)])
def test_constant_loss_is_the_entropy_of_the_shares(reduction, factor):
    # Shares of the weight 5/8, 2/8 and 1/8; 2 is the mean weight, and a tile has 400 pixels.
    found = constant_loss(pixels(0, 0, 1, 2), pixels(4, 1, 2, 1), reduction, 400)
    entropy = 5 / 8 * math.log(8 / 5) + 2 / 8 * math.log(4) + 1 / 8 * math.log(8)
    assert found == pytest.approx(factor * entropy)


def test_constant_loss_of_one_class_is_0():
    assert constant_loss(pixels(1, 1, 0), pixels(2, 1, 0), "weighted-mean", 400) == 0


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_no_constant_prediction_has_a_lower_energy_than_the_constant_loss(reduction):
    rng = np.random.default_rng(5)
    classes, weights = rng.integers(0, 2, (1, 20, 20)), rng.uniform(0, 9, (1, 20, 20))
    least = constant_loss(classes, weights, reduction, pixels=400)
    tile = torch.as_tensor(classes), torch.as_tensor(weights)
    energies = [
        weighted_cross_entropy(
            torch.tensor([0.0, logit])[None, :, None, None].expand(1, 2, 20, 20), *tile, reduction
        ).item()
        for logit in np.linspace(-2, 2, 401)
    ]
    assert min(energies) == pytest.approx(least, rel=1e-4)


def test_constant_loss_counts_the_dice_loss():
    # Of equal weight: predicted and true shares of each class are the same, and so is the overlap.
    found = constant_loss(pixels(0, 0, 0, 1), pixels(1, 1, 1, 1), "weighted-mean", 400, dice=2)
    entropy = 3 / 4 * math.log(4 / 3) + 1 / 4 * math.log(4)
    assert found == pytest.approx(entropy + 2 * 1 / 2)
    # Half of the weight and a quarter of the area, and the other way round; ignored ones are not.
    found = constant_loss(
        pixels(0, 0, 0, 1, 0), pixels(1, 1, 1, 3, 0), "weighted-mean", 400, dice=1
    )
    overlap = (2 * 1 / 2 * 1 / 4 / (3 / 4) + 2 * 1 / 2 * 3 / 4 / (5 / 4)) / 2
    assert found == pytest.approx(math.log(2) + 1 - overlap)


def test_dice_loss_of_the_best_constant_prediction_is_that_of_the_constant_loss():
    rng = np.random.default_rng(5)
    classes = (rng.random((1, 80, 80)) < 0.2).astype(np.int64)
    weights = np.where(classes, 4.0, rng.integers(0, 2, classes.shape))
    at_rest, with_dice = (
        constant_loss(classes, weights, "mean", pixels=6400, dice=dice) for dice in (0, 1)
    )
    cell = weights[classes == 1].sum() / weights.sum()
    logits = torch.tensor([0.0, math.log(cell / (1 - cell))])[None, :, None, None]
    found = soft_dice_loss(
        logits.expand(1, 2, 80, 80), torch.as_tensor(classes), torch.as_tensor(weights)
    )
    assert found.item() == pytest.approx(with_dice - at_rest, abs=1e-3)  # a pixel more or less
