"""Figure of one predicted frame: image, probability, segmentation, errors."""

from matplotlib.figure import Figure

from unetcore.figures.colours import colour_instances
from unetcore.figures.error_panel import error_panel
from unetcore.figures.example import Example
from unetcore.figures.panels import (
    aspect,
    legend_below,
    letter,
    new_figure,
    probability_panel,
    show,
)
from unetcore.figures.style import styled

PANEL = 3.1  # inches, side of an image


@styled
def segmentation(example: Example, title: str = "") -> Figure:
    """One predicted frame: image, probability, segmentation in colours, and its errors.

    Parameters
    ----------
    example : the frame.
    title : heading of the figure.

    Returns
    -------
    Figure with four panels. Without cells, the errors are the splits and mergers that the warping
    error counts; since they are often a few pixels only, each place has a ring. With cells, the
    errors are those of SEG, see `match_cells`.
    """
    figure = new_figure(2 * PANEL + 0.5, 2 * PANEL * aspect(example.image) + 1.15, title)
    panels = figure.subplots(2, 2).ravel()
    show(panels[0], example.image, "image")
    probability_panel(panels[1], example.probability)
    how = "" if example.instances is not None else f", probability > {example.threshold:.1f}"
    show(panels[2], colour_instances(example.segments), f"segmentation{how}")
    handles = error_panel(panels[3], example)
    letter(panels)
    legend_below(figure, handles)
    return figure
