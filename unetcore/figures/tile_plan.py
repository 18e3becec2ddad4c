"""Figure of tile plans over the image they cut, as in the paper's Fig. 2."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from unetcore import geometry
from unetcore.figures.panels import legend_below, letter, new_figure
from unetcore.figures.style import BLUE, YELLOW, styled
from unetcore.figures.tiles import canvas_aspect, draw_ground, image_border, number_tiles, outline
from unetcore.tiling import TilePlan, plan_tiles

PANEL = 4.2  # inches, width of a plan


def compared_plans(used: TilePlan) -> list[TilePlan]:
    """Plan in use and, to compare with, one with three tiles along the shorter side."""
    third = geometry.round_up_to_output_tile(-(-min(used.shape) // 3), used.depth)
    return [used, plan_tiles(used.shape, third, used.depth)]


def plan_of_several_tiles(used: TilePlan) -> TilePlan:
    """Plan in use; where it is a single tile, the one to compare it with."""
    return next((plan for plan in compared_plans(used) if len(plan) > 1), used)


@styled
def tile_plan(image: np.ndarray, plans: Sequence[TilePlan], title: str = "") -> Figure:
    """Tile plans over the image they cut, as in the paper's Fig. 2.

    Parameters
    ----------
    image : (H, W) array.
    plans : the plan in use, and one to compare it with, both for this shape.
    title : heading of the figure.

    Returns
    -------
    Figure: every output tile in yellow, the input tile of the first one in blue; what lies outside
    of the image's dashed border is mirrored.
    """
    figure = new_figure(PANEL * len(plans), PANEL * max(map(canvas_aspect, plans)) + 0.85, title)
    panels = figure.subplots(1, len(plans), squeeze=False).ravel()
    for axes, plan, use in zip(panels, plans, ("in use", "to compare"), strict=True):
        handles = _panel(axes, image, plan, use)
    letter(panels)
    legend_below(figure, handles)
    return figure


def _panel(axes: Axes, image: np.ndarray, plan: TilePlan, use: str) -> list[Artist]:
    """One plan over the image and the margin that is mirrored for it; returns the legend."""
    first, *others = plan
    tiles_are = f"{len(others) + 1} output tiles" if others else "1 output tile"
    draw_ground(axes, image, plan)
    axes.set_title(f"{use}: {tiles_are} of {first.height} × {first.width} px")
    axes.set_xlabel(
        f"computes {plan.cost:.2f} times what is needed; step {' × '.join(map(str, plan.step))} px",
        fontsize=8.5,
    )
    axes.add_patch(outline(first, YELLOW, facecolor=YELLOW, alpha=0.2, linewidth=0))
    for tile in plan:
        axes.add_patch(outline(tile, YELLOW, gid="output"))
    if others:
        number_tiles(axes, plan)
    axes.add_patch(image_border(plan))
    axes.add_patch(outline(first, BLUE, margin=plan.halo, gid="input", clip_on=False))
    return [
        Patch(fill=False, edgecolor=YELLOW, lw=2, label="output tiles"),
        Patch(fill=False, edgecolor=BLUE, lw=2, label=f"input tile, {plan.halo} px more per side"),
        Patch(facecolor="0.8", label="mirrored"),
    ]
