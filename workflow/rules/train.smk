"""Training, one job per (experiment, fold, seed) (paper Sec. 3)."""

import shutil


def state_folder(wildcards):
    """Param function: where a training keeps the states that it goes on from."""
    return f"results/state/{wildcards.experiment}/fold-{wildcards.fold}/seed-{wildcards.seed}"


def validation_metrics(wildcards):
    """Param function: what a training is watched by; what its experiment is evaluated by."""
    return EXPERIMENTS[wildcards.experiment]["evaluation"]["metrics"]


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


rule train:
    """Train the network on all labelled frames outside the fold (paper Sec. 3)."""
    input:
        images=experiment_input("images.tif"),
        labels=experiment_input("labels.tif"),
        frames=experiment_input("frames.csv"),
        classes="results/targets/{experiment}/classes.tif",
        weights="results/targets/{experiment}/weights.tif",
    output:
        model="results/runs/{experiment}/fold-{fold}/seed-{seed}/model.safetensors",
        history="results/runs/{experiment}/fold-{fold}/seed-{seed}/history.csv",
        validation="results/runs/{experiment}/fold-{fold}/seed-{seed}/validation.csv",
        provenance="results/runs/{experiment}/fold-{fold}/seed-{seed}/run.json",
    log:
        "logs/train/{experiment}/fold-{fold}/seed-{seed}.log",
    benchmark:
        "logs/benchmarks/train/{experiment}/fold-{fold}/seed-{seed}.tsv"
    retries: 3  # a time limit or a lost machine; the training goes on from its last state
    conda:
        TORCH_ENVIRONMENT
    threads: config["processes"]
    resources:
        mem_mb=lambda wildcards: 4000 * config["processes"],
        gpu=GPUS * config["processes"],
    params:
        split=setting("split"),
        fold="{fold}",
        seed=lambda wildcards: int(wildcards.seed),
        network=setting("network"),
        augmentation=setting("augmentation"),
        training=decisive_settings,
        code=TRAINING_CODE,
        # How it is watched and where it runs is nothing to train a network again for.
        watch=unrecorded(watch_settings),
        metrics=unrecorded(validation_metrics),
        postprocessing=unrecorded(validation_postprocessing),
        board=unrecorded(tensorboard_folder),
        state=unrecorded(state_folder),
        device=unrecorded(hardware),
        processes=unrecorded(lambda wildcards: config["processes"]),
    script:
        "../scripts/train.py"
