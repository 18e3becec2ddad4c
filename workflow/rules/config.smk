"""Reads and checks the configuration; nothing else does.

Makes: `EXPERIMENTS`, the settings of every experiment with the defaults filled in, and `DATASETS`, the
catalogue. A mistake is refused before any job starts, in one line that names the key.
"""

import os
import sys
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from snakemake.logging import logger
from snakemake.utils import update_config

from unetcore.data.catalog import read_catalog
from unetcore.errors import InputError
from unetcore.geometry import check_output_tile
from unetcore.script import BAD_INPUT

HERE = Path(workflow.current_basedir)


def refuse(message):
    """Stop before any job, with one line and the exit code for bad input."""
    logger.error(f"configuration: {message}")
    sys.exit(BAD_INPUT)


def did_you_mean(name, known):
    """Name the nearest of the known names, or all of them."""
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def describe_violation(error):
    """A violated rule of the schema in one line."""
    where = ".".join(map(str, error.absolute_path)) or "at the top"
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        return f"{where}: unknown key {unknown!r}, {did_you_mean(unknown, known)}"
    return f"{where}: {error.message}"


def check_config():
    """Refuse a configuration that breaks the schema."""
    schema = yaml.safe_load((HERE / "../schemas/config.schema.yaml").read_text())
    if error := best_match(Draft202012Validator(schema).iter_errors(config)):
        refuse(describe_violation(error))


def check_experiment_names():
    """Refuse tables and claims about experiments that are not there."""
    named = [name for names in config["tables"].values() for name in names]
    for claim in config["claims"]["comparisons"]:
        named += [claim["experiment"], claim["against_experiment"]]
    known = list(config["experiments"])
    for name in named:
        if name not in known:
            refuse(f"unknown experiment {name!r}, {did_you_mean(name, known)}")


def check_claims():
    """Refuse claims about methods and metrics that their experiments do not have."""
    for claim in config["claims"]["comparisons"]:
        for side in ("", "against_"):
            name, method = claim[f"{side}experiment"], claim[f"{side}method"]
            settings = EXPERIMENTS[name]
            averaging = method.partition("+")[2] or "none"
            if method != "best-threshold" and averaging not in settings["averaging"]:
                refuse(f"claim {claim['claim']!r}: experiment {name!r} has no {method}")
            if claim["metric"] not in settings["evaluation"]["metrics"]:
                refuse(f"claim {claim['claim']!r}: {name!r} does not measure {claim['metric']}")


def read_datasets():
    """Catalogue of datasets, or a refusal."""
    try:
        return read_catalog(HERE / "../../resources/datasets.yaml")
    except InputError as error:
        refuse(str(error))


def experiment(name):
    """Settings of an experiment: the defaults, and what it overrides."""
    settings = deepcopy(config["defaults"])
    update_config(settings, config["experiments"][name])
    dataset = settings["dataset"]
    if dataset not in DATASETS:
        known = list(DATASETS)
        refuse(f"experiments.{name}: unknown dataset {dataset!r}, {did_you_mean(dataset, known)}")
    try:
        for tile in (settings["training"]["output_tile"], settings["prediction"]["tile"]):
            if tile is not None:
                check_output_tile(tile, settings["network"]["depth"])
    except InputError as error:
        refuse(f"experiments.{name}: {error}")
    blocks = settings["split"].get("blocks")
    for fold in settings["folds"]:
        if blocks and fold != "official" and int(fold) >= blocks:
            refuse(f"experiments.{name}: fold {fold!r} of {blocks} blocks, counted from 0")
    return settings


def data_mirror():
    """Folder or URL that replaces the network, or None."""
    return os.environ.get("UNET_DATA_MIRROR") or config["data"]["mirror"]


check_config()
DATASETS = read_datasets()
GENERATED = [name for name, dataset in DATASETS.items() if dataset.generator]
DOWNLOADED = [name for name, dataset in DATASETS.items() if not dataset.generator]
check_experiment_names()
EXPERIMENTS = {name: experiment(name) for name in config["experiments"]}
check_claims()
