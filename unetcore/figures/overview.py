"""Figure of the whole way, from an image to the errors of its segmentation."""

import numpy as np
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
    weight_panel,
)
from unetcore.figures.style import styled

PANEL = 2.2  # inches, side of an image


@styled
def overview(example: Example, weights: np.ndarray) -> Figure:
    """The whole way in one line: image, loss weights, probability, segmentation, errors.

    Parameters
    ----------
    example : a predicted frame.
    weights : (H, W) array, w(x) of the same frame.

    Returns
    -------
    Figure with five panels.
    """
    figure = new_figure(5 * PANEL, PANEL * aspect(example.image) + 0.7)
    panels = figure.subplots(1, 5)
    show(panels[0], example.image, "image")
    weight_panel(panels[1], weights, bar=False)
    probability_panel(panels[2], example.probability, bar=False)
    show(panels[3], colour_instances(example.segments), "segmentation")
    handles = error_panel(panels[4], example)
    letter(panels)
    legend_below(figure, handles)
    return figure
