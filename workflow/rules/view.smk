"""Pages to look at predictions in a browser.

Needs: a prediction and its metrics.
Makes: `results/views/{experiment}/fold-{fold}/{method}.html`, which needs no other file. A page of
real images holds pixels of a challenge: it is not to be published.
"""


rule view:
    """Slices, thresholds, objects, splits and mergers of a prediction, to be tried out."""
    input:
        images=experiment_input("images.tif"),
        labels=experiment_input("labels.tif"),
        frames=experiment_input("frames.csv"),
        probability=f"{PREDICTION}/probability.tif",
        segmentation=segmentation_if_cells,
        metrics=f"{PREDICTION}/metrics.json",
    output:
        page=report(
            "results/views/{experiment}/fold-{fold}/{method}.html",
            caption="../report/view.rst",
            category="3 Prediction",
            labels={"experiment": "{experiment}", "figure": "interactive page, {method}"},
        ),
    log:
        "logs/view/{experiment}/fold-{fold}/{method}.log",
    benchmark:
        "logs/benchmarks/view/{experiment}/fold-{fold}/{method}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        title=setting("title"),
        postprocessing=objects_of_page,
        field_of_interest=field_of_interest_if_cells,
        # Chromium shows no larger one within a report: it takes addresses up to 2 MiB, and there
        # the whole page, as base64, is one.
        max_bytes=1_500_000,
        ignore_label=ignore_label,
        code=view_code,
    script:
        "../scripts/view.py"
