"""What records of trainings take."""

import hashlib
from functools import cache

from unetcore.bundle.archive import PREDICTION as OF_PREDICTION, RECORDS as OF_TRAINING
from unetcore.bundle.records import METRICS as OF_SCORES, read_experiments, settings_since

RECORDS_FILE = "docs/results/records.zip"
# With --directory, too, those beside the Snakefile.
PUBLISHED_RECORDS = HERE.parents[1] / RECORDS_FILE
BESIDE_TRAINING = ("dataset", "split", "network", "weight_map", "augmentation")
AFTER_TRAINING = ("prediction", "postprocessing", "evaluation")


def published_records(wildcards):
    """Input function: records of all that is published: of trainings, predictions, then scores."""
    runs = [Path(path).parent for path in published_runs(wildcards)]
    scores = [*published_metrics(wildcards), *claim_metrics(wildcards)]
    metrics = [Path(path) for path in scores if path.endswith(OF_SCORES)]
    return [
        *(f"{folder}/{name}" for folder in runs for name in OF_TRAINING),
        *dict.fromkeys(str(path.with_name(OF_PREDICTION)) for path in metrics),
        *dict.fromkeys(scores),
    ]


def published_experiment_names(wildcards):
    """Names of the experiments behind all that is published, once."""
    return list(dict.fromkeys(Path(path).parts[2] for path in published_records(wildcards)))


def recorded_experiment_names(wildcards):
    """Names of the experiments in the published records that the configuration has, too."""
    try:
        recorded = read_experiments(PUBLISHED_RECORDS)
    except InputError as error:
        refuse(str(error))
    if not (found := [name for name in recorded if name in EXPERIMENTS]):
        refuse(f"{RECORDS_FILE}: of other experiments than these: {', '.join(recorded)}")
    return found


def datasets_of(names_of, file):
    """Input function: a canonical file of the datasets of some experiments, each once.

    `names_of` is a function that names the experiments.
    """
    return lambda wildcards: list(dict.fromkeys(data_file(n, file) for n in names_of(wildcards)))


def targets_of_recorded(wildcards):
    """Input function: what trainings learn from, of the experiments in the published records."""
    names = recorded_experiment_names(wildcards)
    return expand("results/targets/{e}/{file}.tif", e=names, file=["classes", "weights"])


def settings_of(names_of):
    """Param function: settings of the experiments that a function names, see `recorded_settings`."""
    return lambda wildcards: {name: recorded_settings(name) for name in names_of(wildcards)}


def recorded_settings(name):
    """All settings of an experiment that decide what comes of it."""
    settings = {key: EXPERIMENTS[name][key] for key in (*BESIDE_TRAINING, *AFTER_TRAINING)}
    return settings | {"training": decisive_training(name)}


def digest_of_records(wildcards):
    """Param function: digest of the published records."""
    return hashlib.sha256(PUBLISHED_RECORDS.read_bytes()).hexdigest()


def records_manifest(wildcards=None):
    """File, or param function for it, that says what was placed; no output of a rule."""
    return str(results_folder() / "records.json")


@cache
def made_otherwise():
    """Differences in words, of experiments whose records in place were made by other settings."""
    return settings_since(
        records_manifest(), {name: recorded_settings(name) for name in EXPERIMENTS}
    )


def check_placed_records(name):
    """Refuse an experiment whose records in place were made by other settings than those of now.

    Snakemake has no settings of them on its own record, and would take them for made by these.
    """
    if words := made_otherwise().get(name):
        refuse(
            f"experiments.{name}: its records in place were made otherwise ({words}); "
            "`snakemake place_records`, by the same configuration, takes them away"
        )
