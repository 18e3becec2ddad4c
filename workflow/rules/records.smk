"""What is on record of the published trainings, in one file, and back again.

Needs: the records of all trainings, predictions and scores behind what is published; on the way back
that file, and the data and targets.
Makes: `docs/results/records.zip`; on the way back the records where the rules would have made them, so
that tables and claims are made of them, and of what has been trained here.
"""


rule pack_records:
    """All that tables and claims are made of, without maps and models."""
    input:
        images=datasets_of(published_experiment_names, "images.tif"),
        labels=datasets_of(published_experiment_names, "labels.tif"),
        frames=datasets_of(published_experiment_names, "frames.csv"),
        records=published_records,
    output:
        archive=RECORDS_FILE,
    log:
        "logs/pack_records.log",
    benchmark:
        "logs/benchmarks/pack_records.tsv"
    localrule: True  # seconds
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=settings_of(published_experiment_names),
        code=code_of("pack_records"),
    script:
        "../scripts/pack_records.py"


rule place_records:
    """The published records, as if they had been made here; what was made here stays.

    The file itself is no input: it is what `pack_records` makes of what is placed.
    """
    input:
        targets_of_recorded,  # older than the records, or these would be made again
        images=datasets_of(recorded_experiment_names, "images.tif"),
        labels=datasets_of(recorded_experiment_names, "labels.tif"),
        frames=datasets_of(recorded_experiment_names, "frames.csv"),
    output:
        listed="results/records.placed.txt",
    log:
        "logs/place_records.log",
    benchmark:
        "logs/benchmarks/place_records.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        archive=lambda wildcards, resources: str(PUBLISHED_RECORDS),  # where, is not on record
        digest=digest_of_records,
        # Not an output: Snakemake deletes outputs before a rule runs.
        manifest=records_manifest,
        settings=settings_of(recorded_experiment_names),
        code=code_of("place_records"),
    script:
        "../scripts/place_records.py"
