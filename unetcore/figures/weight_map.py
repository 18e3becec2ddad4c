"""Figure of a weight map beside the cells it was made from, as in the paper's Fig. 3."""

import numpy as np
from matplotlib.figure import Figure

from unetcore.figures.colours import as_instances, colour_instances
from unetcore.figures.panels import aspect, letter, new_figure, show, weight_panel
from unetcore.figures.style import styled

PANEL = 2.7  # inches, side of an image


@styled
def weight_map(
    image: np.ndarray,
    labels: np.ndarray,
    mask: np.ndarray,
    weights: np.ndarray,
    title: str = "",
) -> Figure:
    """From image to loss weights, as in the paper's Fig. 3.

    Parameters
    ----------
    image : (H, W) array.
    labels : (H, W) integer array: instance ids, or a mask of two values whose components are shown.
    mask : (H, W) array, > 0 = cell, as the network is taught.
    weights : (H, W) array, w(x) of Eq. 2.
    title : heading of the figure.

    Returns
    -------
    Figure with four panels: image, cells in colours, mask, weight map.
    """
    figure = new_figure(4 * PANEL + 0.5, PANEL * aspect(image) + 0.6, title)
    panels = figure.subplots(1, 4)
    show(panels[0], image, "image")
    show(panels[1], image, "cells, as labelled")
    panels[1].imshow(colour_instances(as_instances(labels), alpha=0.6))
    show(panels[2], mask > 0, "segmentation mask")
    weight_panel(panels[3], weights)
    letter(panels)
    return figure
