"""What figures of tiles share: the image with its mirrored margin, outlines, numbers."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from unetcore import geometry
from unetcore.figures.panels import pale, show, unit
from unetcore.figures.style import YELLOW
from unetcore.tiling import Tile, TilePlan

GROUND = "0.94"  # where a panel shows nothing


def draw_ground(axes: Axes, image: np.ndarray, plan: TilePlan) -> None:
    """Draw the image and, paler, all around it that is mirrored for the tiles of a plan."""
    (height, width), halo = plan.shape, plan.halo
    bottom, right = canvas_end(plan)
    rows = geometry.mirror_index(-halo, bottom, height)
    columns = geometry.mirror_index(-halo, right, width)
    continued = image[np.ix_(rows, columns)]
    everything = (-halo - 0.5, right - 0.5, bottom - 0.5, -halo - 0.5)
    show(axes, pale(continued), "", extent=everything, vmin=0, vmax=1)
    inside = unit(continued)[halo : halo + height, halo : halo + width]
    axes.imshow(inside, cmap="gray", vmin=0, vmax=1)
    show_canvas(axes, plan)


def show_canvas(axes: Axes, plan: TilePlan) -> None:
    """Limit a panel to all that the tiles of a plan touch."""
    bottom, right = canvas_end(plan)
    axes.set(xlim=(-plan.halo - 0.5, right - 0.5), ylim=(bottom - 0.5, -plan.halo - 0.5))
    axes.set_facecolor(GROUND)


def number_tiles(axes: Axes, tiles: Iterable[Tile]) -> None:
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


def canvas_end(plan: TilePlan) -> tuple[int, int]:
    """Row and column, from the image's origin, where all that the tiles of a plan touch ends."""
    *_, last = plan
    return (
        max(last.row + last.height, plan.shape[0]) + plan.halo,
        max(last.column + last.width, plan.shape[1]) + plan.halo,
    )


def canvas_aspect(plan: TilePlan) -> float:
    """Height of all that the tiles of a plan touch in units of its width."""
    bottom, right = canvas_end(plan)
    return (bottom + plan.halo) / (right + plan.halo)


def image_border(plan: TilePlan) -> Rectangle:
    """Dashed outline of the image that a plan cuts."""
    how = {"gid": "image", "linestyle": (0, (4, 3)), "linewidth": 1.2}
    return outline(Tile(0, 0, *plan.shape), "white", **how)


def outline(tile: Tile, colour: str, margin: int = 0, **how) -> Rectangle:
    """Outline of a tile that is larger by `margin` px on every side."""
    corner = (tile.column - margin - 0.5, tile.row - margin - 0.5)
    width, height = tile.width + 2 * margin, tile.height + 2 * margin
    how = {"facecolor": "none", "edgecolor": colour, "linewidth": 1.8} | how
    return Rectangle(corner, width, height, **how)


def emphasised(tile: Tile) -> Rectangle:
    """Outline of the tile that a figure follows, to be seen on bright ground too."""
    stroke = [withStroke(linewidth=3.4, foreground="0.2")]
    return outline(tile, YELLOW, gid="shown", linewidth=2, path_effects=stroke)
