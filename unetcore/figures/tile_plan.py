"""Figure of tile plans over the image they cut, as in the paper's Fig. 2."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from unetcore import geometry
from unetcore.figures.panels import legend_below, letter, new_figure, pale, show, unit
from unetcore.figures.style import BLUE, YELLOW, styled
from unetcore.tiling import Tile, TilePlan, plan_tiles

PANEL = 4.2  # inches, width of a plan


def compared_plans(used: TilePlan) -> list[TilePlan]:
    """Plan in use and, to compare with, one with three tiles along the shorter side."""
    third = geometry.round_up_to_output_tile(-(-min(used.shape) // 3), used.depth)
    return [used, plan_tiles(used.shape, third, used.depth)]


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
    figure = new_figure(PANEL * len(plans), PANEL * max(map(_canvas_aspect, plans)) + 0.85, title)
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
    _draw_ground(axes, image, plan)
    axes.set_title(f"{use}: {tiles_are} of {first.height} × {first.width} px")
    axes.set_xlabel(
        f"computes {plan.cost:.2f} times what is needed; step {' × '.join(map(str, plan.step))} px",
        fontsize=8.5,
    )
    axes.add_patch(_outline(first, YELLOW, facecolor=YELLOW, alpha=0.2, linewidth=0))
    for tile in plan:
        axes.add_patch(_outline(tile, YELLOW, gid="output"))
    if others:
        _number(axes, plan)
    border = Tile(0, 0, *plan.shape)
    axes.add_patch(_outline(border, "white", gid="image", linestyle=(0, (4, 3)), linewidth=1.2))
    axes.add_patch(_outline(first, BLUE, margin=plan.halo, gid="input", clip_on=False))
    return [
        Patch(fill=False, edgecolor=YELLOW, lw=2, label="output tiles"),
        Patch(fill=False, edgecolor=BLUE, lw=2, label=f"input tile, {plan.halo} px more per side"),
        Patch(facecolor="0.8", label="mirrored"),
    ]


def _draw_ground(axes: Axes, image: np.ndarray, plan: TilePlan) -> None:
    """Draw the image and, paler, all around it that is mirrored for the tiles of a plan."""
    (height, width), halo = plan.shape, plan.halo
    bottom, right = _canvas_end(plan)
    rows = geometry.mirror_index(-halo, bottom, height)
    columns = geometry.mirror_index(-halo, right, width)
    continued = image[np.ix_(rows, columns)]
    everything = (-halo - 0.5, right - 0.5, bottom - 0.5, -halo - 0.5)
    show(axes, pale(continued), "", extent=everything, vmin=0, vmax=1)
    inside = unit(continued)[halo : halo + height, halo : halo + width]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(inside, cmap="gray", extent=extent, vmin=0, vmax=1)
    axes.set(xlim=everything[:2], ylim=everything[2:])


def _number(axes: Axes, tiles: Iterable[Tile]) -> None:
    """Write the number of each tile into its middle."""
    for number, tile in enumerate(tiles, start=1):
        axes.text(
            tile.column + tile.width / 2,
            tile.row + tile.height / 2,
            str(number),
            color=YELLOW,
            ha="center",
            va="center",
            fontweight="bold",
            path_effects=[withStroke(linewidth=2, foreground="0.2")],
        )


def _canvas_end(plan: TilePlan) -> tuple[int, int]:
    """Row and column, from the image's origin, where all that the tiles of a plan touch ends."""
    *_, last = plan
    return (
        max(last.row + last.height, plan.shape[0]) + plan.halo,
        max(last.column + last.width, plan.shape[1]) + plan.halo,
    )


def _canvas_aspect(plan: TilePlan) -> float:
    """Height of all that the tiles of a plan touch in units of its width."""
    bottom, right = _canvas_end(plan)
    return (bottom + plan.halo) / (right + plan.halo)


def _outline(tile: Tile, colour: str, margin: int = 0, **how) -> Rectangle:
    """Outline of a tile that is larger by `margin` px on every side."""
    corner = (tile.column - margin - 0.5, tile.row - margin - 0.5)
    width, height = tile.width + 2 * margin, tile.height + 2 * margin
    how = {"facecolor": "none", "edgecolor": colour, "linewidth": 1.8} | how
    return Rectangle(corner, width, height, **how)
