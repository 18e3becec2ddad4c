"""Trainings and predictions on a machine that has only Python, torch and NumPy.

Needs: the data and targets of the experiments of a table or study; on the way back, the file that
`python {bundle}.zip --out` wrote there, put to `results/bundle/{bundle}.results.zip`.
Makes: `results/bundle/{bundle}.zip`; on the way back what the rules train and predict make.
"""


rule bundle:
    """All that the trainings and predictions of a table or study need, in one file."""
    input:
        images=bundle_files("results/data/{dataset}/images.tif"),
        labels=bundle_files("results/data/{dataset}/labels.tif"),
        frames=bundle_files("results/data/{dataset}/frames.csv"),
        classes=bundle_files("results/targets/{experiment}/classes.tif"),
        weights=bundle_files("results/targets/{experiment}/weights.tif"),
    output:
        bundle="results/bundle/{bundle}.zip",
        plan="results/bundle/{bundle}.json",
    log:
        "logs/bundle/{bundle}.log",
    benchmark:
        "logs/benchmarks/bundle/{bundle}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        name="{bundle}",
        experiments=bundled_experiments,
        codes=bundled_codes,
        code=code_of("bundle", "unetcore.bundle.run", "unetcore.bundle.start"),
    script:
        "../scripts/bundle.py"


rule unbundle:
    """What came of a bundle, put where the rules train and predict would have made it."""
    input:
        results="results/bundle/{bundle}.results.zip",
        plan="results/bundle/{bundle}.json",
    output:
        placed="results/bundle/{bundle}.placed.txt",
    log:
        "logs/unbundle/{bundle}.log",
    benchmark:
        "logs/benchmarks/unbundle/{bundle}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_of("unbundle"),
    script:
        "../scripts/unbundle.py"
