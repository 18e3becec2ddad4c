"""Panel with the errors of a segmentation, marked over the pale image."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from unetcore.figures.example import Example
from unetcore.figures.matches import match_cells
from unetcore.figures.panels import fill, pale, show
from unetcore.figures.style import BLUE, GREEN, ORANGE, VERMILION
from unetcore.metrics import Mismatch, warping_mismatches, warping_places

RING = 11  # points, mark around an error too small to see


def error_panel(axes: Axes, example: Example) -> list[Artist]:
    """Show what is wrong with a segmentation.

    Parameters
    ----------
    axes : the panel.
    example : a predicted frame. With cells, the errors are those of SEG, see `match_cells`;
        without, the splits and mergers that the warping error counts.

    Returns
    -------
    list of Artist, the entries of the legend.
    """
    show(axes, pale(example.image), "errors", vmin=0, vmax=1)
    return (_mark_topology if example.instances is None else _mark_cells)(axes, example)


def _mark_topology(axes: Axes, example: Example) -> list[Artist]:
    """Segmented membranes, and rings around splits and mergers."""
    classes = warping_mismatches(example.labels, example.probability, example.threshold)
    fill(axes, example.probability <= example.threshold, "0.25", alpha=0.55)
    return [
        Patch(color="0.5", label="membrane, as segmented"),
        _mark_places(axes, classes, Mismatch.SPLIT, VERMILION),
        _mark_places(axes, classes, Mismatch.MERGER, BLUE),
    ]


def _mark_places(axes: Axes, classes: np.ndarray, kind: Mismatch, colour: str) -> Artist:
    """Pixels of one kind in a colour, and a ring around each place."""
    fill(axes, classes == kind, colour)
    places = warping_places(classes, kind)
    name = kind.name.lower()
    ring = {"ls": "", "marker": "o", "mfc": "none", "mec": colour, "mew": 1.4}
    axes.plot(
        [place.x for place in places],
        [place.y for place in places],
        **ring,
        ms=RING,
        clip_on=False,
        in_layout=False,
        label=f"_{name}",
    )
    n_pixels = sum(place.pixels for place in places)
    return Line2D(
        [], [], **ring, ms=8, label=f"{name}: {_counted(len(places), 'place')}, {n_pixels} px"
    )


def _mark_cells(axes: Axes, example: Example) -> list[Artist]:
    """Segments and reference outlines, coloured by what became of them."""
    labels, segments = example.labels, example.segments
    matches = match_cells(labels, segments)
    merging, wrong = np.isin(segments, matches.merging), np.isin(segments, matches.wrong)
    right = (segments > 0) & ~merging & ~wrong
    return [
        _mark_segments(axes, right, "segment of one cell", GREEN),
        _mark_segments(axes, merging, "of several cells", ORANGE),
        _mark_segments(axes, wrong, "of no cell", BLUE),
        _outline(axes, labels, matches.found, "found", color="0.1", ls="-"),
        _outline(axes, labels, matches.merged, "merged", color="0.1", ls=(0, (2, 1))),
        _outline(axes, labels, matches.missed, "missed", color=VERMILION, ls="-"),
    ]


def _mark_segments(axes: Axes, where: np.ndarray, name: str, colour: str) -> Artist:
    """Segments of one kind in a colour that lets the image through."""
    fill(axes, where, colour, alpha=0.5)
    return Patch(facecolor=colour, alpha=0.5, label=name)


def _outline(
    axes: Axes, labels: np.ndarray, cells: list[int], name: str, *, color: str, ls: str | tuple
) -> Artist:
    """Outlines of the cells of one kind."""
    for cell in cells:
        axes.contour(labels == cell, levels=[0.5], colors=[color], linestyles=[ls], linewidths=1.3)
    word = f"{name}: {_counted(len(cells), 'cell')}"
    return Line2D([], [], color=color, ls=ls, lw=1.5, label=word)


def _counted(n: int, noun: str) -> str:
    """Number and noun, as in "1 cell" and "2 cells"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
