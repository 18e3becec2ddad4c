"""docs/claims.md: every override that it names is a valid configuration, and changes something."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml
from test_model import operations_by_hooks
from test_workflow import copy_workflow, snakemake

from unetcore.augment import AugmentConfig
from unetcore.geometry import input_size, multiply_accumulates
from unetcore.model import UNet
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.training_memory import TrainingStep, training_memory
from unetcore.weights import WeightMapConfig

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
DEFAULTS = CONFIG["defaults"]
SECTIONS = {
    "network": NetworkConfig,
    "augmentation": AugmentConfig,
    "training": TrainConfig,
    "weight_map": WeightMapConfig,
}


def rows(n_cells):
    """Cells of the page's table that has so many columns, without its heading."""
    lines = (ROOT / "docs/claims.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if line[:1] == "|"]
    return [row for row in cells if len(row) == n_cells and row[0] != "claim" and row[0][0] != "-"]


def overrides(cell):
    return [yaml.safe_load(text) for text in re.findall("`([^`]+)`", cell)]


VARIANTS = [
    (base.strip("`"), variant) for _, base, cell, _ in rows(4) for variant in overrides(cell)
]
WHOLE = [override for _, cell, _ in rows(3) for override in overrides(cell)]


def test_page_names_every_claim_once():
    claims = [row[0] for row in rows(4) + rows(3)]
    assert len(claims) == len(set(claims)) == 13
    assert len(VARIANTS) == 20
    assert len(WHOLE) == 2


@pytest.mark.parametrize(("base", "variant"), VARIANTS, ids=str)
def test_every_variant_changes_each_setting_that_it_names(base, variant):
    experiment = CONFIG["experiments"][base]
    for section, change in variant.items():
        before = DEFAULTS.get(section, {}) | experiment.get(section, {})
        for key, value in change.items():
            assert value != before.get(key), f"{section}.{key} is {value} in {base} too"


@pytest.mark.parametrize(("base", "variant"), VARIANTS, ids=str)
def test_every_variant_holds_values_that_the_package_takes(base, variant):
    experiment = CONFIG["experiments"][base]
    for section, kind in SECTIONS.items():
        settings = DEFAULTS[section] | experiment.get(section, {}) | variant.get(section, {})
        made = kind(**settings)
        assert asdict(made) == settings, section  # taken, and taken as it is
        if kind is NetworkConfig:
            with torch.device("meta"):
                UNet(**made.arguments())


def test_every_override_is_a_configuration_that_plans_its_trainings(tmp_path):
    of_base = {base: [v for b, v in VARIANTS if b == base] for base, _ in VARIANTS}
    studies = {
        f"{base}-claims": {
            "title": "Claims", "base": base, "seeds": [0], "averaging": ["none"],
            "folds": CONFIG["experiments"][base]["folds"][-1:],
            "variants": {str(number): variant for number, variant in enumerate(variants)},
        }
        for base, variants in of_base.items()
    }  # fmt: skip
    folder = copy_workflow(tmp_path)
    layers = [{"studies": studies, "run_studies": list(studies)}, *WHOLE]
    for number, layer in enumerate(layers):
        (folder / f"{number}.yaml").write_text(yaml.safe_dump(layer))
    files = [f"{number}.yaml" for number in range(len(layers))]
    result = snakemake(folder, "-n", "studies", "--configfile", *files)
    assert result.returncode == 0, result.stdout[-3000:]
    for name, study in studies.items():
        for variant in study["variants"]:
            run = f"results/runs/{name}-{variant}/fold-{study['folds'][0]}/seed-0/model.safetensors"
            assert run in result.stdout


def test_other_momentum_has_the_effective_rate_of_the_base():
    (change,) = [v["training"] for _, v in VARIANTS if "momentum" in v.get("training", {})]
    rates = [t["learning_rate"] / (1 - t["momentum"]) for t in (change, DEFAULTS["training"])]
    assert rates[0] == pytest.approx(rates[1])


def test_costs_are_those_that_the_page_names():
    """Of 132 px five tiles take the operations of one of 388, and four its memory."""
    paper = NetworkConfig(**DEFAULTS["network"])
    step = {n: TrainingStep(paper, tile, tiles=n) for n, tile in ((1, 388), (4, 132))}
    operations = [multiply_accumulates(*[input_size(tile)] * 2) for tile in (388, 132)]
    assert 5 * operations[1] == pytest.approx(operations[0], rel=0.01)
    assert training_memory(step[4]) == pytest.approx(training_memory(step[1]), rel=0.1)


@pytest.mark.parametrize("path", [{"skip_connections": False}, {"expansive_width": 4}], ids=str)
def test_operations_of_an_expansive_path_are_those_that_the_page_names(path):
    with torch.device("meta"):
        made, paper = (
            operations_by_hooks(UNet(**settings).eval(), torch.zeros(1, 1, 572, 572))
            for settings in (path, {})
        )
    (cost,) = [cost for _, _, cell, cost in rows(4) if overrides(cell) == [{"network": path}]]
    assert cost == f"a training, with {made / paper:.2f} times the operations"
