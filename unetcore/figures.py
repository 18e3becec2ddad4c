"""Figures, all in one style: curves, segmentations with their errors, tile plans, weight maps.

Every function draws arrays and returns a matplotlib `Figure`; nothing here shows a window. The
colours are told apart by colour-blind readers too (Okabe and Ito; the fills are Tol's light
scheme).
"""

import csv
import functools
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator
from scipy import ndimage
from skimage.segmentation import expand_labels, find_boundaries

from unetcore import geometry
from unetcore.data.frames import Frame, read_frames
from unetcore.data.io import read_images, read_labels, read_probability
from unetcore.errors import InputError
from unetcore.metrics import Mismatch, warping_mismatches
from unetcore.tiling import Tile, TilePlan, plan_tiles

logger = logging.getLogger(__name__)

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

BLUE, SKY, GREEN, ORANGE, VERMILLION, PURPLE, YELLOW = (
    "#0072B2",
    "#56B4E9",
    "#009E73",
    "#E69F00",
    "#D55E00",
    "#CC79A7",
    "#F0E442",
)
LINES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, "0.3")  # yellow is too pale for a line
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
DASHES = ("-", "--", ":", "-.")
UNDECIDED_LOSS = float(np.log(2))  # cross entropy of a network that gives both classes 1/2
FEW = 4  # trainings; the noise of more would hide the curves
LOSS_DROP = 0.5  # a learning rate that falls below this part of the one before is a drop
PANEL = 3.1  # inches, side of an image
LEGEND_ENTRY = 2.0  # inches, width of an entry
RING = 11  # points, mark around an error too small to see


@dataclass(frozen=True)
class History:
    """A training as its history.csv tells it.

    Attributes
    ----------
    step : (n,) weight updates done.
    loss : (n,) mean loss since the row before.
    learning_rate : (n,) of the last step.
    """

    step: np.ndarray
    loss: np.ndarray
    learning_rate: np.ndarray


@dataclass(frozen=True)
class Example:
    """One frame on its way from image to segmentation; all arrays are (H, W).

    Attributes
    ----------
    id : id of the frame.
    page : its page in the dataset's stacks.
    image : grey values.
    labels : reference; a mask, > 0 = cell interior, or instance ids with 0 = background.
    probability : in [0, 1], of cell interior.
    threshold : of the probability.
    instances : ids of the segmented cells, 0 = background; None where the segmentation is
        probability > threshold.
    """

    id: str
    page: int
    image: np.ndarray
    labels: np.ndarray
    probability: np.ndarray
    threshold: float
    instances: np.ndarray | None

    @property
    def segments(self) -> np.ndarray:
        """Segmented objects, (H, W) integer ids: the cells, or 4-connected components."""
        if self.instances is not None:
            return self.instances
        return ndimage.label(self.probability > self.threshold)[0]


def read_example(
    images: Path,
    labels: Path,
    frames: Path,
    probability: Path,
    metrics: Path,
    instances: Path | None = None,
) -> Example:
    """Read the first frame of a prediction whose labels are complete.

    Parameters
    ----------
    images, labels, frames : files of the dataset.
    probability, instances : files of the prediction; `instances` for cells only.
    metrics : the prediction's metrics.json: says which frames were predicted, and the best warping
        threshold; where it has none, 0.5 is used.

    Raises
    ------
    InputError : a file cannot be read, or the prediction has another number of frames.
    """
    evaluation = json.loads(Path(metrics).read_text("utf-8"))
    probabilities = read_probability(probability)
    if len(probabilities) != len(evaluation["frames"]):
        raise InputError(
            f"{probability}: {len(probabilities)} pages for the {len(evaluation['frames'])} frames"
            f" of {metrics}"
        )
    by_id = {frame.id: frame for frame in read_frames(frames)}
    predicted = [by_id[name] for name in evaluation["frames"]]
    frame = first_complete(predicted)
    place = predicted.index(frame)
    return Example(
        frame.id,
        frame.index,
        read_images(images)[frame.index],
        read_labels(labels)[frame.index],
        probabilities[place],
        evaluation["metrics"].get("warping_error", {}).get("threshold", 0.5),
        read_labels(instances)[place] if instances else None,
    )


def read_history(path: Path) -> History:
    """Read a history.csv.

    Raises
    ------
    InputError : no such file, a column is missing, or there is no row.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise InputError(f"{path}: no row, expected one per log step")
    columns = ("step", "loss", "learning_rate")
    if missing := [column for column in columns if column not in rows[0]]:
        raise InputError(f"{path}: column {missing[0]!r} is missing")
    return History(*(np.array([float(row[column]) for row in rows]) for column in columns))


def first_complete(frames: Sequence[Frame]) -> Frame:
    """First frame whose cells are all labelled; the first of all where there is none."""
    return next((f for f in frames if f.labelled and not f.partial), frames[0])


def save(figure: Figure, path: Path) -> None:
    """Write a figure as the name's suffix says; the same figure always makes the same bytes."""
    undated = {"Date": None} if Path(path).suffix == ".svg" else {}
    with matplotlib.rc_context(STYLE):
        figure.savefig(path, metadata=undated, facecolor="white")


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in this module's style, whatever the caller's settings are."""

    @functools.wraps(draw)
    def drawn(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


@_styled
def loss_curves(histories: Mapping[tuple[str, int], History], title: str = "") -> Figure:
    """Loss over the training steps, one curve per training.

    Parameters
    ----------
    histories : by (fold, seed). Colours tell folds apart, dashes tell seeds apart.
    title : heading of the figure.

    Returns
    -------
    Figure: the curves are smoothed; behind them, unless they are many, stand the losses as logged.
    A dashed line marks the loss of a network that cannot decide, ln 2; a dotted one each place
    where the learning rate drops.
    """
    figure = _new_figure(7.2, 3.6)
    axes = figure.subplots()
    folds = list(dict.fromkeys(fold for fold, _ in histories))
    seeds = list(dict.fromkeys(seed for _, seed in histories))
    for (fold, seed), history in histories.items():
        colour = LINES[folds.index(fold) % len(LINES)]
        dashes = DASHES[seeds.index(seed) % len(DASHES)]
        if len(histories) <= FEW:
            axes.plot(history.step, history.loss, color=colour, alpha=0.25, lw=0.7, label="_logged")
        axes.plot(
            history.step,
            _smooth(history.loss),
            color=colour,
            ls=dashes,
            lw=1.5,
            label=f"fold {fold}, seed {seed}",
        )
    for step in sorted({step for history in histories.values() for step in _drops(history)}):
        axes.axvline(step, color="0.6", lw=1.0, ls=":", label="_drop")
    axes.axhline(UNDECIDED_LOSS, color="0.6", lw=1.0, ls="--", label="_undecided")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(True, axis="y")
    axes.set(
        xlim=(0, None), xlabel="step (weight updates)", ylabel="weighted cross entropy (Eq. 1)"
    )
    axes.set_title(title)
    handles, _ = axes.get_legend_handles_labels()
    handles += [
        Line2D([], [], color="0.6", lw=1.0, ls="--", label="undecided network, ln 2"),
        Line2D([], [], color="0.6", lw=1.0, ls=":", label="learning rate drops"),
    ]
    figure.legend(handles=handles, loc="outside right upper", handlelength=2.6)
    return figure


@_styled
def segmentation(example: Example, title: str = "") -> Figure:
    """One predicted frame: image, probability, segmentation in colours, and its errors.

    Parameters
    ----------
    example : the frame.
    title : heading of the figure.

    Returns
    -------
    Figure with four panels. Without cells, the errors are the splits and mergers that the warping
    error counts; since they are often a few pixels only, each place has a ring. With cells, the
    errors are those of SEG, see `match_cells`.
    """
    figure = _new_figure(2 * PANEL + 0.5, 2 * PANEL * _aspect(example.image) + 1.15, title)
    panels = figure.subplots(2, 2).ravel()
    _show(panels[0], example.image, "image")
    _probability_panel(panels[1], example.probability)
    how = "" if example.instances is not None else f", probability > {example.threshold:.1f}"
    _show(panels[2], colour_instances(example.segments), f"segmentation{how}")
    handles = _error_panel(panels[3], example)
    _letter(panels)
    _legend_below(figure, handles)
    return figure


def compared_plans(shape: tuple[int, int], tile: int | None, depth: int) -> list[TilePlan]:
    """Plan in use and, to compare with, one with three tiles along the shorter side.

    Parameters, errors: as `unetcore.tiling.plan_tiles`.
    """
    third = geometry.round_up_to_output_tile(-(-min(shape) // 3), depth)
    return [plan_tiles(shape, tile, depth), plan_tiles(shape, third, depth)]


@_styled
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
    figure = _new_figure(4.2 * len(plans), 4.2 * max(map(_canvas_aspect, plans)) + 0.85, title)
    panels = figure.subplots(1, len(plans), squeeze=False).ravel()
    for axes, plan, use in zip(panels, plans, ("in use", "to compare"), strict=True):
        handles = _tile_plan_panel(axes, image, plan, use)
    _letter(panels)
    _legend_below(figure, handles)
    return figure


@_styled
def weight_map(
    image: np.ndarray,
    labels: np.ndarray,
    mask: np.ndarray,
    weights: np.ndarray,
    title: str = "",
) -> Figure:
    """From image to loss weights, as in the paper's Fig. 3.

    Parameters
    ----------
    image : (H, W) array.
    labels : (H, W) integer array: instance ids, or a mask of two values whose components are shown.
    mask : (H, W) array, > 0 = cell, as the network is taught.
    weights : (H, W) array, w(x) of Eq. 2.
    title : heading of the figure.

    Returns
    -------
    Figure with four panels: image, cells in colours, mask, weight map.
    """
    figure = _new_figure(4 * 2.7 + 0.5, 2.7 * _aspect(image) + 0.6, title)
    panels = figure.subplots(1, 4)
    _show(panels[0], image, "image")
    _show(panels[1], image, "cells, as labelled")
    panels[1].imshow(colour_instances(as_instances(labels), alpha=0.6))
    _show(panels[2], mask > 0, "segmentation mask")
    _weight_panel(panels[3], weights)
    _letter(panels)
    return figure


@_styled
def overview(example: Example, weights: np.ndarray) -> Figure:
    """The whole way in one line: image, loss weights, probability, segmentation, errors.

    Parameters
    ----------
    example : a predicted frame.
    weights : (H, W) array, w(x) of the same frame.

    Returns
    -------
    Figure with five panels.
    """
    figure = _new_figure(5 * 2.2, 2.2 * _aspect(example.image) + 0.7)
    panels = figure.subplots(1, 5)
    _show(panels[0], example.image, "image")
    _weight_panel(panels[1], weights, bar=False)
    _probability_panel(panels[2], example.probability, bar=False)
    _show(panels[3], colour_instances(example.segments), "segmentation")
    handles = _error_panel(panels[4], example)
    _letter(panels)
    _legend_below(figure, handles)
    return figure


def as_instances(labels: np.ndarray) -> np.ndarray:
    """Instance ids of labels: a mask of one value above 0 falls into its 4-connected components."""
    values = np.unique(labels)
    if np.count_nonzero(values) > 1:
        return labels
    return ndimage.label(labels)[0]


def colour_instances(labels: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """Colours of instances, such that neighbours differ.

    Parameters
    ----------
    labels : (H, W) integer array, 0 = background.
    alpha : opacity of the instances.

    Returns
    -------
    (H, W, 4) float array in [0, 1]; the background is transparent dark grey, or opaque with
    `alpha` 1. Instances are drawn apart by a dark line where they touch.
    """
    ids, dense = np.unique(labels, return_inverse=True)
    dense = dense.reshape(labels.shape) + (ids[0] != 0)  # 0 stays for the background
    colour_of = np.array(_neighbours_differ(dense))
    palette = np.array([matplotlib.colors.to_rgba(colour, alpha) for colour in ("0.15", *FILLS)])
    palette[0, 3] = alpha == 1.0
    coloured = palette[colour_of[dense]]
    coloured[find_boundaries(dense, mode="inner") & _touches_other(dense)] = palette[0]
    return coloured


@dataclass(frozen=True)
class CellMatches:
    """What became of the cells of a frame, and of the segments; lists of ids.

    Attributes
    ----------
    found : cells with a match of their own. As in SEG, a segment is the match of a cell if it
        covers more than half of it.
    merged : cells that share their match with others.
    missed : cells without a match.
    merging : segments that are the match of several cells.
    wrong : segments that are the match of none.
    """

    found: list[int]
    merged: list[int]
    missed: list[int]
    merging: list[int]
    wrong: list[int]


def match_cells(labels: np.ndarray, segments: np.ndarray) -> CellMatches:
    """Match the cells of a frame with its segments.

    Parameters
    ----------
    labels, segments : (H, W) integer arrays of ids, 0 = background.

    Examples
    --------
    >>> match_cells(np.array([[1, 1, 2, 2, 0, 3]]), np.array([[7, 7, 7, 7, 8, 0]]))
    CellMatches(found=[], merged=[1, 2], missed=[3], merging=[7], wrong=[8])
    """
    match = {}
    for cell in np.unique(labels[labels > 0]).tolist():
        under = segments[labels == cell]
        segment = int(np.bincount(under).argmax())
        covers = segment > 0 and 2 * np.count_nonzero(under == segment) > under.size
        match[cell] = segment if covers else 0
    cells_of = Counter(segment for segment in match.values() if segment)
    return CellMatches(
        found=[cell for cell, segment in match.items() if cells_of[segment] == 1],
        merged=[cell for cell, segment in match.items() if cells_of[segment] > 1],
        missed=[cell for cell, segment in match.items() if not segment],
        merging=sorted(segment for segment, n in cells_of.items() if n > 1),
        wrong=[s for s in np.unique(segments[segments > 0]).tolist() if s not in cells_of],
    )


def _new_figure(width: float, height: float, title: str = "") -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5)
    return figure


def _aspect(image: np.ndarray) -> float:
    """Height of an image in units of its width."""
    return image.shape[0] / image.shape[1]


def _letter(panels: Iterable[Axes]) -> None:
    """Put the letter of each panel before its title, as in the paper's figures."""
    for letter, axes in zip("abcdefgh", panels, strict=False):
        axes.set_title(rf"$\bf{{{letter}}}$  {axes.get_title(loc='left')}")


def _show(axes: Axes, image: np.ndarray, title: str, **how):
    """One image without ticks."""
    shown = axes.imshow(image, **({"cmap": "gray"} | how))
    axes.set(xticks=[], yticks=[], anchor="NW")
    axes.spines[:].set_visible(False)
    axes.set_title(title)
    return shown


def _colourbar(axes: Axes, shown, **how) -> None:
    bar = axes.figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.02, panchor=False, **how)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, labelsize=7.5)


def _probability_panel(axes: Axes, probability: np.ndarray, bar: bool = True) -> None:
    shown = _show(axes, probability, "probability of cell interior", vmin=0, vmax=1, cmap="cividis")
    if bar:
        _colourbar(axes, shown, ticks=[0, 0.5, 1])


def _weight_panel(axes: Axes, weights: np.ndarray, bar: bool = True) -> None:
    shown = _show(axes, weights, "loss weight $w(x)$", vmin=0, cmap="inferno")
    if bar:
        _colourbar(axes, shown)


def _error_panel(axes: Axes, example: Example) -> list[Artist]:
    """What is wrong with a segmentation, over the pale image; returns the legend."""
    _show(axes, _pale(example.image), "errors", vmin=0, vmax=1)
    return (_mark_topology if example.instances is None else _mark_cells)(axes, example)


def _mark_topology(axes: Axes, example: Example) -> list[Artist]:
    """Segmented membranes, and rings around splits and mergers."""
    classes = warping_mismatches(example.labels, example.probability, example.threshold)
    _fill(axes, example.probability <= example.threshold, "0.25", alpha=0.55)
    handles = [Patch(color="0.5", label="membrane, as segmented")]
    for name, code, colour in (
        ("split", Mismatch.SPLIT, VERMILLION),
        ("merger", Mismatch.MERGER, BLUE),
    ):
        at_fault = classes == code
        _fill(axes, at_fault, colour)
        # Pixels that lie a few px apart are one place, and get one ring.
        places, n = ndimage.label(ndimage.binary_dilation(at_fault, iterations=2))
        centres = np.array(ndimage.center_of_mass(at_fault, places, range(1, n + 1)))
        rows, columns = centres.reshape(-1, 2).T
        ring = {"ls": "", "marker": "o", "mfc": "none", "mec": colour, "mew": 1.4}
        axes.plot(columns, rows, **ring, ms=RING, clip_on=False, in_layout=False, label=f"_{name}")
        word = f"{name}: {n} place{'' if n == 1 else 's'}, {np.count_nonzero(at_fault)} px"
        handles.append(Line2D([], [], **ring, ms=8, label=word))
    return handles


def _mark_cells(axes: Axes, example: Example) -> list[Artist]:
    """Segments and reference outlines, coloured by what became of them."""
    segments = example.segments
    matches = match_cells(example.labels, segments)
    right = (segments > 0) & ~np.isin(segments, matches.merging + matches.wrong)
    handles = []
    for name, part, colour in (
        ("segment of one cell", right, GREEN),
        ("of several cells", np.isin(segments, matches.merging), ORANGE),
        ("of no cell", np.isin(segments, matches.wrong), BLUE),
    ):
        _fill(axes, part, colour, alpha=0.5)
        handles.append(Patch(facecolor=colour, alpha=0.5, label=name))
    for name, ids, colour, style in (
        ("found", matches.found, "0.1", "-"),
        ("merged", matches.merged, "0.1", (0, (2, 1))),
        ("missed", matches.missed, VERMILLION, "-"),
    ):
        for cell in ids:
            outline = {"colors": [colour], "linestyles": [style], "linewidths": 1.3}
            axes.contour(example.labels == cell, levels=[0.5], **outline)
        word = f"{name}: {len(ids)} cell{'' if len(ids) == 1 else 's'}"
        handles.append(Line2D([], [], color=colour, ls=style, lw=1.5, label=word))
    return handles


def _fill(axes: Axes, where: np.ndarray, colour: str, alpha: float = 1.0) -> None:
    """Lay one colour over the pixels of a mask."""
    axes.imshow(np.where(where, 0.0, np.nan), cmap=ListedColormap([colour]), alpha=alpha)


def _canvas_size(plan: TilePlan) -> tuple[int, int]:
    """Height and width in px, from the image's origin, of all that the tiles of a plan touch."""
    *_, last = plan
    return (
        max(last.row + last.height, plan.shape[0]) + plan.halo,
        max(last.column + last.width, plan.shape[1]) + plan.halo,
    )


def _canvas_aspect(plan: TilePlan) -> float:
    bottom, right = _canvas_size(plan)
    return (bottom + plan.halo) / (right + plan.halo)


def _tile_plan_panel(axes: Axes, image: np.ndarray, plan: TilePlan, use: str) -> list[Artist]:
    """One plan over the image and the margin that is mirrored for it."""
    tiles = list(plan)
    first = tiles[0]
    bottom, right = _canvas_size(plan)
    rows = geometry.mirror_index(-plan.halo, bottom, plan.shape[0])
    columns = geometry.mirror_index(-plan.halo, right, plan.shape[1])
    extent = (-plan.halo - 0.5, right - 0.5, bottom - 0.5, -plan.halo - 0.5)
    tiles_are = "1 output tile" if len(tiles) == 1 else f"{len(tiles)} output tiles"
    count = f"{tiles_are} of {first.height} × {first.width} px"
    continued = image[np.ix_(rows, columns)]
    _show(axes, _pale(continued), f"{use}: {count}", extent=extent, vmin=0, vmax=1)
    inside = np.s_[plan.halo : plan.halo + plan.shape[0], plan.halo : plan.halo + plan.shape[1]]
    axes.imshow(
        _unit(continued)[inside],
        cmap="gray",
        extent=(-0.5, plan.shape[1] - 0.5, plan.shape[0] - 0.5, -0.5),
        vmin=0,
        vmax=1,
    )
    axes.add_patch(_frame(first, YELLOW, facecolor=YELLOW, alpha=0.2, linewidth=0))
    for number, tile in enumerate(tiles, start=1):
        axes.add_patch(_frame(tile, YELLOW, gid="output"))
        if len(tiles) > 1:
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
    image_border = Tile(0, 0, *plan.shape)
    axes.add_patch(_frame(image_border, "white", gid="image", linestyle=(0, (4, 3)), linewidth=1.2))
    axes.add_patch(_frame(first, BLUE, margin=plan.halo, gid="input", clip_on=False))
    axes.set(xlim=extent[:2], ylim=extent[2:])
    axes.set_xlabel(
        f"computes {plan.cost:.2f} times what is needed; step {' × '.join(map(str, plan.step))} px",
        fontsize=8.5,
    )
    return [
        Patch(fill=False, edgecolor=YELLOW, lw=2, label="output tiles"),
        Patch(fill=False, edgecolor=BLUE, lw=2, label=f"input tile, {plan.halo} px more per side"),
        Patch(facecolor="0.8", label="mirrored"),
    ]


def _legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """Legend under all panels, in as many lines as the figure's width needs."""
    columns = max(1, int(figure.get_figwidth() / LEGEND_ENTRY))
    lines = -(-len(handles) // columns)
    columns = -(-len(handles) // lines)
    # Matplotlib fills column by column; people read line by line.
    ordered = [handle for first in range(columns) for handle in handles[first::columns]]
    figure.legend(handles=ordered, loc="outside lower center", ncols=columns)


def _frame(tile: Tile, colour: str, margin: int = 0, **how) -> Rectangle:
    """Outline of a tile that is larger by `margin` px on every side."""
    corner = (tile.column - margin - 0.5, tile.row - margin - 0.5)
    width, height = tile.width + 2 * margin, tile.height + 2 * margin
    how = {"facecolor": "none", "edgecolor": colour, "linewidth": 1.8} | how
    return Rectangle(corner, width, height, **how)


def _unit(image: np.ndarray) -> np.ndarray:
    """Grey values on the scale 0 to 1, by the darkest and the brightest pixel: for display only."""
    low, high = float(image.min()), float(image.max())
    return (image - low) / (high - low) if high > low else np.full(image.shape, 0.5)


def _pale(image: np.ndarray) -> np.ndarray:
    """Image in light grey, as ground for colours."""
    return 0.5 + 0.5 * _unit(image)


def _smooth(losses: np.ndarray) -> np.ndarray:
    """Geometric mean in a Gaussian window of about a twentieth of the values."""
    return np.exp(
        ndimage.gaussian_filter1d(np.log(losses), max(1, len(losses) / 40), mode="nearest")
    )


def _drops(history: History) -> np.ndarray:
    """Steps at which the learning rate fell to less than half."""
    rate = history.learning_rate
    return history.step[1:][rate[1:] < LOSS_DROP * rate[:-1]]


def _touches_other(labels: np.ndarray) -> np.ndarray:
    """Pixels with another instance among their neighbours."""
    highest = ndimage.maximum_filter(labels, size=3)
    lowest = ndimage.minimum_filter(np.where(labels > 0, labels, labels.max() + 1), size=3)
    return (labels > 0) & ((highest != labels) | (lowest != labels)) & (lowest != highest)


def _neighbours_differ(labels: np.ndarray, reach: float = 6) -> list[int]:
    """Number of a fill for each label, 0 for background; labels within `reach` px get others.

    Greedy: each label takes the least used number that none of its neighbours has, or, where
    all are taken, the least used one.
    """
    grown = expand_labels(labels, reach)
    n = int(labels.max()) + 1
    neighbours: list[set[int]] = [set() for _ in range(n)]
    for a, b in ((grown[1:], grown[:-1]), (grown[:, 1:], grown[:, :-1])):
        for left, right in np.unique(np.stack([a, b])[:, a != b], axis=1).T.tolist():
            neighbours[left].add(right)
            neighbours[right].add(left)
    colours, used = [0] * n, [0] * (len(FILLS) + 1)
    for label in range(1, n):
        taken = {colours[neighbour] for neighbour in neighbours[label]}
        free = [c for c in range(1, len(FILLS) + 1) if c not in taken] or range(1, len(FILLS) + 1)
        colours[label] = min(free, key=lambda c: used[c])
        used[colours[label]] += 1
    return colours
