"""What trainings, predictions and evaluations take."""

import shutil
from unetcore.tiling import MEMORY, NetworkTraits, TilePlan


def state_folder(wildcards):
    """Param function: where a training keeps the states that it goes on from."""
    run = f"{wildcards.experiment}/fold-{wildcards.fold}/seed-{wildcards.seed}"
    return f"{results_folder()}/state/{run}"


def validation_metrics(wildcards):
    """Param function: what a training is watched by; what its experiment is evaluated by."""
    return EXPERIMENTS[wildcards.experiment]["evaluation"]["metrics"]


def validation_postprocessing(wildcards):
    """Param function: how cells are cut out where a training is watched; as the rule segment does."""
    field_of_interest = dataset_of(wildcards).field_of_interest
    settings = EXPERIMENTS[wildcards.experiment]["postprocessing"]
    return {**settings, "border": field_of_interest}


def tensorboard_folder(wildcards):
    """Param function: where a training shows itself to TensorBoard, nothing if it need not."""
    if not config["tensorboard"]:
        return ""
    run = f"{wildcards.experiment}/fold-{wildcards.fold}-seed-{wildcards.seed}"
    return f"{results_folder()}/tensorboard/{run}"


def forget_finished_trainings():
    """Remove what the finished trainings of this run have left to go on from.

    It is kept until Snakemake has the job on record: one that is killed between the two asks for
    the training again. Trainings of other targets may still need theirs, and so do unfinished ones:
    with --touch, Snakemake takes them for done.
    """
    for job in workflow.dag.jobs:
        is_training = job.rule is rules.train.rule
        if is_training and all(Path(output).exists() for output in job.output):
            folder = Path(state_folder(job.wildcards))
            if (folder / "finished.pt").exists():
                shutil.rmtree(folder, ignore_errors=True)


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


def segmentation_if_cells(wildcards):
    """Input function: instances of a prediction, where the experiment is about cells."""
    return f"{PREDICTION}/segmentation.tif" if has_cells(wildcards.experiment) else []


def training_provenance(wildcards):
    """Input function: run.json of the training behind a prediction, none for a threshold."""
    if wildcards.method == "best-threshold":
        return []
    seed_folder = wildcards.method.split("/")[0]
    return f"results/runs/{wildcards.experiment}/fold-{wildcards.fold}/{seed_folder}/run.json"
