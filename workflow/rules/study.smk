"""Studies: one-factor experiments, by which settings that the paper leaves open are chosen.

Needs: the metrics and histories of the variants of a study; each variant is an ordinary experiment.
Makes: `results/studies/{study}.csv`, its readable twin, and a figure; copies in `docs/results/studies`
when asked for these or for `publish`.
"""


rule study_table:
    """One row per number of a study: what each variant changes, and what it reaches."""
    input:
        metrics=lambda wildcards: study_metrics(wildcards.study),
        histories=lambda wildcards: study_runs(wildcards.study, "history.csv"),
    output:
        table=report(
            "results/studies/{study}.csv",
            caption="../report/study.rst",
            category="4 Studies",
            labels={"study": "{study}", "form": "one row per number (CSV)"},
        ),
        markdown="results/studies/{study}.md",
    log:
        "logs/study_table/{study}.log",
    benchmark:
        "logs/benchmarks/study_table/{study}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        plan=study_plan,
        code=code_of("study_table"),
    script:
        "../scripts/study_table.py"


rule figure_study:
    """Losses of a study's variants, and every metric by variant."""
    input:
        metrics=lambda wildcards: study_metrics(wildcards.study),
        histories=lambda wildcards: study_runs(wildcards.study, "history.csv"),
        validations=lambda wildcards: study_runs(wildcards.study, "validation.csv"),
    output:
        figure=report(
            "results/studies/{study}.svg",
            caption="../report/study.rst",
            category="4 Studies",
            labels={"study": "{study}", "form": "figure"},
        ),
    log:
        "logs/figure_study/{study}.log",
    benchmark:
        "logs/benchmarks/figure_study/{study}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        plan=study_plan,
        losses=lambda wildcards: [loss_of(e) for e in study_experiments(wildcards.study)],
        code=code_of("figure_study"),
    script:
        "../scripts/figure_study.py"


rule publish_study:
    """Published copy of a file of a study."""
    input:
        "results/studies/{study}.{format}",
    output:
        "docs/results/studies/{study}.{format}",
    log:
        "logs/publish_study/{study}.{format}.log",
    benchmark:
        "logs/benchmarks/publish_study/{study}.{format}.tsv"
    wildcard_constraints:
        format="csv|md|svg",
    localrule: True  # seconds
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    shell:
        "cp {input} {output} 2> {log}"
