"""Images larger than memory, each predicted by several jobs (`volumes` in config.yaml).

Needs: the image and the model of a volume, by their paths; a model that rules train is trained.
Makes: `results/volumes/{volume}/probability.zarr`, an OME-Zarr image to which every job writes
chunks of its own. It is no output of a rule: Snakemake would delete it where a job fails, and with
it what other jobs have finished. `probability.json` says that it is complete.
"""


scattergather:
    volume=config["volumes"]["parts"],


rule start_volume:
    """The image that takes the result, without a chunk, and the tiles that all jobs use."""
    input:
        image=volume_setting("image"),
        model=volume_setting("model"),
    output:
        plan="results/volumes/{volume}/plan.json",
    log:
        "logs/start_volume/{volume}.log",
    benchmark:
        "logs/benchmarks/start_volume/{volume}.tsv"
    conda:
        TORCH_ENVIRONMENT
    threads: 1
    resources:
        **gpus(1),
        mem_mb=growing(volume_memory),
        runtime=growing(240),
    params:
        probability=volume_image,
        chunk=config["volumes"]["chunk"],
        precision=config["volumes"]["precision"],
        fill_missing=volume_setting("fill_missing", False),
        pixel_size_um=volume_setting("pixel_size_um"),
        memory_mb=unrecorded(lambda wildcards: config["volumes"]["memory_mb"]),
        device=unrecorded(hardware),
        code=VOLUME_CODE,
    script:
        "../scripts/start_volume.py"


rule predict_volume:
    """The share of one job: chunks that are not there yet."""
    input:
        image=volume_setting("image"),
        model=volume_setting("model"),
        plan="results/volumes/{volume}/plan.json",
    output:
        part="results/volumes/{volume}/parts/{scatteritem}.json",
    log:
        "logs/predict_volume/{volume}/{scatteritem}.log",
    benchmark:
        "logs/benchmarks/predict_volume/{volume}/{scatteritem}.tsv"
    retries: RETRIES_OF_LONG_JOBS
    conda:
        TORCH_ENVIRONMENT
    threads: 1
    resources:
        **gpus(1),
        mem_mb=growing(volume_memory),
        runtime=growing(240),
    params:
        probability=volume_image,
        share="{scatteritem}",
        device=unrecorded(hardware),
        code=VOLUME_CODE,
    script:
        "../scripts/predict_volume.py"


rule finish_volume:
    """Coarser copies for viewers, once every chunk is there."""
    input:
        parts=gather.volume("results/volumes/{{volume}}/parts/{scatteritem}.json"),
    output:
        record="results/volumes/{volume}/probability.json",
    log:
        "logs/finish_volume/{volume}.log",
    benchmark:
        "logs/benchmarks/finish_volume/{volume}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(120),
    params:
        probability=volume_image,
        code=code_of("finish_volume"),
    script:
        "../scripts/finish_volume.py"


rule evaluate_volume:
    """Metrics of a volume that has labels, slice by slice."""
    input:
        labels=volume_setting("labels"),
        finished="results/volumes/{volume}/probability.json",
    output:
        metrics="results/volumes/{volume}/metrics.json",
    log:
        "logs/evaluate_volume/{volume}.log",
    benchmark:
        "logs/benchmarks/evaluate_volume/{volume}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),  # of a few slices; larger ones than 4096 px need more
        runtime=growing(240),
    params:
        probability=volume_image,
        names=config["defaults"]["evaluation"]["metrics"],
        fill_missing=volume_setting("fill_missing", False),
        code=code_of("evaluate_volume"),
    script:
        "../scripts/evaluate_volume.py"
