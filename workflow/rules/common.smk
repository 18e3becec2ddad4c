"""Functions that rules take their inputs and params from; those of some rules are in common/."""

import re
from functools import cache

from unetcore.data.frames import read_frames, split_frames
from unetcore.data.samples import read_samples
from unetcore.errors import InputError
from unetcore.provenance import source_digest
from unetcore.settings import OF_THE_WATCH

OF_CELLS = ("seg", "iou")

FIGURES = [
    "overview.png",
    "loss_curves.svg",
    "seams.png",
    "segmentation.png",
    "tile_plan.png",
    "weight_map.png",
]
TORCH_ENVIRONMENT = f"../../envs/train-{config['hardware']}.yaml"
# A time limit or a lost machine; a training goes on from its last state. Only the snakemake of the
# user counts: those that it starts inside of a job would try again within the same job.
RETRIES_OF_LONG_JOBS = 3 if workflow.exec_mode.name == "DEFAULT" else 0
# What decides which network comes out. How a training is watched does not: a metric that changes must
# not repeat a training of ten hours.
TRAINING_CODE = (
    "unetcore.train",
    "unetcore.data.dataset",
    "unetcore.data.frames",
    "unetcore.data.intensity",
    "unetcore.data.io",
)
PREDICTION = "results/predictions/{experiment}/fold-{fold}/{method}"


wildcard_constraints:
    dataset="|".join(DATASETS),
    experiment="|".join(map(re.escape, EXPERIMENTS)),
    fold=r"official|\d+",
    seed=r"\d+",
    averaging=r"|\+(rot7|d4|mirror4)",
    network=r"(u-net|fcn|sliding-window)(-fast)?",
    method=r"best-threshold|seed-\d+/(u-net|fcn|sliding-window)(-fast)?(\+(rot7|d4|mirror4))?",
    table="|".join(config["tables"]),
    study="|".join(config["studies"]),
    set="|".join(config["paper_figures"]),
    bundle="|".join([*config["tables"], *config["studies"]]),


def results_folder():
    """Folder of all results; where this workflow is a module of another, below that one's prefix."""
    return Path(rules.place_records.output.listed).parent


def code_of(script, *modules):
    """Param function: digest of a script's code and of all it imports from the package.

    `modules` are some that a digest leaves out, and that this script's result depends on. A job on
    another machine reads all rules anew, and needs the digest of its own alone.
    """
    return lambda wildcards: digest_of(HERE / f"../scripts/{script}.py", *modules)


def training_code(wildcards):
    """Param function: digest of the code that decides which network comes out."""
    return digest_of(*TRAINING_CODE)


@cache
def digest_of(*sources):
    """Digest of code, see `unetcore.provenance.source_digest`; it is the same for all jobs."""
    return source_digest(*sources)


def growing(first):
    """Resource function: so much at the first attempt, and as much again with each further one.

    `first` is a number, or a function of the wildcards.
    """

    def resource(wildcards, attempt):
        return attempt * (first(wildcards) if callable(first) else first)

    return resource


def gpus(n):
    """Resources by which a job asks a scheduler for GPUs; none where networks compute on a CPU."""
    if config["hardware"] != "gpu":
        return {}
    return {"gpu": n} if config["gpu_request"] == "gpu" else {"gres": f"gpu:{n}"}


def setting(key):
    """Param function: one setting, or one section of settings, of the rule's experiment."""
    return lambda wildcards: EXPERIMENTS[wildcards.experiment][key]


def unrecorded(function):
    """Param function whose value is not on Snakemake's record: a change of it reruns nothing.

    Snakemake compares the params of a finished job with those of now, except those whose function
    asks for `threads` (or `resources`, `input`, `output`): these, it takes it, are derived from
    what it knows anyway. So it is enough to ask, and not to use it.
    """
    return lambda wildcards, threads: function(wildcards)


def hardware(wildcards):
    """Param function: where networks compute.

    To be passed on unrecorded, also to predictions: who takes results of a server to a laptop, to
    draw figures, must not compute for hours there. run.json and prediction.json name the machine.
    """
    return config["hardware"]


def decisive_training(name):
    """Settings of the trainings of an experiment that decide which network comes out."""
    settings = EXPERIMENTS[name]["training"]
    return {key: value for key, value in settings.items() if key not in OF_THE_WATCH}


def decisive_settings(wildcards):
    """Param function: settings that decide which network comes out, of the rule's experiment."""
    return decisive_training(wildcards.experiment)


def watch_settings(wildcards):
    """Param function: settings of how a training is watched and kept."""
    settings = EXPERIMENTS[wildcards.experiment]["training"]
    return {key: settings[key] for key in OF_THE_WATCH}


def network_of(name):
    """Name of an experiment's network, without averaging."""
    return method_names(EXPERIMENTS[name])[-1].partition("+")[0]


def dataset_of(wildcards):
    """Catalogue entry of the rule's experiment."""
    return DATASETS[EXPERIMENTS[wildcards.experiment]["dataset"]]


def data_file(experiment, name):
    """One canonical file of an experiment's dataset."""
    return f"results/data/{EXPERIMENTS[experiment]['dataset']}/{name}"


def experiment_input(name):
    """Input function: one canonical file of the experiment's dataset."""
    return lambda wildcards: data_file(wildcards.experiment, name)


def label_kind(wildcards):
    """Whether the labels of the experiment's dataset are a mask or instances."""
    return dataset_of(wildcards).label_kind


def has_cells(name):
    """Whether an experiment is about separate cells, scored as instances."""
    return not set(EXPERIMENTS[name]["evaluation"]["metrics"]).isdisjoint(OF_CELLS)


def folds(name):
    """Folds of an experiment, and the official test frames where their labels are at hand.

    Variants of a study are measured on the study's folds alone.
    """
    check_placed_records(name)
    settings = EXPERIMENTS[name]
    chosen = list(settings["folds"])
    if "official" in chosen or "by" in settings["split"] or is_variant(name):
        return chosen
    frames = known_frames(settings["dataset"])
    if frames is None:
        return [*chosen, "official"] if has_test_frames(settings["dataset"]) else chosen
    try:
        for fold in chosen:
            split_frames(frames, settings["split"], fold)
    except InputError as error:
        refuse(f"experiments.{name}: {error}")
    labelled = any(frame.labelled for frame in frames if frame.split == "test")
    return [*chosen, "official"] if labelled else chosen


def known_frames(dataset):
    """Frames of a dataset; None for phantoms yet to be drawn, and own images yet to be read.

    Of an archive yet to be unpacked they are asked for later, by the checkpoint.
    """
    if dataset not in DOWNLOADED:
        path = Path(f"results/data/{dataset}/frames.csv")
        return read_frames(path) if path.exists() else None
    return read_frames(checkpoints.canonical.get(dataset=dataset).output.frames)


def has_test_frames(dataset):
    """Whether a dataset whose frames are not known yet will have labelled test frames."""
    if dataset not in OWN:
        return True  # phantoms
    return any(sample.split == "test" for sample in own_samples(dataset))


@cache
def own_samples(dataset):
    """Sample sheet of a data set of one's own, or a refusal."""
    try:
        return read_samples(SHEETS[dataset])
    except InputError as error:
        refuse(str(error))
    except ExceptionGroup as group:
        refuse("; ".join(map(str, group.exceptions)))


def own_files(kind):
    """Input function: images or labels of a data set of one's own."""
    return lambda wildcards: [str(getattr(s, kind)) for s in own_samples(wildcards.dataset)]


def own_settings(wildcards):
    """Param function: how files of a data set of one's own are read."""
    return config["datasets"][wildcards.dataset]


def own_facts(wildcards):
    """Param function: what a model trained on images of one's own says of itself; else None."""
    settings = EXPERIMENTS[wildcards.experiment]
    if settings["dataset"] not in OWN:
        return None
    of_data = OWN[settings["dataset"]].settings
    return {
        "labels_are": of_data.labels_are,
        "label_map": str(of_data.label_map),
        "pixel_size_um": of_data.pixel_size_um,
        "postprocessing": dict(settings["postprocessing"]),
    }


def ignore_label(wildcards):
    """Param function: label that no metric counts, None where there is none."""
    return IGNORED if dataset_of(wildcards).name in OWN else None


def is_variant(name):
    """Whether an experiment is a variant of a study."""
    return name not in config["experiments"]


def run_folders(name, stem):
    """Folders of all runs of an experiment under results/`stem`."""
    return expand(
        f"results/{stem}/{name}/fold-{{fold}}/seed-{{seed}}",
        fold=folds(name),
        seed=EXPERIMENTS[name]["seeds"],
    )


def methods(name):
    """Values of the wildcard {method} that an experiment evaluates."""
    threshold = [m for m in method_names(EXPERIMENTS[name]) if m == "best-threshold"]
    return [*threshold, *network_methods(EXPERIMENTS[name])]


def network_methods(settings):
    """Values of the wildcard {method} that are networks, by seed and averaging."""
    networks = [method for method in method_names(settings) if method != "best-threshold"]
    return [f"seed-{seed}/{method}" for seed in settings["seeds"] for method in networks]


def experiment_metrics(name):
    """Every metrics.json of an experiment."""
    return [
        f"results/predictions/{name}/fold-{fold}/{method}/metrics.json"
        for fold in folds(name)
        for method in methods(name)
    ]


def loss_of(experiment):
    """What the trainings of an experiment make small, see `unetcore.figures.Loss`."""
    training = EXPERIMENTS[experiment]["training"]
    return {key: training[key] for key in ("reduction", "dice")}


def example_file(experiment, name):
    """File of the prediction that figures show: first fold, first seed, not averaged."""
    settings = EXPERIMENTS[experiment]
    fold, seed = settings["folds"][0], settings["seeds"][0]
    folder = f"results/predictions/{experiment}/fold-{fold}/seed-{seed}"
    return f"{folder}/{network_of(experiment)}/{name}"


def experiment_figures(name):
    """Figures of an experiment, without those left out."""
    return [figure for figure in FIGURES if figure not in left_out(name)]


def left_out(name):
    """Figures that would say of an experiment's network what is true of the U-Net alone."""
    family = EXPERIMENTS[name]["network"]["family"]
    return {"u-net": [], "fcn": ["tile_plan.png"]}.get(family, ["tile_plan.png", "seams.png"])


def has_phase(name):
    """Whether tiles of an experiment's network make seams at wrong distances: where it pools by 2."""
    return "seams.png" not in left_out(name)


include: "common/training.smk"
include: "common/tables.smk"
include: "common/views.smk"
include: "common/paper_figures.smk"
include: "common/studies.smk"
include: "common/publish.smk"
include: "common/records.smk"
include: "common/bundle.smk"
include: "common/volumes.smk"
include: "common/slurm.smk"
