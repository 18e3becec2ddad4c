"""Figure of segmented cells over what people have drawn, as the paper's Fig. 4."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from unetcore.figures.colours import colour_instances
from unetcore.figures.example import Example
from unetcore.figures.panels import aspect, legend_below, letter, new_figure, show
from unetcore.figures.style import FILLS, YELLOW, styled

PANEL = 3.4  # inches, width of an image


@styled
def cell_results(names: Sequence[str], examples: Sequence[Example]) -> Figure:
    """Input and result of a frame of each experiment.

    Parameters
    ----------
    names : of the datasets.
    examples : a predicted frame of each, with instances.

    Returns
    -------
    Figure with a row of two panels per frame: the image; the segmented cells, each in a colour that
    its neighbours do not have, so that joined cells are seen to be one, with the borders of the
    reference cells in yellow and, where it was measured, SEG of all frames that were predicted with
    this one.
    """
    heights = [PANEL * aspect(example.image) + 0.28 for example in examples]
    figure = new_figure(2 * PANEL, sum(heights) + 0.35)
    rows = figure.subplots(len(heights), 2, squeeze=False, height_ratios=heights)
    for (left, right), name, example in zip(rows, names, examples, strict=True):
        show(left, example.image, f"{name}, {example.id}")
        _result_panel(right, example)
    letter(rows.ravel())
    legend_below(
        figure,
        [
            Patch(
                facecolor=FILLS[0],
                alpha=0.6,
                label="segmented cells: one colour across a border, and they are joined",
            ),
            Line2D([], [], color=YELLOW, lw=1.8, label="border of a reference cell"),
        ],
    )
    return figure


def _result_panel(axes: Axes, example: Example) -> None:
    """Show segmented cells over the image, and the borders of the reference cells."""
    score = "" if example.seg is None else f", SEG of the fold {example.seg:.4f}"
    show(axes, example.image, f"result{score}")
    axes.imshow(colour_instances(example.segments, alpha=0.6))
    for cell in np.unique(example.labels[example.labels > 0]):
        axes.contour(example.labels == cell, levels=[0.5], colors=[YELLOW], linewidths=1.3)
