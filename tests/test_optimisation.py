"""Optimisers, rates and the length of a gradient, by hand."""

import math

import pytest
import torch
from training_cases import FAST, PAPER, changed

from unetcore.model import UNet
from unetcore.optimisation import gradient_norm, learning_rate, make_optimiser, set_rate


def one_weight_and_bias():
    model = torch.nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.bias.fill_(-2.0)
    return model


def put_gradient(model, of_weight, of_bias):
    model.weight.grad = torch.full((1, 1), of_weight)
    model.bias.grad = torch.full((1,), of_bias)


def step_with(optimiser, model, rate, of_weight, of_bias):
    set_rate(optimiser, rate)
    put_gradient(model, of_weight, of_bias)
    optimiser.step()


@pytest.mark.parametrize("momentum", [0.99, 0.0])
def test_two_steps_of_sgd_by_hand(momentum):
    config = changed(PAPER, weight_decay=0.1, momentum=momentum)
    model = one_weight_and_bias()
    optimiser = make_optimiser(model, config)
    weight, bias, weight_speed, bias_speed = 3.0, -2.0, 0.0, 0.0
    for of_weight, of_bias in [(0.5, 0.7), (-0.2, 0.1)]:
        step_with(optimiser, model, 0.01, of_weight, of_bias)
        weight_speed = momentum * weight_speed + of_weight + 0.1 * weight
        bias_speed = momentum * bias_speed + of_bias  # no decay
        weight -= 0.01 * weight_speed
        bias -= 0.02 * bias_speed  # twice the rate
        assert model.weight.item() == pytest.approx(weight, rel=1e-6)
        assert model.bias.item() == pytest.approx(bias, rel=1e-6)


def test_two_steps_of_adamw_by_hand():
    config = changed(FAST, weight_decay=0.1, momentum=0.8)
    model = one_weight_and_bias()
    optimiser = make_optimiser(model, config)
    weight, mean, square = 3.0, 0.0, 0.0
    for number, gradient in enumerate((0.5, -0.2), start=1):
        step_with(optimiser, model, 0.01, gradient, -gradient)
        mean = 0.8 * mean + 0.2 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        move = mean / (1 - 0.8**number) / (math.sqrt(square / (1 - 0.999**number)) + 1e-8)
        weight -= 0.01 * (0.1 * weight + move)
        assert model.weight.item() == pytest.approx(weight, rel=1e-6)
        if number == 1:  # the first step of Adam is the rate itself, here twice; no decay
            assert model.bias.item() == pytest.approx(-2 + 0.02, rel=1e-6)


@pytest.mark.parametrize("config", [PAPER, FAST], ids=["sgd", "adamw"])
def test_a_step_that_found_no_finite_number_is_not_made(config):
    model = one_weight_and_bias()
    optimiser = make_optimiser(model, config)
    optimiser.found_inf = torch.zeros(())
    step_with(optimiser, model, 0.01, 0.5, 0.5)
    before = model.weight.item(), model.bias.item()
    optimiser.found_inf.fill_(1)
    step_with(optimiser, model, 0.01, math.nan, math.inf)
    assert (model.weight.item(), model.bias.item()) == before != (3.0, -2.0)


def test_optimiser_has_every_parameter_once():
    model = UNet(width=2, depth=2, variant="release")
    weights, biases = make_optimiser(model, PAPER).param_groups
    assert all(p.ndim == 4 for p in weights["params"])
    assert all(p.ndim == 1 for p in biases["params"])
    assert len(weights["params"]) == len(biases["params"]) == 5 * 2 + 2 + 1
    assert (weights["lr_factor"], biases["lr_factor"]) == (1, 2)


@pytest.mark.parametrize("as_tensor", [False, True])  # a captured graph reads it from a tensor
def test_rate_of_both_groups(as_tensor):
    optimiser = make_optimiser(one_weight_and_bias(), PAPER)
    for group in optimiser.param_groups:
        group["lr"] = torch.tensor(1.0) if as_tensor else 1.0
    tensors = [group["lr"] for group in optimiser.param_groups]
    set_rate(optimiser, 0.25)
    assert [float(group["lr"]) for group in optimiser.param_groups] == [0.25, 0.5]
    if as_tensor:  # the same tensors, where the graph looks for them
        assert [float(each) for each in tensors] == [0.25, 0.5]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"schedule": "constant"}, [1] * 10),
        ({"schedule": "constant", "warmup_steps": 2}, [0.5] + [1] * 9),
        ({"schedule": "step"}, [1] * 7 + [0.1] * 3),
        ({"schedule": "step", "warmup_steps": 4}, [0.25, 0.5, 0.75] + [1] * 4 + [0.1] * 3),
        ({"schedule": "cosine"}, [(1 + math.cos(math.pi * k / 10)) / 2 for k in range(10)]),
    ],
)
def test_learning_rate_by_hand(changes, expected):
    config = changed(PAPER, learning_rate=0.2, **changes)
    rates = [learning_rate(step, config) for step in range(10)]
    assert rates == pytest.approx([0.2 * factor for factor in expected])
    assert all(type(rate) is float for rate in rates)  # NumPy's are refused by the saved state


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        (None, (3.0, -4.0)),
        (10.0, (3.0, -4.0)),  # short enough
        (1.0, (0.6, -0.8)),
        (0.05, (0.03, -0.04)),
    ],
)
def test_gradient_of_length_5_is_cut_to_the_longest_allowed(clip, expected):
    model = one_weight_and_bias()
    put_gradient(model, 3.0, -4.0)
    assert gradient_norm(model, clip).item() == pytest.approx(5)  # the length before
    found = model.weight.grad.item(), model.bias.grad.item()
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_length_of_a_gradient_that_is_not_finite_says_so(clip, value):
    model = one_weight_and_bias()
    put_gradient(model, 3.0, value)
    assert not torch.isfinite(gradient_norm(model, clip))
