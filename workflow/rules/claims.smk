"""The paper's claims, tested by paired comparisons of what the experiments measured.

Needs: the metrics of the compared experiments.
Makes: `results/tables/claims.csv`, its readable twin, and `claim_pairs.csv`, the numbers behind it.
"""


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


rule claim_table:
    """One row per claim: effect, interval, verdict (rules fixed in config.yaml)."""
    input:
        metrics=claim_metrics,
    output:
        table=report(
            "results/tables/claims.csv",
            caption="../report/claims.rst",
            category="1 Tables",
            labels={"table": "claims", "form": "one row per claim (CSV)"},
        ),
        markdown="results/tables/claims.md",
        html=report(
            "results/tables/claims.html",
            caption="../report/claims.rst",
            category="1 Tables",
            labels={"table": "claims", "form": "to read"},
        ),
        figure=report(
            "results/tables/claims.svg",
            caption="../report/claims.rst",
            category="1 Tables",
            labels={"table": "claims", "form": "figure"},
        ),
        pairs=report(
            "results/tables/claim_pairs.csv",
            caption="../report/claims.rst",
            category="1 Tables",
            labels={"table": "claims", "form": "one row per fold and seed (CSV)"},
        ),
    log:
        "logs/claim_table.log",
    benchmark:
        "logs/benchmarks/claim_table.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=500,
    params:
        comparisons=config["claims"]["comparisons"],
        confidence=config["claims"]["confidence"],
        code=code_of("claim_table"),
    script:
        "../scripts/claim_table.py"
