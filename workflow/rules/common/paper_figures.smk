"""What the paper's figures take."""

PAPER_FIGURES = ["figure_1.svg", "figure_2.png", "figure_3.png", "figure_4.png", "tiling.png"]


def paper_figure_files(name):
    """The paper's figures, by a set of experiments."""
    return expand("results/figures/{set}/{figure}", set=name, figure=PAPER_FIGURES)


def membranes(wildcards):
    """Experiment on membranes that a set shows."""
    return config["paper_figures"][wildcards.set]["membranes"]


def cells(wildcards):
    """Experiments on cells that a set shows; the last is the paper's HeLa."""
    return config["paper_figures"][wildcards.set]["cells"]


def of_cells(function, *arguments):
    """Input or param function: a function of an experiment, of each on cells that a set shows."""
    return lambda wildcards: [function(name, *arguments) for name in cells(wildcards)]
