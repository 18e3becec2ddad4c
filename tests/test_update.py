"""One update: the gradient of a batch, in parts or at once, and what is counted of it."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from training_cases import FAST, PAPER, changed, gradient_of, new_network, random_tiles, weights_of

from unetcore.distributed import Processes
from unetcore.loss import soft_dice_loss, weighted_cross_entropy
from unetcore.optimisation import set_rate
from unetcore.update import Tally, Update

CPU = torch.device("cpu")


def update_of(config=PAPER, seed=0, **network):
    update = Update(new_network(seed, **network), config, Processes())
    set_rate(update.optimiser, config.learning_rate)
    return update


def one(tiles, k):
    """Tile k of a batch, as a batch."""
    return tuple(each[k : k + 1] for each in tiles)


def parts_of(tiles, n):
    """A batch in parts of n tiles."""
    return list(zip(*(each.split(n) for each in tiles), strict=True))


def slow_gradient(tiles, seed, reduction="weighted-mean", **network):
    """Loss, foreground and gradient of tiles that are computed together, without `Update`."""
    model = new_network(**network)
    torch.manual_seed(seed)
    scores = model(tiles[0])
    loss = weighted_cross_entropy(scores, tiles[1], tiles[2], reduction)
    loss.backward()
    foreground = (scores[:, 1] > scores[:, 0]).float().mean()
    return loss.item(), foreground.item(), gradient_of(model)


def test_gradient_of_a_batch_is_the_mean_of_its_tiles():
    tiles = random_tiles(1, 2)
    update = update_of(changed(PAPER, batch=2), dropout=0)
    loss, foreground, norm = update.gradient([tiles], [0])
    each = [slow_gradient(one(tiles, k), 0, dropout=0) for k in range(2)]
    expected = (each[0][2] + each[1][2]) / 2
    torch.testing.assert_close(gradient_of(update.model), expected, rtol=1e-4, atol=1e-6)
    assert loss.item() == pytest.approx((each[0][0] + each[1][0]) / 2, rel=1e-6)
    assert foreground.item() == pytest.approx((each[0][1] + each[1][1]) / 2)
    assert norm.item() == pytest.approx(math.sqrt((expected.double() ** 2).sum()), rel=1e-5)
    assert not torch.allclose(each[0][2], each[1][2], rtol=0.1)  # else the test says nothing


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_blank_tile_counts_for_nothing_to_a_normalised_network(precision):
    network = {"width": 8, "depth": 4, "dropout": 0, "normalised": True}
    config = changed(PAPER, dice=1.0, precision=precision)
    tiles = random_tiles(1, 2, depth=4)
    tiles[0][1] = -2.5 * (1 + 1e-7 * tiles[0][1])
    alone, both = update_of(config, **network), update_of(changed(config, batch=2), **network)
    loss, _, norm = alone.gradient([one(tiles, 0)], [0])
    found, _, half = both.gradient([tiles], [0])
    assert norm > 0
    assert found.item() == pytest.approx(loss.item() / 2, rel=1e-3)
    assert half.item() == pytest.approx(norm.item() / 2, rel=1e-2)
    assert alone.gradient([one(tiles, 1)], [0])[2] == 0


def test_gradient_of_a_blank_tile_would_overflow():
    model = new_network(width=8, depth=4, dropout=0, normalised=True)
    tiles = random_tiles(1, 1, depth=4)
    weighted_cross_entropy(model(torch.full_like(tiles[0], -2.5)), *tiles[1:]).backward()
    assert not gradient_of(model).abs().max() < 1e15


@pytest.mark.parametrize("reduction", ["weighted-mean", "mean", "sum"])
@pytest.mark.parametrize("n", [1, 2])
def test_gradient_in_parts_is_that_of_the_whole_batch(reduction, n):
    tiles = random_tiles(2, 4)
    whole = update_of(changed(PAPER, batch=4, reduction=reduction), dropout=0)
    parts = update_of(changed(PAPER, batch=4, accumulate=4 // n, reduction=reduction), dropout=0)
    expected = whole.gradient([tiles], [0])
    found = parts.gradient(parts_of(tiles, n), [0] * (4 // n))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    scale = gradient_of(whole.model).abs().max().item()
    torch.testing.assert_close(
        gradient_of(parts.model), gradient_of(whole.model), rtol=0, atol=1e-6 * max(1, scale)
    )


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("n", [1, 2])
def test_gradient_of_the_energy_and_the_dice_loss_of_parts(n, normalised):
    tiles, network = random_tiles(7, 2), {"dropout": 0, "normalised": normalised}
    update = update_of(changed(PAPER, batch=2, accumulate=2 // n, dice=0.7), **network)
    loss, _, _ = update.gradient(parts_of(tiles, n), [0] * (2 // n))
    model = new_network(**network)
    losses = []
    for k in range(2):
        images, classes, weights = one(tiles, k)
        scores = model(images)
        energy = weighted_cross_entropy(scores, classes, weights)
        losses.append(energy + 0.7 * soft_dice_loss(scores, classes, weights))
    expected = (losses[0] + losses[1]) / 2
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient_of(update.model), gradient_of(model), rtol=1e-4, atol=1e-6)
    without, _, _ = update_of(changed(PAPER, batch=2), **network).gradient([tiles], [0])
    assert loss.item() - without.item() > 0.1  # it counts


def test_each_part_draws_its_own_drop_out():
    tiles = random_tiles(3, 2)
    update = update_of(changed(PAPER, batch=2, accumulate=2))
    loss, _, _ = update.gradient(parts_of(tiles, 1), [11, 12])
    each = [slow_gradient(one(tiles, k), seed) for k, seed in enumerate((11, 12))]
    torch.testing.assert_close(gradient_of(update.model), (each[0][2] + each[1][2]) / 2)
    assert loss.item() == pytest.approx((each[0][0] + each[1][0]) / 2, rel=1e-6)
    other = slow_gradient(one(tiles, 1), 11)  # drop-out makes a difference
    assert not torch.allclose(other[2], each[1][2], rtol=0.1)


@pytest.mark.parametrize("config", [PAPER, FAST], ids=["sgd", "adamw"])
def test_an_update_depends_on_its_seed_and_not_on_what_was_drawn_before(config):
    tiles = random_tiles(4, 1)

    def moved(global_seed, seed):
        update = update_of(config)
        torch.manual_seed(global_seed)
        update([tiles], [seed])
        return weights_of(update.model)

    assert torch.equal(moved(0, 5), moved(1, 5))
    assert not torch.equal(moved(0, 5), moved(0, 6))


def test_one_update_of_sgd_moves_weights_along_the_gradient_and_biases_twice_as_far():
    tiles = random_tiles(5, 1)
    update = update_of(changed(PAPER, learning_rate=0.02))
    before = {name: p.detach().clone() for name, p in update.model.named_parameters()}
    update([tiles], [7])
    reference = new_network()
    torch.manual_seed(7)
    weighted_cross_entropy(reference(tiles[0]), *tiles[1:]).backward()
    for name, p in reference.named_parameters():
        rate = 0.04 if name.endswith("bias") else 0.02
        found = update.model.get_parameter(name)
        torch.testing.assert_close(found, before[name] - rate * p.grad, rtol=1e-5, atol=1e-7)


def one_update(tiles, **changes):
    update = update_of(changed(PAPER, **changes), dropout=0)
    update([tiles], [0])
    return update


def test_sum_at_a_rate_of_one_nth_is_the_mean_over_n_pixels():
    tiles = random_tiles(6, 1)  # output tiles of 20 x 20 px
    mean = one_update(tiles, reduction="mean", learning_rate=0.1)
    sum_ = one_update(tiles, reduction="sum", learning_rate=0.1 / 400)
    torch.testing.assert_close(weights_of(sum_.model), weights_of(mean.model), rtol=1e-5, atol=1e-6)
    assert sum_.tally.loss.item() == pytest.approx(400 * mean.tally.loss.item(), rel=1e-5)
    assert not torch.equal(weights_of(mean.model), weights_of(new_network(dropout=0)))


def test_weighted_mean_is_the_mean_at_a_rate_divided_by_the_mean_weight():
    tiles = random_tiles(6, 1)
    weight = tiles[2].mean().item()
    weighted = one_update(tiles, learning_rate=0.1)
    mean = one_update(tiles, reduction="mean", learning_rate=0.1 / weight)
    torch.testing.assert_close(
        weights_of(weighted.model), weights_of(mean.model), rtol=1e-5, atol=1e-6
    )
    assert abs(weight - 1) > 0.5


def test_a_clipped_update_is_shorter_and_points_the_same_way():
    tiles = random_tiles(7, 1)
    free, cut = one_update(tiles), one_update(tiles, clip=0.01)
    norm = free.tally.gradient_norm.item()
    assert norm > 0.1
    assert cut.tally.gradient_norm.item() == norm  # on record before it is cut
    gradient = gradient_of(free.model) * 0.01 / norm
    torch.testing.assert_close(gradient_of(cut.model), gradient, rtol=1e-4, atol=1e-9)
    moved = weights_of(cut.model) - weights_of(new_network(dropout=0))
    assert 0.01 * 0.01 * 0.99 < moved.norm() < 2 * 0.01 * 0.01  # rate 0.01, biases 0.02
    within = one_update(tiles, clip=2 * norm)
    assert torch.equal(weights_of(within.model), weights_of(free.model))


def test_bfloat16_computes_the_scores_and_leaves_weights_gradient_and_loss_in_float32():
    tiles = random_tiles(8, 1)
    exact, half = update_of(dropout=0), update_of(changed(PAPER, precision="bfloat16"), dropout=0)
    seen = []
    half.model.scores.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    (loss, _, norm), expected = (u.gradient([tiles], [0]) for u in (half, exact))
    assert seen == [torch.bfloat16]
    kinds = {loss.dtype, norm.dtype, gradient_of(half.model).dtype, weights_of(half.model).dtype}
    assert kinds == {torch.float32}
    assert loss.item() == pytest.approx(expected[0].item(), rel=0.02)
    assert loss.item() != expected[0].item()
    difference = (gradient_of(half.model) - gradient_of(exact.model)).norm()
    assert difference < 0.05 * gradient_of(exact.model).norm()


def numbers(tally):
    return [
        value.item() for value in (tally.steps, tally.loss, tally.foreground, tally.gradient_norm)
    ]


def add(tally, *steps):
    for step in steps:
        tally.add(*(torch.tensor(value) for value in step))


def test_tally_by_hand():
    tally = Tally.empty(CPU)
    add(tally, (0.5, 0.25, 3.0), (0.25, 0.5, 1.0))
    assert numbers(tally) == [2, 0.75, 0.75, 3.0]
    assert (tally.last_loss, tally.last_norm, tally.failed) == (0.25, 1.0, 0)
    tally.clear()
    assert numbers(tally) == [0, 0, 0, 0]
    add(tally, (4.0, 1.0, 0.5))
    assert numbers(tally) == [1, 4.0, 1.0, 0.5]


def test_a_thousand_losses_are_summed_in_float64():
    # A sum in float32 would be 99.99905.
    tally = Tally.empty(CPU)
    add(tally, *[(0.1, 0.1, 0.1)] * 1000)
    assert tally.loss.item() == pytest.approx(1000 * np.float32(0.1).item(), rel=1e-12)


@pytest.mark.parametrize(
    "failure", [(math.nan, 0.5, 1.0), (math.inf, 0.5, 1.0), (0.5, 0.5, math.nan)]
)
def test_tally_counts_nothing_from_the_first_failure_on(failure):
    tally = Tally.empty(CPU)
    add(tally, (0.5, 0.25, 3.0), failure, (0.25, 0.5, 9.0), (math.nan, 0.5, 1.0))
    assert numbers(tally) == [1, 0.5, 0.25, 3.0]
    assert tally.failed == 1
    found = tally.last_loss.item(), tally.last_norm.item()
    np.testing.assert_equal(found, (np.float32(failure[0]), np.float32(failure[2])))
    tally.clear()
    add(tally, (0.25, 0.5, 9.0))
    assert tally.failed == 1
    assert numbers(tally)[0] == 0


def test_tally_comes_back_from_a_state():
    tally, other = Tally.empty(CPU), Tally.empty(CPU)
    add(tally, (0.5, 0.25, 3.0), (0.3, 0.5, math.inf))
    state = tally.state()
    tally.clear()
    assert state["steps"] == 1  # a copy
    other.restore(state)
    assert numbers(other) == [1, 0.5, 0.25, 3.0]
    assert (other.failed.item(), other.last_norm.item()) == (1, math.inf)


def test_update_counts_its_steps():
    update = update_of()
    batches = [random_tiles(seed, 1) for seed in range(3)]
    expected = []
    for seed, tiles in enumerate(batches):
        before = update_of()
        before.model.load_state_dict(update.model.state_dict())
        expected.append([float(x) for x in before.gradient([tiles], [seed])])
        update([tiles], [seed])
    losses, foreground, norms = zip(*expected, strict=True)
    assert numbers(update.tally) == pytest.approx([3, sum(losses), sum(foreground), max(norms)])


@pytest.mark.parametrize("config", [PAPER, FAST], ids=["sgd", "adamw"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_weights_stay_from_the_first_update_on_that_is_not_finite(config, accumulate):
    config = changed(config, batch=2, accumulate=accumulate)
    good, bad = random_tiles(9, 2), random_tiles(10, 2)
    bad[0][1, 0, 5, 5] = math.nan
    update = update_of(config)
    seeds = [1, 2][:accumulate]
    update(parts_of(good, 2 // accumulate), seeds)
    before = weights_of(update.model)
    for tiles in (bad, good):
        update(parts_of(tiles, 2 // accumulate), seeds)
        assert torch.equal(weights_of(update.model), before)
    assert (update.tally.steps, update.tally.failed) == (1, 1)
    assert not torch.equal(before, weights_of(new_network()))


class TwoProcesses:
    """Stands in for two processes, of which the other measures a loss and a share of 1."""

    size = 2

    def __init__(self):
        self.not_exchanged = []

    def wrap(self, model, device):
        return model

    def no_sync(self, wrapped):
        self.not_exchanged.append(wrapped)
        return nullcontext()

    def mean(self, tensor):
        return (tensor + 1) / 2


def test_only_the_last_part_is_exchanged_and_what_is_measured_is_the_mean_of_all_processes():
    parts = parts_of(random_tiles(11, 3), 1)
    two = TwoProcesses()
    shared = Update(new_network(), changed(PAPER, batch=6, accumulate=3), two)
    alone = update_of(changed(PAPER, batch=3, accumulate=3))
    found = shared.gradient(parts, [0, 1, 2])
    loss, foreground, norm = alone.gradient(parts, [0, 1, 2])
    assert two.not_exchanged == [shared.network] * 2
    assert torch.equal(gradient_of(shared.model), gradient_of(alone.model))
    assert [x.item() for x in found] == pytest.approx(
        [(loss.item() + 1) / 2, (foreground.item() + 1) / 2, norm.item()]
    )
