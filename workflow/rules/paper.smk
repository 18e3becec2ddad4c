"""Tables, and figures of single experiments.

Needs: the metrics, histories and predictions of the experiments, and what others have printed.
Makes: `results/tables` and `results/figures/{experiment}`.
"""


rule table:
    """One table: the printed numbers and ours, block by block (paper Tables 1 and 2)."""
    input:
        metrics=table_metrics,
        frames=table_frames,
        paper=workflow.source_path("../../resources/paper.yaml"),
    output:
        table=report(
            "results/tables/{table}.csv",
            caption="../report/table.rst",
            category="1 Tables",
            labels={"table": "{table}", "form": "one row per number (CSV)"},
        ),
        markdown="results/tables/{table}.md",
        html=report(
            "results/tables/{table}.html",
            caption="../report/table.rst",
            category="1 Tables",
            labels={"table": "{table}", "form": "to read"},
        ),
    log:
        "logs/table/{table}.log",
    benchmark:
        "logs/benchmarks/table/{table}.tsv"
    localrule: True  # seconds
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        name="{table}",
        title=own_title,
        code=code_of("table"),
    script:
        "../scripts/table.py"


rule figure_loss_curves:
    """Loss over the steps of every training of an experiment."""
    input:
        histories=histories,
        validations=validations,
    output:
        figure=report(
            "results/figures/{experiment}/loss_curves.svg",
            caption="../report/loss_curves.rst",
            category="2 Training",
            labels={"experiment": "{experiment}", "figure": "loss curves"},
        ),
    log:
        "logs/figure_loss_curves/{experiment}.log",
    benchmark:
        "logs/benchmarks/figure_loss_curves/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        title=setting("title"),
        loss=lambda wildcards: loss_of(wildcards.experiment),
        code=code_of("figure_loss_curves"),
    script:
        "../scripts/figure_loss_curves.py"


rule figure_weight_map:
    """Image, cells, mask and loss weight of one frame (paper Fig. 3)."""
    input:
        images=experiment_input("images.tif"),
        labels=experiment_input("labels.tif"),
        frames=experiment_input("frames.csv"),
        classes="results/targets/{experiment}/classes.tif",
        weights="results/targets/{experiment}/weights.tif",
    output:
        figure=report(
            "results/figures/{experiment}/weight_map.png",
            caption="../report/weight_map.rst",
            category="2 Training",
            labels={"experiment": "{experiment}", "figure": "weight map"},
        ),
    log:
        "logs/figure_weight_map/{experiment}.log",
    benchmark:
        "logs/benchmarks/figure_weight_map/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        title=setting("title"),
        code=code_of("figure_weight_map"),
    script:
        "../scripts/figure_weight_map.py"


rule figure_tile_plan:
    """The tiles of an experiment's prediction over one of its images (paper Fig. 2)."""
    input:
        images=experiment_input("images.tif"),
        prediction=first_prediction,
    output:
        figure=report(
            "results/figures/{experiment}/tile_plan.png",
            caption="../report/tile_plan.rst",
            category="3 Prediction",
            labels={"experiment": "{experiment}", "figure": "tile plan"},
        ),
    log:
        "logs/figure_tile_plan/{experiment}.log",
    benchmark:
        "logs/benchmarks/figure_tile_plan/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        depth=lambda wildcards: EXPERIMENTS[wildcards.experiment]["network"]["depth"],
        title=setting("title"),
        code=code_of("figure_tile_plan"),
    script:
        "../scripts/figure_tile_plan.py"


rule figure_seams:
    """Why tiles step by multiples of 16 px, not by the side of the output tile (paper Fig. 2)."""
    input:
        images=experiment_input("images.tif"),
        probability=lambda wildcards: (
            f"{run_folders(wildcards.experiment, 'seams')[0]}/probability.tif"
        ),
    output:
        figure=report(
            "results/figures/{experiment}/seams.png",
            caption="../report/seams.rst",
            category="3 Prediction",
            labels={"experiment": "{experiment}", "figure": "seams"},
        ),
    log:
        "logs/figure_seams/{experiment}.log",
    benchmark:
        "logs/benchmarks/figure_seams/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        tile=lambda wildcards: EXPERIMENTS[wildcards.experiment]["training"]["output_tile"],
        depth=lambda wildcards: EXPERIMENTS[wildcards.experiment]["network"]["depth"],
        title=setting("title"),
        code=code_of("figure_seams"),
    script:
        "../scripts/figure_seams.py"


rule figure_segmentation:
    """One predicted frame: image, probability, segmentation, and its errors."""
    input:
        images=experiment_input("images.tif"),
        labels=experiment_input("labels.tif"),
        frames=experiment_input("frames.csv"),
        probability=lambda wildcards: example_file(wildcards.experiment, "probability.tif"),
        metrics=lambda wildcards: example_file(wildcards.experiment, "metrics.json"),
        instances=lambda wildcards: (
            example_file(wildcards.experiment, "segmentation.tif")
            if has_cells(wildcards.experiment)
            else []
        ),
    output:
        figure=report(
            "results/figures/{experiment}/segmentation.png",
            caption="../report/segmentation.rst",
            category="3 Prediction",
            labels={"experiment": "{experiment}", "figure": "segmentation"},
        ),
    log:
        "logs/figure_segmentation/{experiment}.log",
    benchmark:
        "logs/benchmarks/figure_segmentation/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        title=setting("title"),
        code=code_of("figure_segmentation"),
    script:
        "../scripts/figure_segmentation.py"


rule figure_overview:
    """The whole way of one frame in a line; the picture of the README."""
    input:
        images=experiment_input("images.tif"),
        labels=experiment_input("labels.tif"),
        frames=experiment_input("frames.csv"),
        weights="results/targets/{experiment}/weights.tif",
        probability=lambda wildcards: example_file(wildcards.experiment, "probability.tif"),
        metrics=lambda wildcards: example_file(wildcards.experiment, "metrics.json"),
        instances=lambda wildcards: (
            example_file(wildcards.experiment, "segmentation.tif")
            if has_cells(wildcards.experiment)
            else []
        ),
    output:
        figure="results/figures/{experiment}/overview.png",
    log:
        "logs/figure_overview/{experiment}.log",
    benchmark:
        "logs/benchmarks/figure_overview/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code_of("figure_overview"),
    script:
        "../scripts/figure_overview.py"
