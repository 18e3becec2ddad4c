"""The paper's Figures 1 to 4, drawn from what runs, and a strip that shows how tiling is applied.

Needs: the network, the prediction and the targets of the experiments of a set.
Makes: `results/figures/{set}`, and `results/architecture`, what a network does to one tile.
"""


rule architecture:
    """What a network does to one input tile, operation by operation (paper Fig. 1)."""
    output:
        architecture="results/architecture/{experiment}.json",
    log:
        "logs/architecture/{experiment}.log",
    benchmark:
        "logs/benchmarks/architecture/{experiment}.tsv"
    conda:
        TORCH_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        network=setting("network"),
        output_tile=lambda wildcards: EXPERIMENTS[wildcards.experiment]["training"]["output_tile"],
        code=code_of("architecture"),
    script:
        "../scripts/architecture.py"


rule figure_1:
    """The network (paper Fig. 1)."""
    input:
        architecture=lambda wildcards: f"results/architecture/{membranes(wildcards)}.json",
    output:
        figure=report(
            "results/figures/{set}/figure_1.svg",
            caption="../report/figure_1.rst",
            category="5 Figures of the paper",
            labels={"set": "{set}", "figure": "1 the network"},
        ),
    log:
        "logs/figure_1/{set}.log",
    benchmark:
        "logs/benchmarks/figure_1/{set}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        title=lambda wildcards: EXPERIMENTS[membranes(wildcards)]["title"],
        code=code_of("figure_1"),
    script:
        "../scripts/figure_1.py"


rule figure_2:
    """The overlap-tile strategy (paper Fig. 2), and one tile on its way, step by step."""
    input:
        images=lambda wildcards: data_file(membranes(wildcards), "images.tif"),
        labels=lambda wildcards: data_file(membranes(wildcards), "labels.tif"),
        frames=lambda wildcards: data_file(membranes(wildcards), "frames.csv"),
        probability=lambda wildcards: example_file(membranes(wildcards), "probability.tif"),
        prediction=lambda wildcards: example_file(membranes(wildcards), "prediction.json"),
        metrics=lambda wildcards: example_file(membranes(wildcards), "metrics.json"),
    output:
        figure=report(
            "results/figures/{set}/figure_2.png",
            caption="../report/figure_2.rst",
            category="5 Figures of the paper",
            labels={"set": "{set}", "figure": "2 overlap-tile strategy"},
        ),
        steps=report(
            "results/figures/{set}/tiling.png",
            caption="../report/tiling.rst",
            category="5 Figures of the paper",
            labels={"set": "{set}", "figure": "2 step by step"},
        ),
    log:
        "logs/figure_2/{set}.log",
    benchmark:
        "logs/benchmarks/figure_2/{set}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        depth=lambda wildcards: EXPERIMENTS[membranes(wildcards)]["network"]["depth"],
        title=lambda wildcards: EXPERIMENTS[membranes(wildcards)]["title"],
        code=code_of("figure_2"),
    script:
        "../scripts/figure_2.py"


use rule figure_weight_map as figure_3 with:
    input:
        images=lambda wildcards: data_file(cells(wildcards)[-1], "images.tif"),
        labels=lambda wildcards: data_file(cells(wildcards)[-1], "labels.tif"),
        frames=lambda wildcards: data_file(cells(wildcards)[-1], "frames.csv"),
        classes=lambda wildcards: f"results/targets/{cells(wildcards)[-1]}/classes.tif",
        weights=lambda wildcards: f"results/targets/{cells(wildcards)[-1]}/weights.tif",
    output:
        figure=report(
            "results/figures/{set}/figure_3.png",
            caption="../report/weight_map.rst",
            category="5 Figures of the paper",
            labels={"set": "{set}", "figure": "3 weight map"},
        ),
    log:
        "logs/figure_3/{set}.log",
    benchmark:
        "logs/benchmarks/figure_3/{set}.tsv"
    params:
        title=lambda wildcards: EXPERIMENTS[cells(wildcards)[-1]]["title"],
        code=code_of("figure_weight_map"),


rule figure_4:
    """Segmented cells and the borders that people have drawn (paper Fig. 4)."""
    input:
        images=of_cells(data_file, "images.tif"),
        labels=of_cells(data_file, "labels.tif"),
        frames=of_cells(data_file, "frames.csv"),
        probability=of_cells(example_file, "probability.tif"),
        metrics=of_cells(example_file, "metrics.json"),
        instances=of_cells(example_file, "segmentation.tif"),
    output:
        figure=report(
            "results/figures/{set}/figure_4.png",
            caption="../report/figure_4.rst",
            category="5 Figures of the paper",
            labels={"set": "{set}", "figure": "4 segmented cells"},
        ),
    log:
        "logs/figure_4/{set}.log",
    benchmark:
        "logs/benchmarks/figure_4/{set}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        datasets=of_cells(lambda name: EXPERIMENTS[name]["dataset"]),
        code=code_of("figure_4"),
    script:
        "../scripts/figure_4.py"
