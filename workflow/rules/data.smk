"""From the archive of a dataset to its canonical form.

Needs: the network or a data mirror; nothing at all for generated data; files for one's own.
Makes: images, labels and the list of frames of every dataset. Which frames of an official archive
are labelled is known only from it, so `canonical` is a checkpoint: what there is to evaluate hangs on
it. Of generated data it is known before.
"""


rule download:
    """Official archive of a dataset, from its address or from the data mirror."""
    output:
        archive="results/archives/{dataset}.zip",
    log:
        "logs/download/{dataset}.log",
    benchmark:
        "logs/benchmarks/download/{dataset}.tsv"
    wildcard_constraints:
        dataset="|".join(DOWNLOADED),
    localrule: True  # nodes that compute often have no way to the internet
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(60),
    params:
        filename=lambda wildcards: DATASETS[wildcards.dataset].archive,
        url=lambda wildcards: DATASETS[wildcards.dataset].url,
        sha256=lambda wildcards: DATASETS[wildcards.dataset].sha256,
        # Where an archive was found says nothing about what is in it. A function that asks for
        # `resources` is not recorded, so another mirror does not download everything anew.
        mirror=lambda wildcards, resources: data_mirror(),
        code=code_of("download"),
    message:
        "Archive of {wildcards.dataset}"
    script:
        "../scripts/download.py"


rule phantom:
    """Archive of a generated dataset, in the layout of the official ones."""
    output:
        archive="results/archives/{dataset}.zip",
    log:
        "logs/phantom/{dataset}.log",
    benchmark:
        "logs/benchmarks/phantom/{dataset}.tsv"
    wildcard_constraints:
        dataset="|".join(GENERATED),
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        generator=lambda wildcards: DATASETS[wildcards.dataset].generator,
        seed=lambda wildcards: DATASETS[wildcards.dataset].seed,
        code=code_of("phantom"),
    message:
        "Phantom {wildcards.dataset}"
    script:
        "../scripts/phantom.py"


checkpoint canonical:
    """Images, labels and frames of a dataset in the one form all other rules read."""
    input:
        archive="results/archives/{dataset}.zip",
    output:
        images="results/data/{dataset}/images.tif",
        labels="results/data/{dataset}/labels.tif",
        frames="results/data/{dataset}/frames.csv",
    log:
        "logs/canonical/{dataset}.log",
    benchmark:
        "logs/benchmarks/canonical/{dataset}.tsv"
    wildcard_constraints:
        dataset="|".join(DOWNLOADED),
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        layout=lambda wildcards: DATASETS[wildcards.dataset].layout,
        members=lambda wildcards: DATASETS[wildcards.dataset].members,
        pixels=lambda wildcards: DATASETS[wildcards.dataset].pixels,
        partial=lambda wildcards: DATASETS[wildcards.dataset].partial,
        code=code_of("canonical"),
    message:
        "Canonical form of {wildcards.dataset}"
    script:
        "../scripts/canonical.py"


use rule canonical as canonical_phantom with:
    wildcard_constraints:
        dataset="|".join(GENERATED),


rule canonical_samples:
    """Images, labels and frames of a data set of one's own."""
    input:
        samples=lambda wildcards: str(SHEETS[wildcards.dataset]),
        image_files=own_files("image"),
        label_files=own_files("labels"),
    output:
        images="results/data/{dataset}/images.tif",
        labels="results/data/{dataset}/labels.tif",
        frames="results/data/{dataset}/frames.csv",
    log:
        "logs/canonical/{dataset}.log",
    benchmark:
        "logs/benchmarks/canonical/{dataset}.tsv"
    wildcard_constraints:
        dataset="|".join(OWN) or "none",
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        name="{dataset}",
        entry=own_settings,
        code=code_of("canonical_samples"),
    message:
        "Canonical form of {wildcards.dataset}"
    script:
        "../scripts/canonical_samples.py"
