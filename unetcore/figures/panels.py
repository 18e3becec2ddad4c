"""What figures are put together from: panels with an image each, their letters, and a legend."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

LEGEND_ENTRY = 2.0  # inches, width of an entry


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """Empty figure of a size in inches, with its heading at the left."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5)
    return figure


def aspect(image: np.ndarray) -> float:
    """Height of an image in units of its width."""
    return image.shape[0] / image.shape[1]


def letter(panels: Iterable[Axes]) -> None:
    """Put the letter of each panel before its title, as in the paper's figures."""
    for name, axes in zip("abcdefgh", panels, strict=False):
        axes.set_title(rf"$\bf{{{name}}}$  {axes.get_title(loc='left')}")


def show(axes: Axes, image: np.ndarray, title: str, **how) -> AxesImage:
    """Show one image without ticks; `how` goes to `imshow`."""
    shown = axes.imshow(image, **({"cmap": "gray"} | how))
    axes.set(xticks=[], yticks=[], anchor="NW")
    axes.spines[:].set_visible(False)
    axes.set_title(title)
    return shown


def probability_panel(axes: Axes, probability: np.ndarray, bar: bool = True) -> None:
    """Show a probability of cell interior, (H, W), with a colour bar unless told otherwise."""
    shown = show(axes, probability, "probability of cell interior", vmin=0, vmax=1, cmap="cividis")
    if bar:
        colourbar(axes, shown, ticks=[0, 0.5, 1])


def weight_panel(axes: Axes, weights: np.ndarray, bar: bool = True) -> None:
    """Show the weight map w(x), (H, W), with a colour bar unless told otherwise."""
    shown = show(axes, weights, "loss weight $w(x)$", vmin=0, cmap="inferno")
    if bar:
        colourbar(axes, shown)


def fill(axes: Axes, where: np.ndarray, colour: str, alpha: float = 1.0) -> None:
    """Lay one colour over the pixels of a mask."""
    axes.imshow(np.where(where, 0.0, np.nan), cmap=ListedColormap([colour]), alpha=alpha)


def unit(image: np.ndarray) -> np.ndarray:
    """Grey values on the scale 0 to 1, by the darkest and the brightest pixel: for display only."""
    low, high = float(image.min()), float(image.max())
    return (image - low) / (high - low) if high > low else np.full(image.shape, 0.5)


def pale(image: np.ndarray) -> np.ndarray:
    """Image in light grey, as ground for colours."""
    return 0.5 + 0.5 * unit(image)


def legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """Legend under all panels, in as many lines as the figure's width needs."""
    columns = max(1, int(figure.get_figwidth() / LEGEND_ENTRY))
    lines = -(-len(handles) // columns)
    columns = -(-len(handles) // lines)
    # Matplotlib fills column by column; people read line by line.
    ordered = [handle for first in range(columns) for handle in handles[first::columns]]
    figure.legend(handles=ordered, loc="outside lower center", ncols=columns)


def colourbar(axes: Axes, shown: AxesImage, **how) -> None:
    """Colour bar right of a panel, as high as the panel."""
    bar = axes.figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.02, panchor=False, **how)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, labelsize=7.5)
