"""Figure of what comes of tiles at the right and at the wrong distance (paper Fig. 2)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from unetcore import geometry
from unetcore.figures.panels import (
    aspect,
    colourbar,
    letter,
    new_figure,
    probability_panel,
    show,
)
from unetcore.figures.style import styled
from unetcore.tiling import TilePlan

PANEL = 2.9  # inches, side of an image
THRESHOLD = 0.5  # of the labels
SMALLEST = 1e-5  # difference that is shown; rounding stays below


@styled
def seams(
    image: np.ndarray,
    probabilities: np.ndarray,
    plans: Sequence[TilePlan],
    title: str = "",
) -> Figure:
    """Probability of an image as a whole and in tiles of two plans, and what differs.

    Parameters
    ----------
    image : (H, W) array.
    probabilities : (3, H, W) array in [0, 1]: of the image as a whole, and by each plan.
    plans : two, for this shape.
    title : heading of the figure.

    Returns
    -------
    Figure: above, the three probability maps; below, the image, and what each plan changes, on a
    logarithmic scale, with the borders of its tiles and the number of labels (probability above
    0.5) that flip.
    """
    whole, *tiled = probabilities
    figure = new_figure(3 * PANEL + 0.9, 2 * (PANEL * aspect(image) + 0.55), title)
    (above, *maps), (below, *differences) = figure.subplots(2, 3)
    probability_panel(above, whole, bar=False)
    above.set_title("probability, image as a whole")
    show(below, image, "image")
    for axes, plan, way in zip(maps, plans, tiled, strict=True):
        probability_panel(axes, way, bar=axes is maps[-1])
        axes.set_title(_step(plan))
        _borders(axes, plan, "white")
    for axes, plan, way in zip(differences, plans, tiled, strict=True):
        shown = _difference_panel(axes, way, whole)
        _borders(axes, plan, "0.6")
    colourbar(differences[-1], shown)
    letter([above, *maps, below, *differences])
    return figure


def _difference_panel(axes: Axes, way: np.ndarray, whole: np.ndarray) -> AxesImage:
    """Show by how much a probability map differs from another one, and what that changes."""
    difference = np.abs(way - whole)
    scale = LogNorm(SMALLEST, 1, clip=True)
    shown = show(
        axes, np.maximum(difference, SMALLEST), "difference from a", cmap="inferno", norm=scale
    )
    flipped = np.count_nonzero((way > THRESHOLD) != (whole > THRESHOLD))
    axes.set_xlabel(
        f"largest difference {difference.max():.2g}; {flipped:,} labels flip "
        f"({flipped / whole.size:.2%})",
        fontsize=8.5,
    )
    return shown


def _step(plan: TilePlan) -> str:
    """Size and step of a plan's tiles, and how the step fits the pooling grid."""
    period = geometry.phase(plan.depth)
    blocks, rest = divmod(plan.step[0], period)
    grid = f"{blocks} × {period}" + (f" + {rest}" if rest else "")
    return f"tiles of {plan.tile[0]} px, step {plan.step[0]} = {grid}"


def _borders(axes: Axes, plan: TilePlan, colour: str) -> None:
    """Thin lines between the tiles."""
    for row in plan.starts(0)[1:]:
        axes.axhline(row - 0.5, color=colour, lw=0.7, ls=(0, (4, 3)), gid="border")
    for column in plan.starts(1)[1:]:
        axes.axvline(column - 0.5, color=colour, lw=0.7, ls=(0, (4, 3)), gid="border")
