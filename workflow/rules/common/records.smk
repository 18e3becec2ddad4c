"""What records of trainings take."""

import hashlib

from unetcore.bundle.archive import RECORDS
from unetcore.bundle.records import read_experiments

RECORDS_FILE = "docs/results/records.zip"
BESIDE_TRAINING = ("dataset", "split", "network", "weight_map", "augmentation")
AFTER_TRAINING = ("prediction", "postprocessing", "evaluation")


def published_records(wildcards):
    """Input function: records of all that is published: of trainings, predictions, then scores."""
    runs = [Path(path).parent for path in published_runs(wildcards)]
    scores = [*published_metrics(wildcards), *claim_metrics(wildcards)]
    metrics = [Path(path) for path in scores if path.endswith("metrics.json")]
    return [
        *(f"{folder}/{name}" for folder in runs for name in RECORDS),
        *dict.fromkeys(str(path.with_name("prediction.json")) for path in metrics),
        *dict.fromkeys(scores),
    ]


def published_experiment_names(wildcards):
    """Names of the experiments behind all that is published, once."""
    return list(dict.fromkeys(Path(path).parts[2] for path in published_records(wildcards)))


def recorded_experiment_names(wildcards):
    """Names of the experiments in the published records that the configuration has, too."""
    try:
        recorded = read_experiments(RECORDS_FILE)
    except InputError as error:
        refuse(str(error))
    if not (found := [name for name in recorded if name in EXPERIMENTS]):
        refuse(
            f"{RECORDS_FILE}: of other experiments than the configuration's: {', '.join(recorded)}"
        )
    return found


def datasets_of(names, file):
    """Input function: a canonical file of the datasets of some experiments, each once."""
    return lambda wildcards: list(dict.fromkeys(data_file(n, file) for n in names(wildcards)))


def targets_of_recorded(wildcards):
    """Input function: what trainings learn from, of the experiments in the published records."""
    names = recorded_experiment_names(wildcards)
    return expand("results/targets/{e}/{file}.tif", e=names, file=["classes", "weights"])


def settings_of(names):
    """Param function: all settings of some experiments that decide what comes of them."""
    return lambda wildcards: {
        name: {key: EXPERIMENTS[name][key] for key in (*BESIDE_TRAINING, *AFTER_TRAINING)}
        | {"training": decisive_training(name)}
        for name in names(wildcards)
    }


def digest_of_records(wildcards):
    """Param function: digest of the published records."""
    return hashlib.sha256(Path(RECORDS_FILE).read_bytes()).hexdigest()
