"""Training: one step by hand, resuming bit by bit, learning what can be learnt, stopping at NaN."""

import csv
import dataclasses
import math

import numpy as np
import pytest
import torch

from unetcore import train as module
from unetcore.augment import AugmentConfig, draw_tile
from unetcore.errors import InputError
from unetcore.train import (
    NetworkConfig,
    Progress,
    TrainConfig,
    TrainingData,
    autocast,
    learning_rate,
    make_optimiser,
    progress_line,
    resolve_precision,
    train,
    write_history,
)

NETWORK = NetworkConfig(variant="figure1", width=2, depth=1, dropout=0.5)
AUGMENTATION = AugmentConfig(
    rotation=180, mirror=True, displacement_std=2, grid=3, kernel="bicubic", grey_shift=0.1,
    grey_scale=0.1,
)  # fmt: skip
PAPER = TrainConfig(
    steps=10, output_tile=20, normalisation="unit", optimiser="sgd", learning_rate=0.01,
    momentum=0.99, weight_decay=0, schedule="step", warmup_steps=0, precision="float32",
    log_every=2, checkpoint_every=3,
)  # fmt: skip
FAST = dataclasses.replace(
    PAPER, optimiser="adamw", momentum=0.9, weight_decay=0.01, schedule="cosine", warmup_steps=3
)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    """Bit-identical repetition is promised for a CPU, whatever machine runs the tests."""
    monkeypatch.setattr(module, "best_device", lambda: torch.device("cpu"))


def random_data(seed=0, n=3, shape=(40, 48)):
    rng = np.random.default_rng(seed)
    return TrainingData(
        images=rng.uniform(0, 1, (n, *shape)).astype(np.float32),
        classes=rng.integers(0, 2, (n, *shape)).astype(np.uint8),
        weights=rng.uniform(0.5, 5, (n, *shape)).astype(np.float32),
    )


def start(data=None, *, training=PAPER, network=NETWORK, seed=0, **rest):
    return train(
        data or random_data(), network=network, augmentation=AUGMENTATION, training=training,
        seed=seed, **rest,
    )  # fmt: skip


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def without_clock(history):
    return [(row.step, row.loss, row.learning_rate) for row in history]


class Stop(Exception):
    """What interrupts a training in these tests."""


def stop_at(step):
    def report(progress):
        if progress.step == step:
            raise Stop

    return report


@pytest.mark.parametrize("training", [PAPER, FAST], ids=["sgd", "adamw"])
@pytest.mark.parametrize("step", [2, 4, 6, 10])  # nothing saved yet, mid-row, on a row, at the end
def test_resumed_training_ends_as_if_never_stopped(tmp_path, caplog, training, step):
    caplog.set_level("INFO")
    expected, history = start(training=training)
    state = tmp_path / "state.pt"
    with pytest.raises(Stop):
        start(training=training, state_path=state, report=stop_at(step))
    resumed, rows = start(training=training, state_path=state)
    assert torch.equal(weights_of(resumed), weights_of(expected))
    assert without_clock(rows) == without_clock(history)
    saved = (step - 1) // 3 * 3  # the state is written after the row is reported
    assert (f"continuing at step {saved} of 10" in caplog.text) == (saved > 0)


def test_training_interrupted_twice_counts_all_its_time(tmp_path):
    state = tmp_path / "state.pt"
    for step in (4, 8):
        with pytest.raises(Stop):
            start(state_path=state, report=stop_at(step))
    model, history = start(state_path=state)
    assert torch.equal(weights_of(model), weights_of(start()[0]))
    seconds = [row.seconds for row in history]
    assert seconds == sorted(seconds)
    assert [row.step for row in history] == [2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    "change",
    [
        {"code": "0123456789ab"},
        {"seed": 1},
        {"data": random_data(1)},
        {"training": dataclasses.replace(PAPER, learning_rate=0.02)},
        {"network": dataclasses.replace(NETWORK, dropout=0.25)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_state_of_another_training_is_not_taken_up(tmp_path, caplog, change):
    state = tmp_path / "state.pt"
    with pytest.raises(Stop):
        start(state_path=state, report=stop_at(6))
    model, history = start(state_path=state, **change)
    assert f"{state} is of another training: starting anew" in caplog.text
    expected, rows = start(**change)
    assert torch.equal(weights_of(model), weights_of(expected))
    assert without_clock(history) == without_clock(rows)


def test_finished_training_is_not_repeated(tmp_path):
    training = dataclasses.replace(PAPER, checkpoint_every=5)
    first, _ = start(training=training, state_path=tmp_path / "state.pt")
    reported = []
    again, history = start(
        training=training, state_path=tmp_path / "state.pt", report=reported.append
    )
    assert reported == []
    assert torch.equal(weights_of(first), weights_of(again))
    assert [row.step for row in history] == [2, 4, 6, 8, 10]


def test_training_depends_on_its_seed_and_not_on_the_global_one():
    torch.manual_seed(1)
    first = weights_of(start()[0])
    torch.manual_seed(2)
    assert torch.equal(weights_of(start()[0]), first)
    assert not torch.equal(weights_of(start(seed=1)[0]), first)


def test_history_of_a_training():
    rows = []
    training = dataclasses.replace(PAPER, steps=10, log_every=7)
    _, history = start(training=training, report=rows.append)
    assert rows == history
    assert [row.step for row in history] == [7, 10]
    # of the last update done: the seventh is the last one before the rate falls
    assert [row.learning_rate for row in history] == pytest.approx([0.01, 0.001])
    assert all(0.1 < row.loss < 10 and row.tiles_per_second > 0 for row in history)


def test_row_of_the_history_is_the_mean_of_its_steps():
    each = start(training=dataclasses.replace(PAPER, log_every=1))[1]
    pairs = start(training=PAPER)[1]
    expected = [(a.loss + b.loss) / 2 for a, b in zip(each[::2], each[1::2], strict=True)]
    assert [row.loss for row in pairs] == pytest.approx(expected, rel=1e-6)


def squares(n=6, side=48):
    """Bright squares on a dark noisy ground; a pixel's class is whether it is in one."""
    rng = np.random.default_rng(11)
    classes = np.zeros((n, side, side), np.uint8)
    for one in classes:
        for _ in range(4):
            row, column = rng.integers(0, side - 12, 2)
            one[row : row + 12, column : column + 12] = 1
    images = 0.6 * classes + 0.2 + rng.normal(0, 0.05, classes.shape)
    return TrainingData(images.astype(np.float32), classes, np.ones(classes.shape, np.float32))


@pytest.mark.parametrize(
    "training",
    [
        dataclasses.replace(PAPER, learning_rate=0.003, warmup_steps=20),
        dataclasses.replace(FAST, learning_rate=0.01, warmup_steps=10),
    ],
    ids=["sgd", "adamw"],
)
def test_training_learns_what_is_easy(training):
    data = squares()
    training = dataclasses.replace(training, steps=240, log_every=40)
    network = dataclasses.replace(NETWORK, width=8, dropout=0)
    model, history = start(data, training=training, network=network)
    assert history[-1].loss < 0.15  # knowing nothing costs ln 2 = 0.69
    assert history[-1].loss < 0.4 * history[0].loss
    held_out = squares(7)  # one more than it was trained on
    with torch.no_grad():
        scores = model(torch.as_tensor(held_out.images[-1])[None, None])
    truth = held_out.classes[-1, 8:-8, 8:-8]
    assert (scores[0].argmax(0).numpy() == truth).mean() > 0.95


def test_training_on_several_channels():
    data = squares()
    two = np.stack((np.zeros_like(data.images), data.images), axis=1)
    model, history = start(dataclasses.replace(data, images=two))
    assert model.settings["in_channels"] == 2
    assert np.isfinite(history[-1].loss)
    assert not model.training


def test_bfloat16_keeps_weights_and_loss_in_float32():
    training = dataclasses.replace(PAPER, precision="bfloat16")
    (model, history), (exact, rows) = start(training=training), start()
    assert weights_of(model).dtype == torch.float32
    assert not torch.equal(weights_of(model), weights_of(exact))
    np.testing.assert_allclose(weights_of(model), weights_of(exact), atol=0.02)
    assert history[0].loss == pytest.approx(rows[0].loss, rel=0.02)


@pytest.mark.parametrize("log_every", [1, 4, 10])
@pytest.mark.parametrize("seed", [0, 1])
def test_nan_stops_the_training_and_names_the_first_step_and_its_tile(log_every, seed):
    data = random_data()
    data.images[1] = np.nan  # every tile of slice 1 is NaN, and all weights are after it
    tiles = [
        draw_tile(np.random.default_rng([seed, step]), 3, (40, 48), AUGMENTATION)
        for step in range(10)
    ]
    step = next(step for step, tile in enumerate(tiles) if tile.index == 1)
    row, column = tiles[step].centre
    message = (
        rf"loss is nan at step {step} \(seed {seed}\), on the tile around row {row:.0f}, "
        rf"column {column:.0f} of training slice 1: .* learning rate of 0\.01"
    )
    training = dataclasses.replace(PAPER, log_every=log_every)
    with pytest.raises(FloatingPointError, match=message):
        start(data, training=training, seed=seed)


def test_the_state_of_a_training_that_is_nan_is_not_kept(tmp_path):
    data = random_data()
    data.images[:] = np.nan
    training = dataclasses.replace(PAPER, log_every=10, checkpoint_every=2)
    with pytest.raises(FloatingPointError, match="loss is nan at step 0"):
        start(data, training=training, state_path=tmp_path / "run.pt")
    assert list(tmp_path.iterdir()) == []


def test_diverging_training_stops():
    with pytest.raises(FloatingPointError, match=r"loss is (nan|inf) at step"):
        start(training=dataclasses.replace(PAPER, learning_rate=1e20))


def one_weight_and_bias():
    model = torch.nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.bias.fill_(-2.0)
    return model


def step_with(optimiser, model, config, rate, weight_gradient, bias_gradient):
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_factor"]
    model.weight.grad = torch.full((1, 1), weight_gradient)
    model.bias.grad = torch.full((1,), bias_gradient)
    optimiser.step()


def test_two_steps_of_sgd_by_hand():
    config = dataclasses.replace(PAPER, weight_decay=0.1, momentum=0.99)
    model = one_weight_and_bias()
    optimiser = make_optimiser(model, config)
    weight, bias, weight_speed, bias_speed = 3.0, -2.0, 0.0, 0.0
    for weight_gradient, bias_gradient in [(0.5, 0.7), (-0.2, 0.1)]:
        step_with(optimiser, model, config, 0.01, weight_gradient, bias_gradient)
        weight_speed = 0.99 * weight_speed + weight_gradient + 0.1 * weight
        bias_speed = 0.99 * bias_speed + bias_gradient  # no decay
        weight -= 0.01 * weight_speed
        bias -= 0.02 * bias_speed  # twice the rate
        assert model.weight.item() == pytest.approx(weight, rel=1e-6)
        assert model.bias.item() == pytest.approx(bias, rel=1e-6)


def test_first_step_of_adamw_by_hand():
    # The first step of Adam is the rate itself, whatever the gradient; the decay comes first.
    config = dataclasses.replace(FAST, weight_decay=0.1)
    model = one_weight_and_bias()
    step_with(make_optimiser(model, config), model, config, 0.01, 0.5, -0.7)
    assert model.weight.item() == pytest.approx(3 * (1 - 0.01 * 0.1) - 0.01, rel=1e-6)
    assert model.bias.item() == pytest.approx(-2 + 0.02, rel=1e-6)


def test_optimiser_has_every_parameter_once():
    model = module.UNet(width=2, depth=2, variant="release")
    weights, biases = make_optimiser(model, PAPER).param_groups
    assert all(p.ndim == 4 for p in weights["params"])
    assert all(p.ndim == 1 for p in biases["params"])
    assert len(weights["params"]) == len(biases["params"]) == 5 * 2 + 2 + 1
    assert (weights["lr_factor"], biases["lr_factor"]) == (1, 2)


def test_training_moves_weights_by_one_step_of_the_paper():
    # One step from rest: every weight moves by rate * gradient, so biases move twice as far.
    once = dataclasses.replace(PAPER, steps=1)
    slow = dataclasses.replace(once, learning_rate=0.005)
    initial = module.UNet(in_channels=1, **dataclasses.asdict(NETWORK))
    module.initialise(initial, torch.Generator().manual_seed(0))
    moved, half = (weights_of(start(training=t)[0]) - weights_of(initial) for t in (once, slow))
    torch.testing.assert_close(moved, 2 * half, atol=1e-6, rtol=1e-3)
    assert moved.any()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"schedule": "step"}, [1] * 7 + [0.1] * 3),
        ({"schedule": "step", "warmup_steps": 4}, [0.25, 0.5, 0.75] + [1] * 4 + [0.1] * 3),
        ({"schedule": "cosine"}, [(1 + math.cos(math.pi * k / 10)) / 2 for k in range(10)]),
    ],
)
def test_learning_rate_by_hand(changes, expected):
    config = dataclasses.replace(PAPER, learning_rate=0.2, **changes)
    rates = [learning_rate(step, config) for step in range(10)]
    assert rates == pytest.approx([0.2 * factor for factor in expected])
    assert all(type(rate) is float for rate in rates)  # NumPy's are refused by the saved state


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("optimiser", "adam", "sgd, adamw"),
        ("schedule", "linear", "step, cosine"),
        ("precision", "float16", "auto, float32, bfloat16"),
        ("normalisation", "stack", "unit, slice"),
    ],
)
def test_unknown_settings_are_refused(name, value, known):
    with pytest.raises(InputError, match=f"{name} '{value}': need one of {known}$"):
        dataclasses.replace(PAPER, **{name: value})


def test_output_tile_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"output tile of 21 px: .* nearest are 20 and 22"):
        start(training=dataclasses.replace(PAPER, output_tile=21))


def test_training_without_slices_is_refused():
    with pytest.raises(InputError, match="no training slices"):
        random_data(n=0)


@pytest.mark.parametrize("changed", ["classes", "weights"])
def test_arrays_that_do_not_match_are_refused(changed):
    data = random_data()
    with pytest.raises(InputError, match=rf"{changed}.*\(3, 40, 47\)"):
        dataclasses.replace(data, **{changed: getattr(data, changed)[:, :, :-1]})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_that_are_not_finite_are_refused(value):
    data = random_data()
    data.images[1, 39, 0] = value
    with pytest.raises(InputError, match="image of training slice 1: holds NaN or infinite"):
        dataclasses.replace(data)


@pytest.mark.parametrize(
    ("value", "low", "high"), [(np.nan, "nan", "nan"), (np.inf, "0", "inf"), (-1, "-1", "4")]
)
def test_weights_that_are_no_weights_are_refused(value, low, high):
    data = random_data()
    data.weights[2, 0, 47] = value
    with pytest.raises(
        InputError, match=rf"training slice 2: {low}.* to {high}.*, finite ones >= 0"
    ):
        dataclasses.replace(data)


def test_slices_without_pixels_are_refused():
    with pytest.raises(InputError, match=r"images of shape \(3, 0, 48\): need at least one pixel"):
        random_data(shape=(0, 48))


def test_checksum_sees_any_changed_value():
    reference = random_data().checksum()
    assert random_data().checksum() == reference
    for name in ("images", "classes", "weights"):
        data = random_data()
        getattr(data, name)[2, 39, 47] += 1
        assert data.checksum() != reference


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_autocast_computes_in_the_named_precision(precision):
    layer = torch.nn.Conv2d(1, 1, 3)
    with autocast(precision, torch.device("cpu"))():
        assert layer(torch.ones(1, 1, 5, 5)).dtype == getattr(torch, precision)


@pytest.mark.parametrize(
    ("flags", "supported", "expected"),
    [
        ("avx512_bf16 amx_bf16", True, "bfloat16"),
        ("avx512_bf16", False, "float32"),
        ("avx2", True, "float32"),  # emulated: slower than float32
    ],
)
def test_auto_is_bfloat16_only_where_the_cpu_computes_in_it(
    monkeypatch, flags, supported, expected
):
    monkeypatch.setattr(module, "_cpu_flags", lambda: flags)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert resolve_precision("auto", torch.device("cpu")) == expected
    assert resolve_precision("float32", torch.device("cpu")) == "float32"
    assert resolve_precision("bfloat16", torch.device("cpu")) == "bfloat16"


def test_progress_line_by_hand():
    row = Progress(step=200, loss=0.41204, learning_rate=1e-3, tiles_per_second=6.1, seconds=33.0)
    expected = "step 200/700  loss 0.4120  rate 1.0e-03  6.1 tiles/s  1:22 left"
    assert progress_line(row, 700) == expected


def test_history_file_has_one_row_for_each_log_step(tmp_path):
    rows = [Progress(2, 0.5, 0.01, 3.5, 1.25), Progress(4, 0.25, 0.001, 4.0, 2.5)]
    write_history(tmp_path / "run" / "history.csv", rows)
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        found = [
            Progress(int(row.pop("step")), **{k: float(v) for k, v in row.items()})
            for row in csv.DictReader(file)
        ]
    assert found == rows
