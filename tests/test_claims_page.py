"""docs/claims.md and the studies behind it: what they change, and what that costs."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml
from test_model import operations_by_hooks
from torch.utils.flop_counter import FlopCounterMode

from unetcore.augment import AugmentConfig
from unetcore.families import build_network
from unetcore.geometry import input_size, multiply_accumulates
from unetcore.model import UNet
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.training_memory import TrainingStep, training_memory
from unetcore.weight_settings import WeightMapConfig

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/claims.md").read_text(encoding="utf-8")
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
DEFAULTS = CONFIG["defaults"]
SECTIONS = {
    "network": NetworkConfig,
    "augmentation": AugmentConfig,
    "training": TrainConfig,
    "weight_map": WeightMapConfig,
}
VARIANTS = [
    (study["base"], name, variant)
    for key, study in CONFIG["studies"].items()
    if key.endswith("-why")
    for name, variant in study["variants"].items()
    if name != "base"
]


def variant(name):
    (found,) = [change for _, known, change in VARIANTS if known == name]
    return found


def test_page_names_every_variant_that_a_claim_is_tested_by():
    bases = {study["base"] for study in CONFIG["studies"].values()}
    for claim in CONFIG["claims"]["comparisons"]:
        sides = {claim["experiment"], claim.get("against_experiment", claim["experiment"])}
        for name in sides - bases:
            assert f"`{name}`" in PAGE, claim["claim"]


def operations(experiment):
    """Multiplications and additions of the forward passes of an experiment's training."""
    training = DEFAULTS["training"] | experiment.get("training", {})
    config = NetworkConfig(**DEFAULTS["network"] | experiment.get("network", {}))
    side = config.input_tile(training["output_tile"])
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build_network(config)(torch.empty(training["batch"], 1, side, side))
    return counter.get_total_flops() * training["steps"]


def test_operations_of_the_compared_networks_are_those_that_the_page_names():
    whole = operations(CONFIG["experiments"]["em"])
    for name, said in (("em-fcn", "0.48"), ("em-window", "0.10")):
        assert f"{operations(CONFIG['experiments'][name]) / whole:.2f}" == said
        (line,) = [line for line in PAGE.splitlines() if f"`{name}`:" in line]
        assert f"{said} times the operations" in line
    cpu = yaml.safe_load((ROOT / "config/cpu.yaml").read_text("utf-8"))["experiments"]
    share = operations(cpu["em-cpu-window"]) / operations(cpu["em-cpu"])
    assert f"on two cores {share:.2f} times" in line


def of_a_frame(experiment, side):
    """Multiplications and additions of one input of so many pixels a side."""
    config = NetworkConfig(**DEFAULTS["network"] | experiment["network"])
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build_network(config).eval()(torch.empty(1, 1, side, side))
    return counter.get_total_flops()


def test_operations_of_a_frame_are_those_that_the_page_names():
    window = CONFIG["experiments"]["em-window"]
    at_once, alone = of_a_frame(window, 512 + 94), of_a_frame(window, 95) * 512**2
    wide, narrow = (of_a_frame({"network": {"width": width}}, input_size(516)) for width in (64, 8))
    assert f"{at_once / narrow:.0f} times fewer operations than all" in PAGE
    assert f"takes {wide / at_once:.1f} times as many" in PAGE
    assert f"takes {alone / wide:.0f} times fewer" in PAGE


@pytest.mark.parametrize(("base", "name", "change"), VARIANTS, ids=str)
def test_every_variant_changes_each_setting_that_it_names(base, name, change):
    experiment = CONFIG["experiments"][base]
    for section, changed in change.items():
        before = DEFAULTS[section] | experiment.get(section, {})
        for key, value in changed.items():
            assert value != before[key], f"{section}.{key} is {value} in {base} too"
        kind = SECTIONS[section]
        assert asdict(kind(**before | changed)) == before | changed


def test_other_momentum_has_the_effective_rate_of_the_base():
    changed = variant("momentum-0.9")["training"]
    rates = [t["learning_rate"] / (1 - t["momentum"]) for t in (changed, DEFAULTS["training"])]
    assert rates[0] == pytest.approx(rates[1])


def test_costs_are_those_that_the_page_names():
    """Of 132 px five tiles take the operations of one of 388, and four its memory."""
    tiles = CONFIG["studies"]["em-tiles"]["variants"]["132x5"]["training"]
    assert (tiles["output_tile"], tiles["batch"]) == (132, 5)
    paper = NetworkConfig(**DEFAULTS["network"])
    step = {n: TrainingStep(paper, tile, tiles=n) for n, tile in ((1, 388), (4, 132))}
    operations = [multiply_accumulates(*[input_size(tile)] * 2) for tile in (388, 132)]
    assert 5 * operations[1] == pytest.approx(operations[0], rel=0.01)
    assert training_memory(step[4]) == pytest.approx(training_memory(step[1]), rel=0.1)


@pytest.mark.parametrize("name", ["no-copies", "few-channels"])
def test_operations_of_an_expansive_path_are_those_that_the_page_names(name):
    path = variant(name)["network"]
    with torch.device("meta"):
        made, paper = (
            operations_by_hooks(UNet(**settings).eval(), torch.zeros(1, 1, 572, 572))
            for settings in (path, {})
        )
    (line,) = [line for line in PAGE.splitlines() if f"`em-why-{name}`" in line]
    assert f"a training, with {made / paper:.2f} times the operations" in line
