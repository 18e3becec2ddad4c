"""Training: the loop by hand, resuming bit by bit, learning what can be learnt, stopping at NaN."""

import dataclasses
import signal

import numpy as np
import pytest
import torch
from training_cases import (
    AUGMENTATION,
    FAST,
    NETWORK,
    PAPER,
    changed,
    new_network,
    random_arrays,
    weights_of,
)

from unetcore import train as module
from unetcore.augment import TileAugmenter, draw_tile
from unetcore.errors import InputError, Interrupted
from unetcore.failures import reproduce
from unetcore.history import history_table
from unetcore.loss import soft_dice_loss, weighted_cross_entropy
from unetcore.model import UNet, initialise
from unetcore.optimisation import learning_rate
from unetcore.states import States
from unetcore.train import TrainingData, train


def random_data(seed=0, **rest):
    return TrainingData(*random_arrays(seed, **rest))


def start(data=None, *, training=PAPER, network=NETWORK, seed=0, **rest):
    return train(
        data or random_data(), network=network, augmentation=AUGMENTATION, training=training,
        seed=seed, device="cpu", **rest,
    )  # fmt: skip


def without_clock(history):
    return [dataclasses.replace(row, tiles_per_second=0, seconds=0) for row in history]


def slow_training(training, seed, network=NETWORK):
    """The same by other means: every tile by itself, an optimiser that is not fused."""
    images, classes, weights = random_arrays()
    augmenter = TileAugmenter(
        images[:, None], classes, weights, input_size=36, halo=8, config=AUGMENTATION
    )
    model = new_network(seed, dropout=network.dropout, normalised=network.normalised)
    model.to(memory_format=torch.channels_last)  # drop-out is drawn in the order of memory
    biases = [p for name, p in model.named_parameters() if "bias" in name]
    others = [p for name, p in model.named_parameters() if "bias" not in name]
    kind = torch.optim.SGD if training.optimiser == "sgd" else torch.optim.AdamW
    first = {"momentum": 0.99} if training.optimiser == "sgd" else {"betas": (0.9, 0.999)}
    optimiser = kind(
        [{"params": others, "weight_decay": training.weight_decay},
         {"params": biases, "weight_decay": 0}], lr=1.0, foreach=False, **first
    )  # fmt: skip
    losses = []
    for step in range(training.steps):
        optimiser.zero_grad()
        energy = 0.0
        for number in range(training.batch):
            rng = np.random.default_rng([seed, step, number])
            tile = augmenter(rng)
            torch.manual_seed(int(rng.integers(2**62)))
            scores = model(tile[0])
            loss = weighted_cross_entropy(scores, *tile[1:])
            loss = (loss + training.dice * soft_dice_loss(scores, *tile[1:])) / training.batch
            loss.backward()
            energy += loss.item()
        for group, factor in zip(optimiser.param_groups, (1, 2), strict=True):
            group["lr"] = factor * learning_rate(step, training)
        optimiser.step()
        losses.append(energy)
    return model, losses


@pytest.mark.parametrize(
    ("training", "network"),
    [
        (PAPER, {}),
        (FAST, {}),
        (changed(PAPER, batch=2, accumulate=2), {}),  # each tile has its own drop-out
        (changed(FAST, batch=3, accumulate=3), {}),
        (changed(PAPER, batch=2), {"dropout": 0}),  # at once
        (changed(FAST, batch=4, accumulate=2), {"dropout": 0}),
        (changed(FAST, dice=0.5), {}),
        (changed(PAPER, batch=2), {"dropout": 0, "normalised": True}),
        (changed(PAPER, batch=2, accumulate=2), {"normalised": True}),
    ],
    ids=[
        "sgd", "adamw", "two parts", "three parts", "batch", "batch in parts", "dice",
        "normalised batch", "normalised parts",
    ],
)  # fmt: skip
def test_training_is_what_a_slow_loop_makes_of_the_same_seed(training, network):
    training, network = changed(training, steps=6, log_every=1), changed(NETWORK, **network)
    model, history = start(training=training, network=network, seed=5)
    expected, losses = slow_training(training, 5, network)
    assert [row.loss for row in history] == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(weights_of(model), weights_of(expected), rtol=1e-3, atol=1e-4)


def test_a_batch_in_parts_is_the_batch_at_once():
    network = changed(NETWORK, dropout=0)
    whole = changed(PAPER, batch=4, log_every=1)
    expected, history = start(training=whole, network=network)
    for n in (2, 4):
        model, rows = start(training=changed(whole, accumulate=n), network=network)
        torch.testing.assert_close(weights_of(model), weights_of(expected), rtol=0, atol=1e-6)
        found = [row.loss for row in rows]
        assert found == pytest.approx([row.loss for row in history], abs=1e-6)


class Stop(Exception):
    """What interrupts a training in these tests."""


def stop_at(step, number=None):
    """Stop after a step: by a signal to this process, or by an error."""

    def report(progress):
        if progress.step == step:
            if number is None:
                raise Stop
            signal.raise_signal(number)

    return report


@pytest.mark.parametrize(
    ("training", "network"),
    [
        (PAPER, NETWORK),
        (FAST, NETWORK),
        (changed(FAST, batch=2, accumulate=2, clip=0.5, dice=0.5), NETWORK),
        (FAST, changed(NETWORK, normalised=True)),
    ],
    ids=["sgd", "adamw", "parts", "normalised"],
)
@pytest.mark.parametrize("step", [2, 4, 6, 10])  # nothing saved yet, mid-row, on a row, at the end
def test_resumed_training_ends_as_if_never_stopped(tmp_path, caplog, training, network, step):
    caplog.set_level("INFO")
    given = {"training": training, "network": network}
    expected, history = start(**given)
    with pytest.raises(Stop):
        start(**given, states=tmp_path, report=stop_at(step))
    resumed, rows = start(**given, states=tmp_path)
    assert torch.equal(weights_of(resumed), weights_of(expected))
    assert without_clock(rows) == without_clock(history)
    saved = (step - 1) // 3 * 3  # the state is written after the row is reported
    assert (f"continuing at step {saved} of 10" in caplog.text) == (saved > 0)


def test_training_interrupted_twice_counts_all_its_time(tmp_path):
    for step in (4, 8):
        with pytest.raises(Stop):
            start(states=tmp_path, report=stop_at(step))
    model, history = start(states=tmp_path)
    assert torch.equal(weights_of(model), weights_of(start()[0]))
    seconds = [row.seconds for row in history]
    assert seconds == sorted(seconds)
    assert [row.step for row in history] == [2, 4, 6, 8, 10]


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_the_step_just_made_and_says_where(tmp_path, number):
    training = changed(PAPER, log_every=1, checkpoint_every=1000)
    with pytest.raises(Interrupted) as stopped:
        start(training=training, states=tmp_path, report=stop_at(7, number))
    assert stopped.value.signal == number
    assert str(stopped.value) == f"stopped at step 7 of 10: the state is in {tmp_path}"
    assert States(tmp_path, {}).newest_step() == 7
    reported = []
    resumed, _ = start(training=training, states=tmp_path, report=reported.append)
    assert [row.step for row in reported] == [8, 9, 10]
    assert torch.equal(weights_of(resumed), weights_of(start(training=training)[0]))


def steps_on_file(path):
    return [int(line.split(",")[0]) for line in path.read_text().splitlines()[1:]]


@pytest.mark.usefixtures("interrupts")
def test_history_so_far_is_on_file_whatever_ends_the_training(tmp_path):
    path = tmp_path / "history.csv"
    kept = {"states": tmp_path / "state", "history_so_far": path}
    with pytest.raises(Stop):
        start(**kept, report=stop_at(8))  # the state before is of step 6
    assert steps_on_file(path) == [2, 4, 6]
    with pytest.raises(Interrupted):
        start(**kept, report=stop_at(8, signal.SIGTERM))
    assert steps_on_file(path) == [2, 4, 6, 8]
    _, history = start(**kept)
    assert path.read_bytes() == history_table(history)


def test_history_so_far_of_a_training_that_fails_is_on_file(tmp_path):
    path = tmp_path / "history.csv"
    seed = next(seed for seed in range(20) if first_bad_step(seed, 1) >= 4)
    training = changed(PAPER, checkpoint_every=1000)
    with pytest.raises(FloatingPointError):
        start(data_with_a_bad_slice(), training=training, seed=seed, history_so_far=path)
    assert steps_on_file(path) == list(range(2, first_bad_step(seed, 1) + 1, 2))


@pytest.mark.parametrize(("warmup_steps", "n_warnings"), [(9, 0), (10, 1)])
def test_a_warm_up_that_never_ends_is_said(caplog, warmup_steps, n_warnings):
    start(training=changed(PAPER, warmup_steps=warmup_steps))
    said = "the rate rises during all of the 10 steps: warmup_steps is 10"
    assert caplog.messages.count(said) == n_warnings


def test_a_signal_without_a_folder_says_that_nothing_is_kept():
    with pytest.raises(Interrupted, match=r"^stopped at step 4 of 10: nothing is kept$"):
        start(report=stop_at(4, signal.SIGTERM))


def test_a_signal_in_the_last_step_comes_too_late():
    _, history = start(report=stop_at(10, signal.SIGTERM))
    assert history[-1].step == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"code": "0123456789ab"}, 'code "", now "0123456789ab"'),
        ({"seed": 1}, "seed 0, now 1"),
        ({"data": random_data(1)}, r"images and labels \d+, now \d+"),
        ({"training": changed(PAPER, learning_rate=0.02)}, "training.learning_rate 0.01, now 0.02"),
        ({"training": changed(PAPER, clip=1.5)}, "training.clip null, now 1.5"),
        ({"network": changed(NETWORK, dropout=0.25)}, "network.dropout 0.5, now 0.25"),
    ],
)
def test_state_of_another_training_is_refused_and_the_difference_named(tmp_path, change, said):
    with pytest.raises(Stop):
        start(states=tmp_path, report=stop_at(6))
    with pytest.raises(InputError, match=rf"belongs to another training \({said}\): go on with"):
        start(states=tmp_path, **change)


def test_how_a_training_is_watched_may_change_when_it_is_resumed(tmp_path):
    with pytest.raises(Stop):
        start(states=tmp_path, report=stop_at(8))  # the state is of step 6
    training = changed(PAPER, log_every=5, checkpoint_every=1)
    resumed, history = start(training=training, states=tmp_path)
    assert torch.equal(weights_of(resumed), weights_of(start()[0]))
    assert [row.step for row in history] == [2, 4, 6, 10]
    each = start(training=changed(PAPER, log_every=1))[1]
    assert history[-1].loss == pytest.approx(np.mean([row.loss for row in each[6:]]), rel=1e-6)


def test_finished_training_is_not_repeated(tmp_path):
    first, history = start(states=tmp_path)
    reported = []
    again, rows = start(states=tmp_path, report=reported.append)
    assert reported == []
    assert torch.equal(weights_of(first), weights_of(again))
    assert rows == history


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"checkpoint_every": 4}, [4, 8, 10]),
        ({"checkpoint_every": 1000}, [10]),
        ({"checkpoint_every": 1000, "checkpoint_minutes": 1e-9}, [2, 4, 6, 8, 10]),  # log steps
    ],
)
def test_steps_after_which_a_state_is_saved(tmp_path, monkeypatch, changes, expected):
    saved = []
    monkeypatch.setattr(States, "save", lambda states, step, content: saved.append(step))
    start(training=changed(PAPER, **changes), states=tmp_path)
    assert saved == expected


class Looks:
    """Looks at held-out slices, draws random numbers, and keeps what it saw."""

    def __init__(self):
        self.steps, self.weights, self.rewound = [], [], []

    def __call__(self, network, step):
        torch.rand(step)
        np.random.default_rng(step).random()
        self.steps.append(step)
        self.weights.append(weights_of(network).clone())

    def rewind(self, step):
        self.rewound.append(step)


def test_a_watched_training_ends_as_one_that_is_not(tmp_path):
    expected, history = start()
    looks = Looks()
    watched, rows = start(training=changed(PAPER, validate_every=4), validate=looks)
    assert torch.equal(weights_of(watched), weights_of(expected))
    assert without_clock(rows) == without_clock(history)
    assert (looks.steps, looks.rewound) == ([4, 8, 10], [0])
    at_4 = start(training=changed(PAPER, schedule="constant", steps=4))[0]
    assert torch.equal(looks.weights[0], weights_of(at_4))  # of the network as it is


def test_a_resumed_training_rewinds_what_was_seen(tmp_path):
    training = changed(PAPER, validate_every=1)
    with pytest.raises(Stop):
        start(training=training, states=tmp_path, report=stop_at(8), validate=Looks())
    looks = Looks()
    start(training=training, states=tmp_path, validate=looks)
    # Of step 6 once more: the run before may have been killed between its state and its look.
    assert (looks.rewound, looks.steps) == ([6], [6, 7, 8, 9, 10])


def test_nothing_is_looked_at_where_no_steps_are_named():
    looks = Looks()
    start(validate=looks)
    assert looks.steps == []


def test_training_depends_on_its_seed_and_not_on_the_global_one():
    torch.manual_seed(1)
    first = weights_of(start()[0])
    torch.manual_seed(2)
    assert torch.equal(weights_of(start()[0]), first)
    assert not torch.equal(weights_of(start(seed=1)[0]), first)


def test_training_leaves_the_global_generator_as_it_was():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    start()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["he", "xavier", "pytorch"])
def test_training_begins_with_the_initial_weights_that_are_asked_for(kind):
    training = changed(PAPER, steps=1, learning_rate=1e-30, initial_weights=kind)
    expected = UNet(**NETWORK.arguments())
    initialise(expected, torch.Generator().manual_seed(0), kind)
    found = weights_of(start(training=training)[0])
    torch.testing.assert_close(found, weights_of(expected), rtol=0, atol=1e-20)


@pytest.mark.parametrize("deterministic", [True, False])
def test_repeatable_kernels_are_asked_for_where_the_settings_say_so(monkeypatch, deterministic):
    asked = []
    monkeypatch.setattr(module, "repeatable", asked.append)
    start(training=changed(PAPER, steps=1, deterministic=deterministic))
    assert asked == [torch.device("cpu")] * deterministic


def test_history_of_a_training():
    rows = []
    training = changed(PAPER, log_every=7, batch=3)
    _, history = start(training=training, report=rows.append)
    assert rows == history
    assert [row.step for row in history] == [7, 10]
    # of the last update done: the seventh is the last one before the rate falls
    assert [row.learning_rate for row in history] == pytest.approx([0.01, 0.001])
    assert all(0.1 < row.loss < 10 and 0 < row.foreground < 1 for row in history)
    first, last = history
    assert first.tiles_per_second == pytest.approx(3 * 7 / first.seconds)
    assert last.tiles_per_second == pytest.approx(3 * 3 / (last.seconds - first.seconds))


def test_row_of_the_history_sums_up_its_steps():
    each = start(training=changed(PAPER, log_every=1))[1]
    pairs = start()[1]
    for row, steps in zip(pairs, zip(each[::2], each[1::2], strict=True), strict=True):
        assert row.loss == pytest.approx(np.mean([step.loss for step in steps]), rel=1e-6)
        assert row.foreground == pytest.approx(np.mean([step.foreground for step in steps]))
        assert row.gradient_norm == max(step.gradient_norm for step in steps)


def warnings_of(caplog):
    """What the watch has said."""
    return [r.getMessage() for r in caplog.records if r.name == "unetcore.watch"]


@pytest.mark.parametrize("log_every", [1, 20])
def test_a_training_that_learns_nothing_is_said_to(caplog, log_every):
    training = changed(PAPER, steps=100, learning_rate=1e-9, log_every=log_every)
    start(training=training, network=changed(NETWORK, dropout=0))
    (line,) = warnings_of(caplog)
    assert line.startswith("step 100, last 100 steps: the loss is not below 0.69")


def test_a_resumed_training_is_judged_by_its_last_hundred_steps(tmp_path, caplog):
    training = changed(PAPER, steps=120, learning_rate=1e-9, log_every=20, checkpoint_every=20)
    with pytest.raises(Stop):
        start(training=training, states=tmp_path, report=stop_at(100))
    caplog.clear()
    start(training=training, states=tmp_path)
    assert "step 100, last 100 steps: the loss is not below" in caplog.text


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
        changed(PAPER, learning_rate=0.003, warmup_steps=20),
        changed(FAST, learning_rate=0.01, warmup_steps=10),
    ],
    ids=["sgd", "adamw"],
)
def test_training_learns_what_is_easy(caplog, training):
    data = squares()
    training = changed(training, steps=240, log_every=40)
    network = changed(NETWORK, width=8, dropout=0)
    model, history = start(data, training=training, network=network)
    assert history[-1].loss < 0.15  # knowing nothing costs 0.52
    assert history[-1].loss < 0.4 * history[0].loss
    assert warnings_of(caplog) == []
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
    training = changed(PAPER, precision="bfloat16")
    (model, history), (exact, rows) = start(training=training), start()
    assert weights_of(model).dtype == torch.float32
    assert not torch.equal(weights_of(model), weights_of(exact))
    np.testing.assert_allclose(weights_of(model), weights_of(exact), atol=0.02)
    assert history[0].loss == pytest.approx(rows[0].loss, rel=0.02)


def data_with_a_bad_slice():
    data = random_data()
    data.images[1] = np.nan  # every tile of slice 1 is NaN
    return data


def tiles_of(seed, step, batch):
    return [
        draw_tile(np.random.default_rng([seed, step, number]), 3, (40, 48), AUGMENTATION, 20)
        for number in range(batch)
    ]


def first_bad_step(seed, batch):
    return next(
        step for step in range(10) if 1 in {tile.index for tile in tiles_of(seed, step, batch)}
    )


@pytest.mark.parametrize("log_every", [1, 4, 10])
@pytest.mark.parametrize(("seed", "batch"), [(0, 1), (1, 1), (2, 2)])
def test_nan_stops_the_training_and_names_the_first_step_and_its_tiles(log_every, seed, batch):
    step = first_bad_step(seed, batch)
    tiles = " and ".join(
        f"the tile around row {tile.centre[0]:.0f}, column {tile.centre[1]:.0f} of training slice "
        f"{tile.index}"
        for tile in tiles_of(seed, step, batch)
    )
    training = changed(PAPER, log_every=log_every, batch=batch, accumulate=batch)
    with pytest.raises(FloatingPointError) as failed:
        start(data_with_a_bad_slice(), training=training, seed=seed)
    assert str(failed.value) == (
        f"loss nan, norm of the gradient nan at step {step} (seed {seed}), on {tiles}: look at it, "
        f"or lower the learning rate of 0.01"
    )


@pytest.mark.parametrize("batch", [1, 2])
def test_a_failure_is_kept_in_a_file_and_not_repeated(tmp_path, batch):
    data, training = data_with_a_bad_slice(), changed(PAPER, batch=batch, accumulate=batch)
    step = first_bad_step(0, batch)
    path = tmp_path / f"failure-{step:08d}.pt"
    with pytest.raises(FloatingPointError, match=rf"python -m unetcore\.failures {path}$"):
        start(data, training=training, states=tmp_path)
    assert reproduce(path)[0] == step
    assert np.isnan(reproduce(path)[1:]).all()
    with pytest.raises(FloatingPointError, match="it has failed so before: delete"):
        start(data, training=training, states=tmp_path)
    for state in tmp_path.glob("step-*.pt"):
        state.unlink()
    with pytest.raises(FloatingPointError, match=r"rate of 0\.02; to compute it again"):
        start(data, training=changed(training, learning_rate=0.02), states=tmp_path)


def test_the_file_of_a_failure_after_a_resume_is_of_the_right_step(tmp_path):
    seed = next(seed for seed in range(20) if first_bad_step(seed, 1) >= 4)
    step = first_bad_step(seed, 1)
    training = changed(PAPER, log_every=5, checkpoint_every=3)
    with pytest.raises(Interrupted):
        start(
            data_with_a_bad_slice(), training=changed(training, log_every=1), seed=seed,
            states=tmp_path, report=stop_at(3, signal.SIGTERM),
        )  # fmt: skip
    with pytest.raises(FloatingPointError, match=f"at step {step} "):
        start(data_with_a_bad_slice(), training=training, seed=seed, states=tmp_path)
    assert reproduce(tmp_path / f"failure-{step:08d}.pt")[0] == step


def test_the_state_of_a_training_that_is_nan_is_not_kept(tmp_path):
    data = random_data()
    data.images[:] = np.nan
    training = changed(PAPER, log_every=10, checkpoint_every=1)
    with pytest.raises(FloatingPointError, match="at step 0 "):
        start(data, training=training, states=tmp_path)
    assert list(tmp_path.glob("step-*")) == []


def test_diverging_training_stops():
    with pytest.raises(FloatingPointError, match=r"loss (nan|inf|[\d.e+]+), norm .* at step"):
        start(training=changed(PAPER, learning_rate=1e20))


def test_out_of_memory_says_what_would_fit(monkeypatch):
    def fail(update, parts, seeds):
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"
        )

    monkeypatch.setattr(module.Update, "__call__", fail)
    with pytest.raises(InputError, match=r"out of memory: .* 20 px") as refused:
        start()
    assert "\n" not in str(refused.value)
    monkeypatch.setattr(module.Update, "__call__", lambda *_: [][1])
    with pytest.raises(IndexError):  # a bug stays one
        start()


def test_a_gpu_asked_for_and_none_there_is_said_before_all_else(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="a GPU is asked for and none is there"):
        train(
            None, network=NETWORK, augmentation=AUGMENTATION, training=PAPER, seed=0,
            states=tmp_path / "states", device="gpu",
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_output_tile_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"output tile of 21 px: .* nearest are 20 and 22"):
        start(training=changed(PAPER, output_tile=21))
    with pytest.raises(InputError, match=r"output tile of 200 px needs an input of 216 px"):
        start(training=changed(PAPER, output_tile=200))


def test_slices_without_cells_are_refused():
    data = random_data()
    data.classes[:] = 0
    with pytest.raises(InputError, match="labels of the 3 training slices hold no cell"):
        start(data)


def test_training_without_slices_is_refused():
    with pytest.raises(InputError, match="no training slices"):
        random_data(n=0)


@pytest.mark.parametrize("name", ["classes", "weights"])
def test_arrays_that_do_not_match_are_refused(name):
    data = random_data()
    with pytest.raises(InputError, match=rf"{name}.*\(3, 40, 47\)"):
        dataclasses.replace(data, **{name: getattr(data, name)[:, :, :-1]})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_that_are_not_finite_are_refused(value):
    data = random_data()
    data.images[1, 39, 0] = value
    with pytest.raises(InputError, match="image of training slice 1: holds NaN or infinite"):
        dataclasses.replace(data)


@pytest.mark.parametrize(("value", "low", "high"), [(2, 0, 2), (-1, -1, 1), (0.5, 0, 1)])
def test_classes_that_the_network_does_not_know_are_refused(value, low, high):
    data = random_data()
    classes = data.classes.astype(type(value))
    classes[1, 3, 4] = value
    with pytest.raises(
        InputError, match=rf"classes of training slice 1: {low}.* to {high}.*, 0 and 1 are needed"
    ):
        dataclasses.replace(data, classes=classes)


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
