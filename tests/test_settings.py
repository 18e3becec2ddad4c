"""Settings of a training: what is refused, and which of them decide the network."""

import dataclasses
import math

import pytest
from training_cases import FAST, PAPER, changed

from unetcore.errors import InputError
from unetcore.settings import OF_THE_WATCH, NetworkConfig, TrainConfig, check_seed


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("optimiser", "adam", "sgd, adamw"),
        ("schedule", "linear", "constant, step, cosine"),
        ("precision", "float16", "auto, float32, bfloat16"),
        ("normalisation", "stack", "unit, slice"),
        ("initial_weights", "zero", "he, xavier, pytorch"),
        ("reduction", "max", "weighted-mean, mean, sum"),
    ],
)
def test_unknown_names_are_refused(name, value, known):
    with pytest.raises(InputError, match=f"^{name} '{value}': need one of {known}$"):
        changed(PAPER, **{name: value})


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("steps", 1),
        ("batch", 1),
        ("accumulate", 1),
        ("warmup_steps", 0),
        ("log_every", 1),
        ("checkpoint_every", 1),
        ("validate_every", 0),
    ],
)
def test_counts_have_a_least_value(name, least):
    changed(PAPER, **{name: least})
    with pytest.raises(InputError, match=f"^{name} {least - 1}: need at least {least}$"):
        changed(PAPER, **{name: least - 1})
    with pytest.raises(InputError, match=f"^{name} {least + 0.5}: need a whole number$"):
        changed(PAPER, **{name: least + 0.5})


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("learning_rate", 0.0, "a finite number above 0"),
        ("learning_rate", math.nan, "a finite number above 0"),
        ("learning_rate", math.inf, "a finite number above 0"),
        ("momentum", -0.1, "a number from 0 to below 1"),
        ("momentum", 1.0, "a number from 0 to below 1"),
        ("weight_decay", -1e-9, "a finite number >= 0"),
        ("weight_decay", math.inf, "a finite number >= 0"),
        ("dice", -1e-9, "a finite number >= 0"),
        ("dice", math.nan, "a finite number >= 0"),
        ("dice", math.inf, "a finite number >= 0"),
        ("checkpoint_minutes", 0, "a number above 0"),
        ("clip", 0.0, "a number above 0, or none"),
        ("clip", math.nan, "a number above 0, or none"),
    ],
)
def test_numbers_outside_their_bounds_are_refused(name, value, rule):
    with pytest.raises(InputError, match=f"^{name} {value}: need {rule}$"):
        changed(PAPER, **{name: value})


def test_numbers_on_their_bounds_are_taken():
    config = changed(PAPER, momentum=0.0, weight_decay=0.0, clip=None)
    assert (config.momentum, config.weight_decay, config.clip) == (0, 0, None)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, math.nan])
def test_dropout_leaves_some_maps(dropout):
    shape = dict(width=4, depth=1, normalised=False, skip_connections=True, expansive_width=None)
    with pytest.raises(InputError, match=f"^dropout {dropout}: need a number from 0 to below 1$"):
        NetworkConfig("u-net", "figure1", dropout=dropout, **shape)
    assert NetworkConfig("u-net", "figure1", dropout=0.99, **shape).dropout == 0.99


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5])
def test_seed_is_a_whole_number_of_63_bits(seed):
    with pytest.raises(
        InputError, match=f"^seed {seed}: need a whole number from 0 to {2**63 - 1}$"
    ):
        check_seed(seed)
    check_seed(2**63 - 1)


@pytest.mark.parametrize(("batch", "accumulate"), [(1, 2), (4, 3), (2, 4)])
def test_batch_is_computed_in_parts_of_equal_size(batch, accumulate):
    with pytest.raises(
        InputError, match=f"batch of {batch} tiles in {accumulate} parts: need parts of equal size"
    ):
        changed(PAPER, batch=batch, accumulate=accumulate)
    assert changed(PAPER, batch=6, accumulate=3).accumulate == 3


def test_settings_that_only_watch_do_not_decide():
    decisive = FAST.decisive()
    everything = dataclasses.asdict(FAST)
    assert decisive == {n: v for n, v in everything.items() if n not in OF_THE_WATCH}
    assert set(everything) - set(decisive) == {
        "log_every", "checkpoint_every", "checkpoint_minutes", "validate_every"
    }  # fmt: skip
    watched = changed(FAST, log_every=1, checkpoint_every=7, checkpoint_minutes=1, validate_every=2)
    assert watched.decisive() == decisive
    assert changed(FAST, deterministic=False).decisive() != decisive


def test_settings_have_no_defaults_and_are_given_by_name():
    with pytest.raises(TypeError, match=r"missing \d+ required keyword-only arguments"):
        TrainConfig()
