"""The style of all figures: settings, colours, and how a figure becomes a file.

The colours are told apart by colour-blind readers too (Okabe and Ito; the fills are Tol's light
scheme).
"""

import functools
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "0.35",
    "axes.grid": False,
    "axes.labelcolor": "0.2",
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.titlesize": 9.5,
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "0.9",
    "grid.linewidth": 0.7,
    "image.interpolation": "none",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "svg.hashsalt": "unetcore",  # equal figures make equal files
    "xtick.color": "0.35",
    "ytick.color": "0.35",
}

BLUE, SKY, GREEN, ORANGE, VERMILION, PURPLE, YELLOW = (
    "#0072B2",
    "#56B4E9",
    "#009E73",
    "#E69F00",
    "#D55E00",
    "#CC79A7",
    "#F0E442",
)
LINES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, "0.3")  # yellow is too pale for a line
DASHES = ("-", "--", ":", "-.")
FILLS = (
    "#77AADD",
    "#EE8866",
    "#EEDD88",
    "#FFAABB",
    "#44BB99",
    "#BBCC33",
    "#99DDFF",
    "#AAAA00",
)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as the name's suffix says; the same figure always makes the same bytes."""
    undated = {"Date": None} if Path(path).suffix == ".svg" else {}
    with matplotlib.rc_context(STYLE):
        figure.savefig(path, metadata=undated, facecolor="white")


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in `STYLE`, whatever the caller's settings are."""

    @functools.wraps(draw)
    def drawn(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn
