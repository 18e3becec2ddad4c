"""Named targets: what a user asks for.

`all` is the demo. `table1`, `table2`, `figures` make the paper's, `paper` all of them.
"""


localrules:
    all,
    demo,
    table1,
    table2,
    figures,
    paper,


rule all:
    """What runs when no target is named."""
    default_target: True
    input:
        table_files("demo"),
        figure_files("demo"),


rule demo:
    """Tables and figures of the embedded phantoms."""
    input:
        table_files("demo"),
        figure_files("demo"),


rule table1:
    """The EM challenge (paper Table 1)."""
    input:
        table_files("table1"),


rule table2:
    """Cells in light microscopy (paper Table 2)."""
    input:
        table_files("table2"),


rule figures:
    """Figures of the paper's experiments."""
    input:
        figure_files("table1"),
        figure_files("table2"),


rule paper:
    """Everything."""
    input:
        rules.table1.input,
        rules.table2.input,
        rules.figures.input,
