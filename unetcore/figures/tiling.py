"""Figure that answers how the tiling is applied: one tile on its way, step by step."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unetcore import geometry
from unetcore.figures.panels import letter, new_figure, show
from unetcore.figures.style import BLUE, YELLOW, styled
from unetcore.figures.tile_plan import plan_of_several_tiles
from unetcore.figures.tiles import (
    GROUND,
    canvas_aspect,
    canvas_end,
    draw_ground,
    emphasised,
    image_border,
    number_tiles,
    outline,
    show_canvas,
)
from unetcore.tiling import Tile, TilePlan, input_tile

PANEL = 3.3  # inches, width of a panel


@styled
def tiling(image: np.ndarray, probability: np.ndarray, used: TilePlan, title: str = "") -> Figure:
    """From a slice to its probability map by way of one tile, with all sizes in px.

    Parameters
    ----------
    image : (H, W) array.
    probability : (H, W) array in [0, 1], of cell interior.
    used : plan by which the image was predicted. Where it is a single tile, a plan of several is
        shown; the prediction is the same by both.
    title : heading of the figure.

    Returns
    -------
    Figure with six panels: the slice; mirrored around; the output tiles; the input of the first
    one; what comes of it; the stitched map. The two of the tile have a scale of their own.
    """
    plan = plan_of_several_tiles(used)
    tile, *_ = plan
    figure = new_figure(3 * PANEL, 2 * (PANEL * canvas_aspect(plan) + 0.5) + 0.25, title)
    panels = figure.subplots(2, 3).ravel()
    _slice_panel(panels[0], image, plan)
    _mirror_panel(panels[1], image, plan)
    _plan_panel(panels[2], image, plan)
    _input_panel(panels[3], image, plan, tile)
    _output_panel(panels[4], probability, plan, tile)
    _stitch_panel(panels[5], probability, plan, tile)
    letter(panels)
    return figure


def _slice_panel(axes: Axes, image: np.ndarray, plan: TilePlan) -> None:
    show(axes, image, f"slice: {_size(image.shape)}")
    show_canvas(axes, plan)
    _explain(axes, "what is to be segmented")


def _mirror_panel(axes: Axes, image: np.ndarray, plan: TilePlan) -> None:
    draw_ground(axes, image, plan)
    canvas = [end + plan.halo for end in canvas_end(plan)]
    axes.set_title(f"mirrored around: {_size(canvas)}")
    axes.add_patch(image_border(plan))
    _explain(axes, f"at least {plan.halo} px per side, for tiles at the border")


def _plan_panel(axes: Axes, image: np.ndarray, plan: TilePlan) -> None:
    draw_ground(axes, image, plan)
    axes.set_title(f"{len(plan)} output tiles: {_size(plan.tile)} each")
    for tile in plan:
        axes.add_patch(outline(tile, YELLOW, gid="output", linewidth=1.2))
    number_tiles(axes, plan)
    period = geometry.phase(plan.depth)
    steps = (f"{step // period} × {period}" for step in dict.fromkeys(plan.step))
    _explain(axes, f"steps on the pooling grid: {' and '.join(steps)} px")


def _input_panel(axes: Axes, image: np.ndarray, plan: TilePlan, tile: Tile) -> None:
    (seen,) = input_tile(image, tile, plan.halo)
    grey = {"vmin": image.min(), "vmax": image.max()}
    place = _place(tile.row - plan.halo, tile.column - plan.halo, seen.shape)
    show(axes, seen, f"input of tile 1: {_size(seen.shape)}", extent=place, **grey)
    axes.add_patch(image_border(plan))
    _show_input(axes, plan, tile)
    _explain(axes, "the tile and its context, as the network gets it")


def _output_panel(axes: Axes, probability: np.ndarray, plan: TilePlan, tile: Tile) -> None:
    size = plan.output_shape(tile)
    made = probability[tile.row :, tile.column :][: size[0], : size[1]]
    place = _place(tile.row, tile.column, made.shape)
    _show_probability(axes, made, f"output of tile 1: {_size(size)}", extent=place)
    _show_input(axes, plan, tile)
    middle = tile.row + tile.height / 2
    left, right = tile.column - 0.5, tile.column + tile.width - 0.5
    _measure(axes, left - plan.halo, left, middle)
    _measure(axes, right, right + plan.halo, middle)
    why = ": no convolution is padded" if size == plan.tile else ", and only what it fills"
    _explain(axes, f"{plan.halo} px less per side{why}")


def _stitch_panel(axes: Axes, probability: np.ndarray, plan: TilePlan, tile: Tile) -> None:
    _show_probability(axes, probability, f"stitched: {_size(probability.shape)}")
    show_canvas(axes, plan)
    for other in plan:
        axes.add_patch(outline(_filled(plan, other), YELLOW, gid="filled", linewidth=1.2))
    own = _filled(plan, tile)
    axes.add_patch(emphasised(own))
    _explain(axes, f"tile 1 fills {own.height} × {own.width} px; each pixel is of one tile")


def _show_probability(axes: Axes, probability: np.ndarray, title: str, **how) -> None:
    show(axes, probability, title, vmin=0, vmax=1, **how)


def _show_input(axes: Axes, plan: TilePlan, tile: Tile) -> None:
    """Outline a tile and its input, and limit the panel to these."""
    axes.add_patch(emphasised(tile))
    box = outline(tile, BLUE, margin=plan.halo, gid="input", clip_on=False)
    axes.add_patch(box)
    (left, top), (right, bottom) = box.get_bbox().get_points()
    axes.set(xlim=(left, right), ylim=(bottom, top), facecolor=GROUND)


def _measure(axes: Axes, left: float, right: float, row: float) -> None:
    """Double arrow with its length in px."""
    axes.annotate("", (left, row), (right, row), arrowprops={"arrowstyle": "<->", "color": "0.3"})
    axes.annotate(
        f"{right - left:.0f} px",
        ((left + right) / 2, row),
        (0, 3),
        textcoords="offset points",
        ha="center",
        fontsize=8.5,
    )


def _filled(plan: TilePlan, tile: Tile) -> Tile:
    """Part of the image that a tile fills."""
    rows, columns = plan.filled(tile)
    return Tile(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)


def _place(row: int, column: int, shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """Extent of an array whose upper left pixel stands at a row and column of the image."""
    height, width = shape
    return column - 0.5, column + width - 0.5, row + height - 0.5, row - 0.5


def _explain(axes: Axes, words: str) -> None:
    axes.set_xlabel(words, fontsize=8.5, loc="left")


def _size(sides: Sequence[int]) -> str:
    return " × ".join(map(str, sides)) + " px"
