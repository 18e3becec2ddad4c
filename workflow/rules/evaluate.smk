"""Metrics of a prediction: the EM challenge's (Table 1), the cell tracking challenge's (Table 2)."""


def segmentation_if_cells(wildcards):
    """Input function: instances of a prediction, where the experiment is about cells."""
    return f"{PREDICTION}/segmentation.tif" if has_cells(wildcards.experiment) else []


def training_provenance(wildcards):
    """Input function: run.json of the training behind a prediction, none for a threshold."""
    if wildcards.method == "best-threshold":
        return []
    seed_folder = wildcards.method.split("/")[0]
    return f"results/runs/{wildcards.experiment}/fold-{wildcards.fold}/{seed_folder}/run.json"


rule evaluate:
    """All metrics of one prediction (paper Sec. 4)."""
    input:
        labels=experiment_input("labels.tif"),
        frames=experiment_input("frames.csv"),
        probability=f"{PREDICTION}/probability.tif",
        segmentation=segmentation_if_cells,
        training=training_provenance,
        prediction=f"{PREDICTION}/prediction.json",
    output:
        metrics=f"{PREDICTION}/metrics.json",
    log:
        "logs/evaluate/{experiment}/fold-{fold}/{method}.log",
    benchmark:
        "logs/benchmarks/evaluate/{experiment}/fold-{fold}/{method}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=2000,
    params:
        experiment="{experiment}",
        dataset=lambda wildcards: dataset_of(wildcards).name,
        title=lambda wildcards: dataset_of(wildcards).title,
        split=setting("split"),
        fold="{fold}",
        method="{method}",
        names=lambda wildcards: EXPERIMENTS[wildcards.experiment]["evaluation"]["metrics"],
        code=code_of("evaluate"),
    script:
        "../scripts/evaluate.py"
