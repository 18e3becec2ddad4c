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
        mem_mb=1000,
    params:
        network=setting("network"),
        output_tile=lambda wildcards: EXPERIMENTS[wildcards.experiment]["training"]["output_tile"],
        code=code_of("architecture"),
    script:
        "../scripts/architecture.py"


rule figure_1:
    """The network (paper Fig. 1)."""
    input:
        architecture=of_membranes(
            lambda wildcards: f"results/architecture/{wildcards.experiment}.json"
        ),
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
        mem_mb=500,
    params:
        title=of_membranes(setting("title")),
        code=code_of("figure_1"),
    script:
        "../scripts/figure_1.py"


rule figure_2:
    """The overlap-tile strategy (paper Fig. 2), and one tile on its way, step by step."""
    input:
        images=of_membranes(experiment_input("images.tif")),
        labels=of_membranes(experiment_input("labels.tif")),
        frames=of_membranes(experiment_input("frames.csv")),
        probability=of_membranes(example_file("probability.tif")),
        prediction=of_membranes(example_file("prediction.json")),
        metrics=of_membranes(example_file("metrics.json")),
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
        mem_mb=1000,
    params:
        depth=of_membranes(lambda wildcards: setting("network")(wildcards)["depth"]),
        title=of_membranes(setting("title")),
        code=code_of("figure_2"),
    script:
        "../scripts/figure_2.py"


use rule figure_weight_map as figure_3 with:
    input:
        images=of_last_cells(experiment_input("images.tif")),
        labels=of_last_cells(experiment_input("labels.tif")),
        frames=of_last_cells(experiment_input("frames.csv")),
        classes=of_last_cells(
            lambda wildcards: f"results/targets/{wildcards.experiment}/classes.tif"
        ),
        weights=of_last_cells(
            lambda wildcards: f"results/targets/{wildcards.experiment}/weights.tif"
        ),
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
        title=of_last_cells(setting("title")),
        code=code_of("figure_weight_map"),


rule figure_4:
    """Segmented cells and the borders that people have drawn (paper Fig. 4)."""
    input:
        images=of_all_cells(experiment_input("images.tif")),
        labels=of_all_cells(experiment_input("labels.tif")),
        frames=of_all_cells(experiment_input("frames.csv")),
        probability=of_all_cells(example_file("probability.tif")),
        metrics=of_all_cells(example_file("metrics.json")),
        instances=of_all_cells(example_file("segmentation.tif")),
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
        mem_mb=1000,
    params:
        datasets=of_all_cells(setting("dataset")),
        code=code_of("figure_4"),
    script:
        "../scripts/figure_4.py"
