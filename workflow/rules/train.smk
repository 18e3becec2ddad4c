"""Training, one job per (experiment, fold, seed) (paper Sec. 3)."""


rule train:
    """Train the network on all labelled frames outside the fold (paper Sec. 3)."""
    input:
        images=experiment_input("images.tif"),
        frames=experiment_input("frames.csv"),
        classes="results/targets/{experiment}/classes.tif",
        weights="results/targets/{experiment}/weights.tif",
    output:
        model="results/runs/{experiment}/fold-{fold}/seed-{seed}/model.safetensors",
        history="results/runs/{experiment}/fold-{fold}/seed-{seed}/history.csv",
        provenance="results/runs/{experiment}/fold-{fold}/seed-{seed}/run.json",
    log:
        "logs/train/{experiment}/fold-{fold}/seed-{seed}.log",
    benchmark:
        "logs/benchmarks/train/{experiment}/fold-{fold}/seed-{seed}.tsv"
    conda:
        TORCH_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        gpu=GPUS,
    params:
        state="results/state/{experiment}/fold-{fold}/seed-{seed}.pt",
        split=setting("split"),
        fold="{fold}",
        seed=lambda wildcards: int(wildcards.seed),
        network=setting("network"),
        augmentation=setting("augmentation"),
        training=setting("training"),
        code=code_of("train"),
    script:
        "../scripts/train.py"
