"""Figure of the overlap-tile strategy, as the paper's Fig. 2."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from unetcore.figures.panels import legend_below, letter, new_figure, show
from unetcore.figures.style import BLUE, YELLOW, styled
from unetcore.figures.tile_plan import plan_of_several_tiles
from unetcore.figures.tiles import (
    canvas_aspect,
    draw_ground,
    emphasised,
    image_border,
    outline,
    show_canvas,
)
from unetcore.tiling import TilePlan

PANEL = 4.2  # inches, width of a panel
THRESHOLD = 0.5  # of the segmentation


@styled
def overlap_tile(
    image: np.ndarray, probability: np.ndarray, used: TilePlan, title: str = ""
) -> Figure:
    """What one tile is computed from, and where it stands in the segmentation.

    Parameters
    ----------
    image : (H, W) array.
    probability : (H, W) array in [0, 1], of cell interior.
    used : plan by which the image was predicted. Where it is a single tile, a plan of several is
        shown, and said to be another; the prediction is the same by both.
    title : heading of the figure.

    Returns
    -------
    Figure with two panels of one scale. Left: the image with its mirrored margin, all output tiles,
    and the input tile of the first one. Right: probability > 0.5.
    """
    plan = plan_of_several_tiles(used)
    first, *_ = plan
    figure = new_figure(2 * PANEL, PANEL * canvas_aspect(plan) + 0.75, title)
    left, right = figure.subplots(1, 2)
    draw_ground(left, image, plan)
    left.set_title(_size_of_tiles(plan, used))
    left.add_patch(image_border(plan))
    for tile in plan:
        left.add_patch(outline(tile, YELLOW, gid="output", linewidth=0.7))
    left.add_patch(outline(first, BLUE, margin=plan.halo, gid="input", clip_on=False, linewidth=2))
    show(right, probability > THRESHOLD, f"segmentation, probability > {THRESHOLD}")
    show_canvas(right, plan)
    for axes in (left, right):
        axes.add_patch(emphasised(first))
    letter((left, right))
    legend_below(
        figure,
        [
            Patch(fill=False, edgecolor=YELLOW, lw=2, label="output tile"),
            Patch(fill=False, edgecolor=BLUE, lw=2, label="input tile that it needs"),
            Patch(facecolor="0.8", label="mirrored"),
        ],
    )
    return figure


def _size_of_tiles(plan: TilePlan, used: TilePlan) -> str:
    """Number and size of a plan's tiles, and that of the tile in use where it is another plan."""
    other = "" if plan is used else f" (in use: one of {_size(used)})"
    return f"{len(plan)} output tiles of {_size(plan)} px{other}"


def _size(plan: TilePlan) -> str:
    return " × ".join(map(str, plan.tile))
