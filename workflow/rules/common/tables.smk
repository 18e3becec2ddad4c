"""What tables, figures of experiments and claims take."""


def table_metrics(wildcards):
    """Input function: every metrics.json of a table."""
    return [p for name in config["tables"][wildcards.table] for p in experiment_metrics(name)]


def table_frames(wildcards):
    """Input function: frames.csv of the datasets of a table."""
    names = {EXPERIMENTS[name]["dataset"] for name in config["tables"][wildcards.table]}
    return expand("results/data/{dataset}/frames.csv", dataset=sorted(names))


def histories(wildcards):
    """Input function: history.csv of every run of an experiment."""
    return [f"{folder}/history.csv" for folder in run_folders(wildcards.experiment, "runs")]


def validations(wildcards):
    """Input function: validation.csv of every run of an experiment."""
    return [f"{folder}/validation.csv" for folder in run_folders(wildcards.experiment, "runs")]


def first_prediction(wildcards):
    """Input function: what is on record of the first prediction of an experiment's networks."""
    folder = run_folders(wildcards.experiment, "predictions")[0]
    averaging = EXPERIMENTS[wildcards.experiment]["averaging"]
    suffix = "" if "none" in averaging else f"+{averaging[0]}"
    return f"{folder}/{network_of(wildcards.experiment)}{suffix}/prediction.json"


def table_files(table):
    """A table and its readable twin."""
    return [f"results/tables/{table}.csv", f"results/tables/{table}.md"]


def figure_files(table):
    """Figures of the experiments of a table."""
    return [
        f"results/figures/{name}/{figure}"
        for name in config["tables"][table]
        for figure in experiment_figures(name)
    ]


def own_title(wildcards):
    """Param function: title of the table of a data set of one's own; None of all others."""
    return OWN[wildcards.table].title if wildcards.table in OWN else None


def own_table_files():
    """Tables of data sets of one's own, with figures and pages of their experiments."""
    tables = [name for name in OWN if name in config["tables"]]
    return [
        file
        for table in tables
        for file in [*table_files(table), *figure_files(table), *view_files(table)]
    ]


def method_metrics(name, method):
    """Every metrics.json of one method of an experiment."""
    return [
        f"results/predictions/{name}/fold-{fold}/{found}/metrics.json"
        for fold in folds(name)
        for found in methods(name)
        if found.rsplit("/", 1)[-1] == method
    ]


def claim_metrics(wildcards):
    """Input function: what was measured of the methods that claims compare.

    Seams are asked for by the claims about them.
    """
    found = []
    for claim in config["claims"]["comparisons"]:
        for side in claim_sides(claim):
            name, method = claim[f"{side}experiment"], claim[f"{side}method"]
            if claim["metric"] == "seam":
                found += [f"{folder}/seam.json" for folder in run_folders(name, "seams")]
            else:
                found += method_metrics(name, method)
    return list(dict.fromkeys(found))
