"""Functions that rules take their inputs and params from."""

import re
import shutil
from types import SimpleNamespace

from unetcore.data.frames import read_frames, split_frames
from unetcore.errors import InputError
from unetcore.provenance import source_digest
from unetcore.settings import OF_THE_WATCH
from unetcore.tables import describe_change
from unetcore.tiling import MEMORY, NetworkTraits, TilePlan

OF_CELLS = ("seg", "iou")

FIGURES = [
    "overview.png",
    "loss_curves.svg",
    "seams.png",
    "segmentation.png",
    "tile_plan.png",
    "weight_map.png",
]
PAPER_FIGURES = ["figure_1.svg", "figure_2.png", "figure_3.png", "figure_4.png", "tiling.png"]
TORCH_ENVIRONMENT = f"../../envs/train-{config['hardware']}.yaml"
GPUS = 1 if config["hardware"] == "gpu" else 0
# What decides which network comes out. How a training is watched does not: a metric that changes must
# not repeat a training of ten hours.
TRAINING_CODE = source_digest(
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


def code_of(script, *modules):
    """Digest of a script's code and of all it imports from the package.

    `modules` are some that a digest leaves out, and that this script's result depends on.
    """
    return source_digest(HERE / f"../scripts/{script}.py", *modules)


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


def decisive_settings(wildcards):
    """Param function: settings of a training that decide which network comes out."""
    settings = EXPERIMENTS[wildcards.experiment]["training"]
    return {key: value for key, value in settings.items() if key not in OF_THE_WATCH}


def watch_settings(wildcards):
    """Param function: settings of how a training is watched and kept."""
    settings = EXPERIMENTS[wildcards.experiment]["training"]
    return {key: settings[key] for key in OF_THE_WATCH}


def state_folder(wildcards):
    """Param function: where a training keeps the states that it goes on from."""
    return f"results/state/{wildcards.experiment}/fold-{wildcards.fold}/seed-{wildcards.seed}"


def validation_metrics(wildcards):
    """Param function: what a training is watched by; what its experiment is evaluated by."""
    return EXPERIMENTS[wildcards.experiment]["evaluation"]["metrics"]


def prediction_memory(wildcards):
    """MB that a prediction asks for: those of its tiles, and 2 GB for images and libraries.

    A planned tile takes up to the budget, a tile that was asked for what it takes in float32.
    """
    settings = EXPERIMENTS[wildcards.experiment]
    side, budget = settings["prediction"]["tile"], settings["prediction"]["memory_mb"]
    if side is None:
        return 2000 + (budget or MEMORY // 10**6)
    traits = NetworkTraits(width=settings["network"]["width"])
    plan = TilePlan((side, side), (side, side), settings["network"]["depth"], traits)
    return 2000 + plan.memory // 10**6


def validation_postprocessing(wildcards):
    """Param function: how cells are cut out where a training is watched; as the rule segment does."""
    field_of_interest = dataset_of(wildcards).field_of_interest
    settings = EXPERIMENTS[wildcards.experiment]["postprocessing"]
    return {**settings, "field_of_interest": field_of_interest}


def tensorboard_folder(wildcards):
    """Param function: where a training shows itself to TensorBoard, nothing if it need not."""
    if not config["tensorboard"]:
        return ""
    return f"results/tensorboard/{wildcards.experiment}/fold-{wildcards.fold}-seed-{wildcards.seed}"


def forget_finished_trainings():
    """Remove what the finished trainings of this run have left to go on from.

    It is kept until Snakemake has the job on record: one that is killed between the two asks for
    the training again. Trainings of other targets may still need theirs, and so do unfinished ones:
    with --touch, Snakemake takes them for done.
    """
    for job in workflow.dag.jobs:
        if job.rule.name == "train" and all(Path(output).exists() for output in job.output):
            folder = Path(state_folder(job.wildcards))
            if (folder / "finished.pt").exists():
                shutil.rmtree(folder, ignore_errors=True)


def network_of(name):
    """Name of an experiment's network, without averaging."""
    return method_names(EXPERIMENTS[name])[-1].partition("+")[0]


def first_prediction(wildcards):
    """Input function: what is on record of the first prediction of an experiment's networks."""
    folder = run_folders(wildcards.experiment, "predictions")[0]
    averaging = EXPERIMENTS[wildcards.experiment]["averaging"]
    suffix = "" if "none" in averaging else f"+{averaging[0]}"
    return f"{folder}/{network_of(wildcards.experiment)}{suffix}/prediction.json"


def dataset_of(wildcards):
    """Catalogue entry of the rule's experiment."""
    return DATASETS[EXPERIMENTS[wildcards.experiment]["dataset"]]


def experiment_input(name):
    """Input function: one canonical file of the experiment's dataset."""
    return lambda wildcards: f"results/data/{dataset_of(wildcards).name}/{name}"


def label_kind(wildcards):
    """Whether the labels of the experiment's dataset are a mask or instances."""
    return dataset_of(wildcards).label_kind


def has_cells(name):
    """Whether an experiment is about separate cells, scored as instances."""
    return not set(EXPERIMENTS[name]["evaluation"]["metrics"]).isdisjoint(OF_CELLS)


def segmentation_if_cells(wildcards):
    """Input function: instances of a prediction, where the experiment is about cells."""
    return f"{PREDICTION}/segmentation.tif" if has_cells(wildcards.experiment) else []


def training_provenance(wildcards):
    """Input function: run.json of the training behind a prediction, none for a threshold."""
    if wildcards.method == "best-threshold":
        return []
    seed_folder = wildcards.method.split("/")[0]
    return f"results/runs/{wildcards.experiment}/fold-{wildcards.fold}/{seed_folder}/run.json"


def folds(name):
    """Folds of an experiment, and the official test frames where their labels are at hand.

    Variants of a study are measured on the study's folds alone.
    """
    settings = EXPERIMENTS[name]
    chosen = list(settings["folds"])
    if "official" in chosen or "by" in settings["split"] or is_variant(name):
        return chosen
    path = checkpoints.canonical.get(dataset=settings["dataset"]).output.frames
    frames = read_frames(path)
    try:
        for fold in chosen:
            split_frames(frames, settings["split"], fold)
    except InputError as error:
        refuse(f"experiments.{name}: {error}")
    labelled = any(frame.labelled for frame in frames if frame.split == "test")
    return [*chosen, "official"] if labelled else chosen


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


def method_metrics(name, method):
    """Every metrics.json of one method of an experiment."""
    return [
        f"results/predictions/{name}/fold-{fold}/{found}/metrics.json"
        for fold in folds(name)
        for found in methods(name)
        if found.rsplit("/", 1)[-1] == method
    ]


def table_metrics(wildcards):
    """Input function: every metrics.json of a table."""
    return [p for name in config["tables"][wildcards.table] for p in experiment_metrics(name)]


def claim_metrics(wildcards):
    """Input function: what was measured of the methods that claims compare.

    Seams are asked for by the claims about them.
    """
    found = []
    for claim in config["claims"]["comparisons"]:
        for side in claim_sides(claim):
            name, method = claim[f"{side}experiment"], claim[f"{side}method"]
            if claim["metric"] == "seam":
                found += [f"{folder}/seam.json" for folder in run_folders(name, "seams")]
            else:
                found += method_metrics(name, method)
    return list(dict.fromkeys(found))


def table_frames(wildcards):
    """Input function: frames.csv of the datasets of a table."""
    names = {EXPERIMENTS[name]["dataset"] for name in config["tables"][wildcards.table]}
    return expand("results/data/{dataset}/frames.csv", dataset=sorted(names))


def histories(wildcards):
    """Input function: history.csv of every run of an experiment."""
    return [f"{folder}/history.csv" for folder in run_folders(wildcards.experiment, "runs")]


def loss_of(experiment):
    """What the trainings of an experiment make small, see `unetcore.figures.Loss`."""
    training = EXPERIMENTS[experiment]["training"]
    return {key: training[key] for key in ("reduction", "dice")}


def published(kind):
    """Published names among the tables or among the studies."""
    return [name for name in config["publish"] if name in config[kind]]


def validations(wildcards):
    """Input function: validation.csv of every run of an experiment."""
    return [f"{folder}/validation.csv" for folder in run_folders(wildcards.experiment, "runs")]


def published_experiments():
    """Names of the experiments behind the published tables."""
    return [name for table in published("tables") for name in config["tables"][table]]


def published_runs(wildcards):
    """Input function: run.json of every training behind what is published, once."""
    claims = config["claims"]["comparisons"]
    compared = [claim[f"{side}experiment"] for claim in claims for side in claim_sides(claim)]
    names = [*published_experiments(), *compared]
    of_experiments = [f"{folder}/run.json" for n in names for folder in run_folders(n, "runs")]
    of_studies = [path for s in published("studies") for path in runs_of_study(s, "run.json")]
    return list(dict.fromkeys([*of_experiments, *of_studies]))


def published_metrics(wildcards):
    """Input function: every metrics.json behind the published tables and studies, once."""
    of_tables = [path for name in published_experiments() for path in experiment_metrics(name)]
    of_studies = [path for study in published("studies") for path in metrics_of_study(study)]
    return list(dict.fromkeys([*of_tables, *of_studies]))


def study_of_variants(wildcards):
    """Param function: study by experiment, of those that are variants of one alone."""
    return {e: s for s in config["studies"] for e in study_experiments(s) if is_variant(e)}


def example_prediction(wildcards):
    """Folder of the prediction that figures show: first fold, first seed, not averaged."""
    settings = EXPERIMENTS[wildcards.experiment]
    fold, seed = settings["folds"][0], settings["seeds"][0]
    folder = f"results/predictions/{wildcards.experiment}/fold-{fold}/seed-{seed}"
    return f"{folder}/{network_of(wildcards.experiment)}"


def table_files(table):
    """A table and its readable twin."""
    return [f"results/tables/{table}.csv", f"results/tables/{table}.md"]


def figure_files(table):
    """Figures of the experiments of a table."""
    return [
        f"results/figures/{name}/{figure}"
        for name in config["tables"][table]
        for figure in experiment_figures(name)
    ]


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


def of_membranes(function):
    """A function of an experiment as one of a set: of the experiment on membranes that it shows."""
    return lambda wildcards: function(
        SimpleNamespace(experiment=config["paper_figures"][wildcards.set]["membranes"])
    )


def of_all_cells(function):
    """A function of an experiment as one of a set: of each experiment on cells that it shows."""
    return lambda wildcards: [
        function(SimpleNamespace(experiment=name))
        for name in config["paper_figures"][wildcards.set]["cells"]
    ]


def of_last_cells(function):
    """A function of an experiment as one of a set: of the last on cells, the paper's HeLa."""
    return lambda wildcards: of_all_cells(function)(wildcards)[-1]


def example_file(name):
    """Input function: one file of the prediction that figures of an experiment show."""
    return lambda wildcards: f"{example_prediction(wildcards)}/{name}"


def paper_figure_files(name):
    """The paper's figures, by a set of experiments."""
    return expand("results/figures/{set}/{figure}", set=name, figure=PAPER_FIGURES)


def published_pictures():
    """Pictures of the published experiments on phantoms, below a folder of figures."""
    return [
        f"{name}/{figure}"
        for name in published_experiments()
        if EXPERIMENTS[name]["dataset"] in GENERATED
        for figure in experiment_figures(name)
        if figure.endswith(".png")
    ]


def published_figure_sets():
    """Sets of the paper's figures that show phantoms of published tables alone."""
    own = {e for e in published_experiments() if EXPERIMENTS[e]["dataset"] in GENERATED}
    sets = config["paper_figures"].items()
    return [name for name, shown in sets if {shown["membranes"], *shown["cells"]} <= own]


def study_experiments(name):
    """Names of the experiments that are the variants of a study."""
    return [experiment for experiment, _ in VARIANTS[name].values()]


def study_metrics(wildcards):
    """Input function: every metrics.json of the networks of a study, on its folds alone."""
    return metrics_of_study(wildcards.study)


def metrics_of_study(study):
    """Every metrics.json of the networks of a study, on its folds alone."""
    return [
        f"results/predictions/{name}/fold-{fold}/{method}/metrics.json"
        for name, settings in VARIANTS[study].values()
        for fold in settings["folds"]
        for method in network_methods(settings)
    ]


def study_runs(name):
    """Input function: a file of every training of a study."""
    return lambda wildcards: runs_of_study(wildcards.study, name)


def runs_of_study(study, name):
    """A file of every training of a study."""
    return [
        f"results/runs/{experiment}/fold-{fold}/seed-{seed}/{name}"
        for experiment, settings in VARIANTS[study].values()
        for fold in settings["folds"]
        for seed in settings["seeds"]
    ]


def study_plan(wildcards):
    """Param function: what a study set out to do, and what was chosen by it."""
    name, study = wildcards.study, config["studies"][wildcards.study]
    base = EXPERIMENTS[study["base"]]
    sections = ["split", *config["defaults"]]
    before = {section: base[section] for section in sections}
    changes = {}
    for variant, (_, settings) in VARIANTS[name].items():
        changed = {section: settings[section] for section in sections}
        changes[variant] = describe_change(before, changed, study["base"])
    return {
        "name": name,
        "title": study["title"],
        "base": study["base"],
        "experiments": dict(zip(changes, study_experiments(name), strict=True)),
        "changes": changes,
        "unseen_folds": [fold for fold in base["folds"] if fold not in study["folds"]],
        "chosen": study.get("chosen"),
        "axis": study.get("axis", ""),
        "reason": study.get("reason"),
    }


def study_files(names):
    """Tables, their readable twins and figures of studies."""
    return expand("results/studies/{study}.{format}", study=names, format=["csv", "md", "svg"])


def tile_grid(wildcards):
    """Param function: which updates are measured, see `unetcore.tile_cost.Grid`."""
    names = ("tiles", "batches", "repeats", "memory_mb")
    return {name: config["tiles_or_batches"][name] for name in names}


def tile_study_metrics(wildcards):
    """Input function: every metrics.json of the study of tiles and batches, none without one."""
    study = config["tiles_or_batches"]["study"]
    return metrics_of_study(study) if study else []


def tile_figure_title(wildcards):
    """Param function: whose updates were measured and, below it, which study was scored."""
    asked = config["tiles_or_batches"]
    measured = EXPERIMENTS[asked["experiment"]]["title"]
    if not asked["study"]:
        return measured
    return f"Above: {measured}\nBelow: {config['studies'][asked['study']]['title']}"


def tile_study_variants(wildcards):
    """Param function: tile and batch in words, by experiment of the study of tiles and batches."""
    study = config["tiles_or_batches"]["study"]
    trainings = {e: EXPERIMENTS[e]["training"] for e in (study_experiments(study) if study else [])}
    return {e: f"{t['output_tile']} px × {t['batch']}" for e, t in trainings.items()}


def bundle_experiments(wildcards):
    """Settings of the experiments of a table, or of the variants of a study, by their names."""
    name = wildcards.bundle
    if name in config["tables"]:
        return {experiment: EXPERIMENTS[experiment] for experiment in config["tables"][name]}
    return dict(VARIANTS[name].values())


def bundle_files(pattern):
    """Input function: a file of each experiment of a bundle."""
    return lambda wildcards: [
        pattern.format(experiment=name, dataset=EXPERIMENTS[name]["dataset"])
        for name in bundle_experiments(wildcards)
    ]


def bundled_experiments(wildcards):
    """Param function: settings, folds, seeds and methods of the experiments of a bundle."""
    is_study = wildcards.bundle in VARIANTS
    return {
        name: bundled_settings(name, settings)
        | {
            "folds": settings["folds"] if is_study else folds(name),
            "seams": has_phase(name) and not is_study,  # the figures of studies show none
        }
        for name, settings in bundle_experiments(wildcards).items()
    }


def bundled_settings(name, settings):
    """Settings of an experiment as a bundle wants them, see `unetcore.bundle.plan`."""
    as_they_are = ("dataset", "split", "seeds", "network", "augmentation", "prediction")
    training, network = settings["training"], network_of(name)
    return {key: settings[key] for key in as_they_are} | {
        "training": {key: value for key, value in training.items() if key not in OF_THE_WATCH},
        "watch": {key: training[key] for key in OF_THE_WATCH},
        "methods": {network + ("" if a == "none" else f"+{a}"): a for a in settings["averaging"]},
    }
