"""What is published."""


def published(kind):
    """Published names among the tables or among the studies."""
    return [name for name in config["publish"] if name in config[kind]]


def published_experiments():
    """Names of the experiments behind the published tables."""
    return [name for table in published("tables") for name in config["tables"][table]]


def published_runs(wildcards):
    """Input function: run.json of every training behind what is published, once."""
    claims = config["claims"]["comparisons"]
    compared = [claim[f"{side}experiment"] for claim in claims for side in claim_sides(claim)]
    names = [*published_experiments(), *compared]
    of_experiments = [f"{folder}/run.json" for n in names for folder in run_folders(n, "runs")]
    of_studies = [path for s in published("studies") for path in study_runs(s, "run.json")]
    return list(dict.fromkeys([*of_experiments, *of_studies]))


def published_metrics(wildcards):
    """Input function: every metrics.json behind the published tables and studies, once."""
    of_tables = [path for name in published_experiments() for path in experiment_metrics(name)]
    of_studies = [path for study in published("studies") for path in study_metrics(study)]
    return list(dict.fromkeys([*of_tables, *of_studies]))


def study_of_variants(wildcards):
    """Param function: study by experiment, of those that are variants of one alone."""
    return {e: s for s in config["studies"] for e in study_experiments(s) if is_variant(e)}


def published_pictures():
    """Pictures of the published experiments on phantoms, below a folder of figures."""
    return [
        f"{name}/{figure}"
        for name in published_experiments()
        if EXPERIMENTS[name]["dataset"] in GENERATED
        for figure in experiment_figures(name)
        if figure.endswith(".png")
    ]


def published_figure_sets():
    """Sets of the paper's figures that show phantoms of published tables alone."""
    own = {e for e in published_experiments() if EXPERIMENTS[e]["dataset"] in GENERATED}
    sets = config["paper_figures"].items()
    return [name for name, shown in sets if {shown["membranes"], *shown["cells"]} <= own]
