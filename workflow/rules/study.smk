"""Studies: one-factor experiments, by which settings that the paper leaves open are chosen.

Needs: the metrics and histories of the variants of a study; each variant is an ordinary experiment.
Makes: `results/studies/{study}.csv`, its readable twin, and a figure; copies in `docs/results/studies`
when asked for these or for `publish`.
"""

from unetcore.tables import describe_change


def study_experiments(name):
    """Names of the experiments that are the variants of a study."""
    return [experiment for experiment, _ in VARIANTS[name].values()]


def study_metrics(study):
    """Every metrics.json of the networks of a study, on its folds alone."""
    return [
        f"results/predictions/{name}/fold-{fold}/{method}/metrics.json"
        for name, settings in VARIANTS[study].values()
        for fold in settings["folds"]
        for method in network_methods(settings)
    ]


def study_runs(study, name):
    """A file of every training of a study."""
    return [
        f"results/runs/{experiment}/fold-{fold}/seed-{seed}/{name}"
        for experiment, settings in VARIANTS[study].values()
        for fold in settings["folds"]
        for seed in settings["seeds"]
    ]


def study_plan(wildcards):
    """Param function: what a study set out to do, and what was chosen by it."""
    name, study = wildcards.study, config["studies"][wildcards.study]
    base = EXPERIMENTS[study["base"]]
    sections = ["split", *config["defaults"]]
    before = {section: base[section] for section in sections}
    changes = {}
    for variant, (_, settings) in VARIANTS[name].items():
        changed = {section: settings[section] for section in sections}
        changes[variant] = describe_change(before, changed, study["base"])
    return {
        "name": name,
        "title": study["title"],
        "base": study["base"],
        "experiments": dict(zip(changes, study_experiments(name), strict=True)),
        "changes": changes,
        "unseen_folds": [fold for fold in base["folds"] if fold not in study["folds"]],
        "chosen": study.get("chosen"),
        "axis": study.get("axis", ""),
        "reason": study.get("reason"),
    }


def study_files(names):
    """Tables, their readable twins and figures of studies."""
    return expand("results/studies/{study}.{format}", study=names, format=["csv", "md", "svg"])


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
        mem_mb=500,
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
        mem_mb=500,
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
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=500,
    shell:
        "cp {input} {output} 2> {log}"
