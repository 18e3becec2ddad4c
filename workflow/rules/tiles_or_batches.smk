"""Large tiles or large batches: what they cost, and what they reach at equal cost (paper Sec. 3).

Needs: settings of an experiment; the metrics of a study whose variants compute equally much.
Makes: `results/tiles_or_batches/{experiment}.csv`, measured on random tiles, and the figure
`results/figures/tiles_or_batches.svg`. Neither holds pixels of a challenge.
"""


rule tiles_or_batches:
    """Time and memory of weight updates on random tiles, by tile and batch (paper Sec. 3)."""
    output:
        costs="results/tiles_or_batches/{experiment}.csv",
    log:
        "logs/tiles_or_batches/{experiment}.log",
    benchmark:
        "logs/benchmarks/tiles_or_batches/{experiment}.tsv"
    conda:
        TORCH_ENVIRONMENT
    threads: 1
    resources:
        **gpus(1),
        mem_mb=growing(2000 + config["tiles_or_batches"]["memory_mb"]),
        runtime=growing(120),
    params:
        experiment="{experiment}",
        network=setting("network"),
        training=decisive_settings,
        grid=tile_grid,
        # its estimates choose what is measured
        code=code_of("tiles_or_batches", "unetcore.training_memory"),
        watch=unrecorded(watch_settings),
        device=unrecorded(hardware),
    script:
        "../scripts/tiles_or_batches.py"


rule figure_tiles_or_batches:
    """Time, memory and halo by tile and batch; quality at equal computation (paper Sec. 3)."""
    input:
        costs=f"results/tiles_or_batches/{config['tiles_or_batches']['experiment']}.csv",
        metrics=tile_study_metrics,
    output:
        figure=report(
            "results/figures/tiles_or_batches.svg",
            caption="../report/tiles_or_batches.rst",
            category="5 Figures of the paper",
            labels={"figure": "tiles or batches"},
        ),
    log:
        "logs/figure_tiles_or_batches.log",
    benchmark:
        "logs/benchmarks/figure_tiles_or_batches.tsv"
    localrule: True  # seconds
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        title=tile_figure_title,
        variants=tile_study_variants,
        marked=config["defaults"]["training"]["output_tile"],
        memory_mb=config["tiles_or_batches"]["memory_mb"],
        code=code_of("figure_tiles_or_batches"),
    script:
        "../scripts/figure_tiles_or_batches.py"
