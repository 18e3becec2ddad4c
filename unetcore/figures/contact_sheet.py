"""Images side by side with their labels over them: whether they belong together, at a look."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from skimage.segmentation import find_boundaries
from skimage.transform import resize

from unetcore.figures.panels import fill, legend_below, new_figure, show
from unetcore.figures.style import BLUE, ORANGE, PURPLE, styled
from unetcore.labels import IGNORED, known_labels

MOST = 24  # images of a sheet
COLUMNS = 4
PANEL = 2.4  # inches, width of an image
SIDE = 480  # px, more of an image cannot be seen
PERCENTILES = (0.5, 99.5)  # of the grey values, shown black and white


@styled
def contact_sheet(
    names: Sequence[str], images: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> Figure:
    """Images with their labels: cells, background and ignored regions each in a colour.

    Parameters
    ----------
    names : of the images.
    images : (C, H, W) float arrays.
    labels : (H, W) uint16 arrays, see `unetcore.data.label_map.LabelMap.apply`.

    Returns
    -------
    Figure with a panel for each image; of many, the first, the last, and some between them.
    """
    shown = np.unique(np.linspace(0, len(names) - 1, min(len(names), MOST)).round().astype(int))
    n_rows = math.ceil(len(shown) / COLUMNS)
    n_columns = math.ceil(len(shown) / n_rows)
    tallest = max(labels[k].shape[0] / labels[k].shape[1] for k in shown)
    left_out = f", {len(shown)} of {len(names)}" if len(shown) < len(names) else ""
    figure = new_figure(
        max(2, n_columns) * PANEL,
        n_rows * (PANEL * tallest + 0.3) + 0.7,
        f"Images and labels{left_out}",
    )
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for k, axes in zip(shown, panels, strict=False):
        image, marks = _at_most(images[k], labels[k])
        show(axes, _grey(image), names[k])
        axes.title.set_fontsize(7.5)
        _mark(axes, marks)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    handles = [
        Patch(facecolor=ORANGE, label="cell"),
        Patch(facecolor=BLUE, label="background or membrane"),
    ]
    if any((labels[k] == IGNORED).any() for k in shown):
        handles.append(Patch(facecolor=PURPLE, label="ignored"))
    legend_below(figure, handles)
    return figure


def _at_most(image, labels):
    """Image and labels of at most `SIDE` px."""
    factor = SIDE / max(labels.shape)
    if factor >= 1:
        return image, labels
    size = tuple(max(1, round(side * factor)) for side in labels.shape)
    marks = resize(labels, size, order=0, preserve_range=True, anti_aliasing=False)
    return resize(image, (len(image), *size), anti_aliasing=True), marks.astype(labels.dtype)


def _grey(image):
    """Colours of three channels, else the first channel, (H, W) or (H, W, 3), in [0, 1]."""
    low, high = np.percentile(image, PERCENTILES)
    scaled = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    return np.moveaxis(scaled, 0, -1) if len(image) == 3 else scaled[0]


def _mark(axes, labels):
    cells = known_labels(labels)
    for where, colour, alpha in (
        (cells > 0, ORANGE, 0.3),
        (find_boundaries(cells, mode="inner"), ORANGE, 0.9),
        (labels == 0, BLUE, 0.55),
        (labels == IGNORED, PURPLE, 0.55),
    ):
        fill(axes, where, colour, alpha)
