"""Metrics of a prediction: the EM challenge's (Table 1), the cell tracking challenge's (Table 2)."""


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
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        experiment="{experiment}",
        dataset=lambda wildcards: dataset_of(wildcards).name,
        title=lambda wildcards: dataset_of(wildcards).title,
        split=setting("split"),
        fold="{fold}",
        method="{method}",
        names=lambda wildcards: EXPERIMENTS[wildcards.experiment]["evaluation"]["metrics"],
        ignore_label=ignore_label,
        code=code_of("evaluate"),
    script:
        "../scripts/evaluate.py"
