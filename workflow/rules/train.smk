"""Training, one job per (experiment, fold, seed) (paper Sec. 3)."""


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
    retries: RETRIES_OF_LONG_JOBS
    conda:
        TORCH_ENVIRONMENT
    threads: config["processes"]
    resources:
        **gpus(config["processes"]),
        mem_mb=growing(4000 * config["processes"]),
        runtime=growing(240),  # minutes; what is not done by then goes on in the next job
    params:
        split=setting("split"),
        fold="{fold}",
        seed=lambda wildcards: int(wildcards.seed),
        network=setting("network"),
        augmentation=setting("augmentation"),
        training=decisive_settings,
        facts=own_facts,
        code=training_code,
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
