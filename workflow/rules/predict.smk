"""Probability maps of the frames of a fold: the network's, and a plain threshold's."""


rule predict:
    """Overlap-tile prediction, averaged over transformed versions if asked for (paper Fig. 2)."""
    input:
        images=experiment_input("images.tif"),
        frames=experiment_input("frames.csv"),
        model="results/runs/{experiment}/fold-{fold}/seed-{seed}/model.safetensors",
    output:
        probability="results/predictions/{experiment}/fold-{fold}/seed-{seed}/{network}{averaging}/probability.tif",
        provenance="results/predictions/{experiment}/fold-{fold}/seed-{seed}/{network}{averaging}/prediction.json",
    log:
        "logs/predict/{experiment}/fold-{fold}/seed-{seed}/{network}{averaging}.log",
    benchmark:
        "logs/benchmarks/predict/{experiment}/fold-{fold}/seed-{seed}/{network}{averaging}.tsv"
    conda:
        TORCH_ENVIRONMENT
    threads: 1
    resources:
        **gpus(1),
        mem_mb=growing(prediction_memory),
        runtime=growing(120),
    params:
        split=setting("split"),
        fold="{fold}",
        averaging=lambda wildcards: wildcards.averaging.lstrip("+") or "none",
        prediction=setting("prediction"),
        device=unrecorded(hardware),
        code=code_of("predict"),
    script:
        "../scripts/predict.py"


rule seams:
    """One frame as a whole, in tiles at the right distance, and in tiles at the wrong one (Fig. 2).

    How far the first of the two are from the whole is what a claim is about.
    """
    input:
        images=experiment_input("images.tif"),
        model="results/runs/{experiment}/fold-{fold}/seed-{seed}/model.safetensors",
        training="results/runs/{experiment}/fold-{fold}/seed-{seed}/run.json",
    output:
        probability="results/seams/{experiment}/fold-{fold}/seed-{seed}/probability.tif",
        seam="results/seams/{experiment}/fold-{fold}/seed-{seed}/seam.json",
    log:
        "logs/seams/{experiment}/fold-{fold}/seed-{seed}.log",
    benchmark:
        "logs/benchmarks/seams/{experiment}/fold-{fold}/seed-{seed}.tsv"
    conda:
        TORCH_ENVIRONMENT
    threads: 1
    resources:
        **gpus(1),
        mem_mb=growing(4000),  # of a frame of 512 px at width 64 in one tile, three times
        runtime=growing(30),
    params:
        experiment="{experiment}",
        dataset=lambda wildcards: dataset_of(wildcards).name,
        fold="{fold}",
        method=lambda wildcards: network_of(wildcards.experiment),
        tile=lambda wildcards: EXPERIMENTS[wildcards.experiment]["training"]["output_tile"],
        device=unrecorded(hardware),
        code=code_of("seams"),
    script:
        "../scripts/seams.py"


rule best_threshold:
    """Best threshold on the grey values: the least a method must be better than."""
    input:
        images=experiment_input("images.tif"),
        labels=experiment_input("labels.tif"),
        frames=experiment_input("frames.csv"),
    output:
        probability="results/predictions/{experiment}/fold-{fold}/best-threshold/probability.tif",
        provenance="results/predictions/{experiment}/fold-{fold}/best-threshold/prediction.json",
    log:
        "logs/best_threshold/{experiment}/fold-{fold}.log",
    benchmark:
        "logs/benchmarks/best_threshold/{experiment}/fold-{fold}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        split=setting("split"),
        fold="{fold}",
        cells=lambda wildcards: has_cells(wildcards.experiment),
        either_way=lambda wildcards: dataset_of(wildcards).name in OWN,
        code=code_of("best_threshold"),
    script:
        "../scripts/best_threshold.py"


rule segment:
    """Instances of cells from a probability map, by the recipe of the authors' release."""
    input:
        probability=f"{PREDICTION}/probability.tif",
    output:
        segmentation=f"{PREDICTION}/segmentation.tif",
    log:
        "logs/segment/{experiment}/fold-{fold}/{method}.log",
    benchmark:
        "logs/benchmarks/segment/{experiment}/fold-{fold}/{method}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        postprocessing=setting("postprocessing"),
        field_of_interest=lambda wildcards: dataset_of(wildcards).field_of_interest,
        code=code_of("segment"),
    script:
        "../scripts/segment.py"
