"""Reads and checks the configuration; nothing else does.

Makes: `EXPERIMENTS`, the settings of every experiment and of every variant of a study with the
defaults filled in, `VARIANTS`, which of them each study compares, `DATASETS`, the catalogue, and
`OWN`, data sets of one's own, which are part of it. A
mistake is refused before any job starts, in one line that names the key.
"""

import os
import subprocess
import sys
from contextlib import suppress
from copy import deepcopy
from difflib import get_close_matches

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import update_config

from unetcore.data.catalog import own_dataset, read_catalog
from unetcore.data.entry import entry_of
from unetcore.errors import BAD_INPUT, InputError
from unetcore.geometry import check_output_tile
from unetcore.labels import IGNORED
from unetcore.recipes import FAST
from unetcore.settings import NetworkConfig, check_expansive_width

HERE = SOURCE / "workflow/rules"
OF_WINDOWS = ["seconds_per_frame_one_by_one", "window_difference"]


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


def check_name(name, known, complaint):
    """Refuse the name of a thing that is not there."""
    if name not in known:
        refuse(f"{complaint} {name!r}, {did_you_mean(name, list(known))}")


def check_names():
    """Refuse names of experiments, studies and tables that are not there."""
    named = [name for names in config["tables"].values() for name in names]
    for claim in config["claims"]["comparisons"]:
        named += [claim[f"{side}experiment"] for side in claim_sides(claim)]
    for name in named:
        check_name(name, EXPERIMENTS, "unknown experiment")
    for name in config["run_studies"]:
        check_name(name, config["studies"], "run_studies: unknown study")
    for name in config["claims"]["studies"]:
        check_name(name, config["studies"], "claims.studies: unknown study")
    check_tiles_or_batches()
    for name in config["publish"]:
        check_name(name, config["tables"] | config["studies"], "publish: unknown table or study")


def check_tiles_or_batches():
    """Refuse updates to measure that the network of their experiment does not make."""
    asked, where = config["tiles_or_batches"], "tiles_or_batches"
    check_name(asked["experiment"], EXPERIMENTS, f"{where}.experiment: unknown experiment")
    if asked["study"] is not None:
        check_name(asked["study"], config["studies"], f"{where}.study: unknown study")
    network = NetworkConfig(**EXPERIMENTS[asked["experiment"]]["network"])
    try:
        for tile in asked["tiles"]:
            network.input_tile(tile)
    except InputError as error:
        refuse(f"{where}.tiles: {error}")


def method_names(settings):
    """Methods that an experiment evaluates.

    The threshold knows no recipe and no network: it stands beside the paper's, so that it is counted
    once. On data sets of one's own, where there may be no such, it stands beside any U-Net.
    """
    paper, family = settings["recipe"] == "paper", settings["network"]["family"]
    network = family if paper else f"{family}-fast"
    suffixes = ["" if a == "none" else f"+{a}" for a in settings["averaging"]]
    shows_threshold = family == "u-net" and (paper or settings["dataset"] in OWN)
    threshold = ["best-threshold"] if shows_threshold else []
    return [*threshold, *(network + suffix for suffix in suffixes)]


def claim_sides(claim):
    """Prefixes of the keys of both sides of a claim; there is one where a limit is given."""
    return ("",) if "limit" in claim else ("", "against_")


def quantities(settings, method):
    """What is measured of a method of an experiment, and what is on record of its predictions."""
    found = list(settings["evaluation"]["metrics"])
    if method == "best-threshold":
        return found
    is_window = settings["network"]["family"] == "sliding-window"
    averaged = "+" in method
    found.append("seconds_per_frame")
    found += [] if is_window or averaged else ["seam"]
    return found + (OF_WINDOWS if is_window and not averaged else [])


def check_claims():
    """Refuse claims about methods and metrics that their experiments do not have."""
    for claim in config["claims"]["comparisons"]:
        for side in claim_sides(claim):
            name, method = claim[f"{side}experiment"], claim[f"{side}method"]
            settings = EXPERIMENTS[name]
            if method not in method_names(settings):
                refuse(f"claim {claim['claim']!r}: experiment {name!r} has no {method}")
            metric = (claim.get("against_metric") if side else None) or claim["metric"]
            if metric not in quantities(settings, method):
                refuse(f"claim {claim['claim']!r}: {name!r} does not measure {metric} of {method}")


def check_volumes():
    """Refuse names of volumes that YAML does not take for text."""
    for name in config["volumes"]["images"]:
        if not isinstance(name, str):
            refuse(f"volumes.images: {name!r} is no text: put it in quotes")


def check_paper_figures():
    """Refuse sets of figures whose experiments cannot be shown by them."""
    for name, shown in config["paper_figures"].items():
        where = f"paper_figures.{name}"
        if name in EXPERIMENTS:
            refuse(f"{where}: an experiment has this name")
        for experiment in (shown["membranes"], *shown["cells"]):
            check_name(experiment, EXPERIMENTS, f"{where}: unknown experiment")
        family = EXPERIMENTS[shown["membranes"]]["network"]["family"]
        if family != "u-net":
            refuse(f"{where}: {shown['membranes']!r} is of family {family}, Fig. 1 shows a u-net")
        for experiment in shown["cells"]:
            dataset = EXPERIMENTS[experiment]["dataset"]
            if DATASETS[dataset].label_kind != "instances":
                refuse(f"{where}: {experiment!r} is of {dataset}, whose labels are not of cells")


def read_datasets():
    """Catalogue of datasets, or a refusal."""
    try:
        return read_catalog(HERE / "../../resources/datasets.yaml")
    except InputError as error:
        refuse(str(error))


def read_own_datasets():
    """Data sets of one's own by name, or a refusal."""
    try:
        return {name: entry_of(name, values) for name, values in config["datasets"].items()}
    except InputError as error:
        refuse(str(error))


def sheet_of(name, entry):
    """Sample sheet of a data set: named from the folder of the configuration that has the entry.

    Where none of its files has it, from where Snakemake works.
    """
    for file in reversed(list(workflow.configfiles)):
        content = yaml.safe_load(Path(file).read_text()) or {}
        if name in (content.get("datasets") or {}):
            return Path(file).resolve().parent / entry.samples
    return entry.samples


def with_own(catalog):
    """Catalogue with the data sets of one's own; none may have the name of another."""
    for name, entry in OWN.items():
        if name in catalog:
            refuse(f"datasets.{name}: a known data set has this name")
        if not SHEETS[name].is_file():
            refuse(f"datasets.{name}.samples: {entry.samples}: no such file")
        if entry.settings.labels_are is None:
            refuse(f"datasets.{name}.labels_are: null, need mask or instances")
        kind = entry.settings.labels_are
        if kind == "mask" and entry.settings.allow_empty:
            refuse(
                f"datasets.{name}.allow_empty: true; the metrics of masks are undefined for images "
                "without a cell: leave these images out here"
            )
        catalog[name] = own_dataset(name, entry.title, str(SHEETS[name]), kind)
    return catalog


def add_own_tables():
    """Give each data set of one's own a table of its name, of all experiments on it."""
    for name in OWN:
        if name in config["tables"]:
            refuse(f"datasets.{name}: a table has this name")
        on_it = [experiment for experiment, s in EXPERIMENTS.items() if s["dataset"] == name]
        if on_it:
            config["tables"][name] = on_it


def put_numbers_in_order():
    """Sort the variants of studies whose names are all numbers.

    Snakemake puts those of a --configfile before the others of the same study.
    """
    for study in config["studies"].values():
        with suppress(ValueError):
            study["variants"] = dict(sorted(study["variants"].items(), key=lambda v: float(v[0])))


def variant_overrides(name):
    """What each variant of a study overrides: its base's settings with the change laid over."""
    study = config["studies"][name]
    check_name(study["base"], config["experiments"], f"studies.{name}.base: unknown experiment")
    if "chosen" in study:
        check_name(study["chosen"], study["variants"], f"studies.{name}.chosen: unknown variant")
    own = {key: study[key] for key in ("folds", "seeds", "averaging")}
    for variant, change in study["variants"].items():
        override = deepcopy(config["experiments"][study["base"]]) | own
        override["title"] = f"{study['title']}: {variant}"
        update_config(override, change)
        yield variant, override


def variants(study):
    """Experiment and settings of every variant of a study, by its name.

    One that changes nothing is the base itself, on the folds and with the seeds of the study: nothing
    is trained twice.
    """
    base, found = config["studies"][study]["base"], {}
    if study in config["tables"]:
        refuse(f"studies.{study}: a table has this name")
    for variant, override in variant_overrides(study):
        where = f"studies.{study}.variants.{variant}"
        settings = experiment(where, override)
        if config["studies"][study]["variants"][variant]:
            found[variant] = f"{study}-{variant}", settings
            continue
        if base in dict(found.values()):
            refuse(f"{where}: another variant changes nothing either")
        check_covers(EXPERIMENTS[base], settings, f"{where}: it is {base!r} itself, which has no")
        found[variant] = base, settings
    return found


def check_covers(base, settings, complaint):
    """Refuse folds, seeds or averagings that a base does not have."""
    for key in ("folds", "seeds", "averaging"):
        for value in settings[key]:
            if value not in base[key]:
                refuse(f"{complaint} {value!r} among its {key}")


def add_variants():
    """Add the variants of studies to the experiments; no name may stand for two."""
    for study, found in VARIANTS.items():
        for variant, (name, settings) in found.items():
            if not config["studies"][study]["variants"][variant]:
                continue
            if name in EXPERIMENTS:
                refuse(f"studies.{study}.variants.{variant}: there is another experiment {name!r}")
            EXPERIMENTS[name] = settings


def experiment(where, override):
    """Settings of an experiment: its recipe's, and what it overrides at a place of the config."""
    settings = deepcopy(config["defaults"])
    dataset = override["dataset"]
    if dataset not in DATASETS:
        known = list(DATASETS)
        refuse(f"{where}: unknown dataset {dataset!r}, {did_you_mean(dataset, known)}")
    if override.get("recipe", settings["recipe"]) == "fast":
        update_config(settings, FAST.sections(DATASETS[dataset].label_kind))
    update_config(settings, override)
    if dataset in OWN:
        settings["weight_map"]["ignore_label"] = IGNORED
        if settings["training"]["normalisation"] != "slice":
            refuse(
                f"{where}: normalisation {settings['training']['normalisation']!r} on images of "
                "one's own, whose scale is not known: need slice"
            )
    try:
        network = NetworkConfig(**settings["network"])
        check_expansive_width(network.expansive_width, network.width)
        network.input_tile(settings["training"]["output_tile"])
        if settings["prediction"]["tile"] is not None:
            check_output_tile(settings["prediction"]["tile"], network.depth)
    except InputError as error:
        refuse(f"{where}: {error}")
    blocks = settings["split"].get("blocks")
    for fold in settings["folds"]:
        if blocks and fold != "official" and int(fold) >= blocks:
            refuse(f"{where}: fold {fold!r} of {blocks} blocks, counted from 0")
    return settings


def check_batches():
    """Refuse batches of the tables' trainings that do not part among the processes.

    Trainings of studies, which nobody may have asked for, say so themselves.
    """
    for name in (name for names in config["tables"].values() for name in names):
        training = EXPERIMENTS[name]["training"]
        shares = config["processes"] * training["accumulate"]
        if training["batch"] % shares:
            refuse(
                f"experiments.{name}: batch of {training['batch']} tiles on {config['processes']} "
                f"process(es) in {training['accumulate']} part(s) each: need a multiple of {shares}"
            )


def n_gpus():
    """Number of GPUs that the driver of this machine lists, and that jobs may see.

    torch is not asked: it may be in the jobs' environment alone.
    """
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
        n_listed = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    except OSError:  # no driver, or one that is hidden in a container
        n_listed = 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return n_listed
    return min(n_listed, len(list(filter(None, visible.split(",")))))  # empty hides all


def check_gpus():
    """Refuse to start where jobs, or those that follow a checkpoint, need GPUs that are not there.

    Where a scheduler takes the jobs to other machines, each looks for itself.
    """
    jobs = workflow.dag.needrun_jobs()
    needed = any(
        job.is_checkpoint or job.resources.get("gpu") or job.resources.get("gres") for job in jobs
    )
    if config["hardware"] != "gpu" or not needed or not workflow.local_exec:
        return
    if (found := n_gpus()) < config["processes"]:
        refuse(
            f"hardware 'gpu' with {config['processes']} process(es), and this machine has {found} "
            "GPU(s): ask for fewer processes, for another executor, or for hardware 'cpu'"
        )


def check_container():
    """Refuse containers without an image, or with one that is not there."""
    if DeploymentMethod.APPTAINER not in workflow.deployment_settings.deployment_method:
        return
    if (image := config["container"]) is None:
        refuse("container: null, and --sdm apptainer runs every job in an image: name one")
    if "://" not in image and not Path(image).exists():
        refuse(f"container: {image}: no such file or folder")


def check_folder():
    """Refuse a folder in which nothing can be made: Snakemake would end with a traceback."""
    if not os.access(".", os.W_OK):
        refuse(f"{Path.cwd()}: results go here, and it cannot be written to")


def data_mirror():
    """Folder or URL that replaces the network, or None."""
    return os.environ.get("UNET_DATA_MIRROR") or config["data"]["mirror"]


config = whole_config(config)
check_folder()
check_config()
check_container()
put_numbers_in_order()
OWN = read_own_datasets()
SHEETS = {name: sheet_of(name, entry) for name, entry in OWN.items()}
DATASETS = with_own(read_datasets())
GENERATED = [name for name, dataset in DATASETS.items() if dataset.generator]
DOWNLOADED = [name for name, dataset in DATASETS.items() if dataset.archive]
EXPERIMENTS = {
    name: experiment(f"experiments.{name}", override)
    for name, override in config["experiments"].items()
}
add_own_tables()
VARIANTS = {study: variants(study) for study in config["studies"]}
add_variants()
check_names()
check_batches()
check_claims()
check_paper_figures()
check_volumes()
