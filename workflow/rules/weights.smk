"""Classes and loss weights of every pixel, from the labels (paper Sec. 3, Eq. 2)."""


rule weight_maps:
    """Class of each pixel and its weight w(x) in the energy (paper Eq. 2)."""
    input:
        labels=experiment_input("labels.tif"),
        frames=experiment_input("frames.csv"),
    output:
        classes="results/targets/{experiment}/classes.tif",
        weights="results/targets/{experiment}/weights.tif",
    log:
        "logs/weight_maps/{experiment}.log",
    benchmark:
        "logs/benchmarks/weight_maps/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        kind=label_kind,
        weight_map=setting("weight_map"),
        code=code_of("weight_maps"),
    script:
        "../scripts/weight_maps.py"
