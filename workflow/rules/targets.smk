"""Named targets: what a user asks for beside `all`, which is the demo.

`table1`, `table2`, `figures` make the paper's tables and figures, `claims` puts its claims to the
test, `paper` makes all four. `studies` shows how settings were chosen that the paper leaves open, `own`
is for images of one's own.
"""


localrules:
    demo,
    table1,
    table2,
    figures,
    claims,
    paper,
    studies,
    volumes,
    own,


rule demo:
    """Tables, figures and pages of the embedded phantoms."""
    input:
        table_files("demo"),
        figure_files("demo"),
        view_files("demo"),
        paper_figure_files("demo-paper"),


rule table1:
    """The EM challenge (paper Table 1)."""
    input:
        table_files("table1"),


rule table2:
    """Cells in light microscopy (paper Table 2)."""
    input:
        table_files("table2"),


rule figures:
    """The paper's figures, and figures of its experiments."""
    input:
        paper_figure_files("paper"),
        figure_files("table1"),
        figure_files("table2"),
        "results/figures/tiles_or_batches.svg",


rule claims:
    """The paper's claims, each with its experiment and verdict."""
    input:
        table_files("claims"),
        "results/tables/claims.svg",
        study_files(config["claims"]["studies"]),


rule paper:
    """Everything."""
    input:
        rules.table1.input,
        rules.table2.input,
        rules.figures.input,
        rules.claims.input,


rule studies:
    """Searches for settings that the paper leaves open."""
    input:
        study_files(config["run_studies"]),


rule volumes:
    """Images larger than memory."""
    input:
        volume_files(),


rule own:
    """Tables and figures of data sets of one's own."""
    input:
        own_table_files(),
