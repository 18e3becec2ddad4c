"""Published copies of tables, curves and pictures of phantoms.

Needs: the tables, figures and studies that `publish` names, and what was measured behind them.
Makes: when asked for `publish`, `docs/results` with the results block of the README. Pictures that
show images of a challenge are never published.
"""

PUBLISHED = published_experiments()
PUBLISHED_TABLES = [
    *expand("{table}.{format}", table=[*published("tables"), "claims"], format=["csv", "md"]),
    "claims.svg",
    "claim_pairs.csv",
]
PUBLISHED_STUDIES = [f"docs/{path}" for path in study_files(published("studies"))]
PUBLISHED_FIGURES = [
    "tiles_or_batches.svg",
    *expand("{experiment}/loss_curves.svg", experiment=PUBLISHED),
    *published_pictures(),
    *expand("{set}/{figure}", set=published_figure_sets(), figure=PAPER_FIGURES),
]


rule publish:
    """Copies of tables, curves and phantom pictures, and the README's results made from them."""
    input:
        rules.pack_records.output,
        tables=expand("results/tables/{table}", table=PUBLISHED_TABLES),
        figures=[
            rules.figure_tiles_or_batches.input.costs,
            *expand("results/figures/{figure}", figure=PUBLISHED_FIGURES),
        ],
        studies=PUBLISHED_STUDIES,
        runs=published_runs,
        metrics=published_metrics,
    output:
        published_tables=expand("docs/results/{table}", table=PUBLISHED_TABLES),
        published_figures=[
            "docs/results/tiles_or_batches.csv",
            *expand("docs/results/{figure}", figure=PUBLISHED_FIGURES),
        ],
        provenance="docs/results/provenance.csv",
        scores="docs/results/scores.csv",
    log:
        "logs/publish.log",
    benchmark:
        "logs/benchmarks/publish.tsv"
    localrule: True  # seconds
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        # Not an output: Snakemake deletes outputs before a rule runs, and the rest of the README
        # is written by hand.
        readme="README.md",
        study_of=study_of_variants,
        weight_maps={name: EXPERIMENTS[name]["weight_map"] for name in EXPERIMENTS},
        code=code_of("publish"),
    script:
        "../scripts/publish.py"
