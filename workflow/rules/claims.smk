"""The paper's claims, tested by paired comparisons of what the experiments measured.

Needs: the metrics of the compared experiments.
Makes: `results/tables/claims.csv`, its readable twin, and `claim_pairs.csv`, the numbers behind it.
"""


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
    localrule: True  # seconds
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        comparisons=config["claims"]["comparisons"],
        confidence=config["claims"]["confidence"],
        code=code_of("claim_table"),
    script:
        "../scripts/claim_table.py"
