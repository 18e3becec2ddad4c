"""Weighted energy by hand, and what it does not depend on."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from unetcore.loss import weighted_cross_entropy


def random_case(seed, n_classes=3):
    rng = np.random.default_rng(seed)
    scores = torch.tensor(rng.normal(0, 3, (2, n_classes, 5, 7)), dtype=torch.float32)
    classes = torch.tensor(rng.integers(0, n_classes, (2, 5, 7)))
    weights = torch.tensor(rng.uniform(0, 10, (2, 5, 7)), dtype=torch.float32)
    return scores, classes, weights


def test_two_pixels_by_hand():
    # softmax of (0, ln 3) is (1/4, 3/4); the first pixel is of class 1, the second of class 0
    scores = torch.tensor([[[[0.0, 0.0]], [[math.log(3), math.log(3)]]]])
    classes = torch.tensor([[[1, 0]]])
    weights = torch.tensor([[[2.0, 6.0]]])
    expected = (2 * math.log(4 / 3) + 6 * math.log(4)) / 8
    assert weighted_cross_entropy(scores, classes, weights).item() == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_a_loop_over_pixels(seed):
    scores, classes, weights = random_case(seed)
    total = mass = 0.0
    for image, row, column in np.ndindex(classes.shape):
        log_p = log_softmax(scores[image, :, row, column].double().numpy())
        w = weights[image, row, column].item()
        total -= w * log_p[classes[image, row, column]]
        mass += w
    assert weighted_cross_entropy(scores, classes, weights).item() == pytest.approx(total / mass)


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


def test_gradient_is_probability_minus_truth():
    scores, classes, weights = random_case(2)
    scores.requires_grad_()
    weighted_cross_entropy(scores, classes, weights).backward()
    truth = torch.nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2)
    expected = (weights / weights.sum())[:, None] * (scores.detach().softmax(1) - truth)
    torch.testing.assert_close(scores.grad, expected)


def test_tile_without_labels_has_loss_and_gradient_zero():
    scores, classes, weights = random_case(3)
    scores.requires_grad_()
    loss = weighted_cross_entropy(scores, classes, 0 * weights)
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
