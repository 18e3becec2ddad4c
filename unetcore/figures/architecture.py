"""Figure of the network, drawn from what it does to one tile, as in the paper's Fig. 1."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from unetcore.figures.panels import legend_below, new_figure
from unetcore.figures.style import BLUE, FILLS, GREEN, PURPLE, VERMILION, styled
from unetcore.operations import CONVOLUTION, COPY, POOL, UP, Architecture, Operation

# Inches.
TALLEST, LOWEST = 1.5, 0.42  # boxes of the largest and of the smallest map
WIDEST, NARROWEST = 0.5, 0.05  # boxes of most channels, and of so few that they would vanish
STEP, FALL = 0.3, 0.45  # between neighbours of a level, and between levels
BESIDE, ABOVE, BELOW = 0.75, 0.25, 0.05  # room around the boxes
LEAST = 8.0  # width of the figure, for its heading and legend
HEADING, LEGEND = 0.6, 0.4

SMALL = 7  # points, numbers at boxes
DASHED = (0, (3, 2))
COLOURS = {CONVOLUTION: BLUE, COPY: "0.6", POOL: VERMILION, UP: GREEN}
HEADS = {POOL: r"$\downarrow$", UP: r"$\uparrow$"}


@dataclass(frozen=True)
class Box:
    """The map that an operation makes: its place in inches, and what is written at it."""

    kind: str  # of the operation, empty for the input tile
    left: float
    middle: float  # of its height
    width: float
    height: float
    side: int
    channels: int

    @property
    def right(self) -> float:
        """Right border."""
        return self.left + self.width

    @property
    def centre(self) -> float:
        """Middle of its width."""
        return self.left + self.width / 2

    @property
    def top(self) -> float:
        """Upper border."""
        return self.middle + self.height / 2

    @property
    def bottom(self) -> float:
        """Lower border."""
        return self.middle - self.height / 2


@styled
def architecture(network: Architecture, title: str = "") -> Figure:
    """The network as in the paper's Fig. 1: maps as boxes, operations as arrows.

    Parameters
    ----------
    network : what it does to one input tile.
    title : heading of the figure.

    Returns
    -------
    Figure: a box for every map, the higher the larger its side (logarithm) and the wider the more
    channels (square root), with its channels on top, but where a pooling leaves them as they are,
    and its side at the lower left. The part of a map that is copied is dashed; it stands, white,
    beside the map of the up-convolution.
    """
    boxes = _place_boxes(network)
    left, right = boxes[0].left - BESIDE, boxes[-1].right + BESIDE
    bottom, top = min(box.bottom for box in boxes) - BELOW, boxes[0].top + ABOVE
    wide, high = max(LEAST, right - left), top - bottom
    figure = new_figure(wide, high + HEADING + LEGEND, title)
    axes = figure.subplots()
    spare = (wide - (right - left)) / 2
    axes.set(xlim=(left - spare, right + spare), ylim=(bottom, top), aspect="equal")
    axes.set_axis_off()
    axes.set_title(
        f"{network.n_convolutions} convolutional layers, {network.parameters:,} parameters; each "
        "box is a map, its channels on top, its side in px at the lower left"
    )
    _draw_boxes(axes, boxes)
    _draw_arrows(axes, boxes, network.operations)
    for x, name in ((left, "input"), (right - BESIDE, "output")):
        words = {"ha": "center", "va": "center", "fontsize": 8.5}
        axes.text(x + BESIDE / 2, boxes[0].middle, f"{name}\ntile", **words)
    legend_below(figure, _legend(network.operations))
    return figure


def _place_boxes(network: Architecture) -> list[Box]:
    """Box of the input tile, and of the map that each operation makes."""
    height, width = _scales(network)
    middles = _middles(network, height)
    size = width(network.channels), height(network.side)
    last = Box("", 0, middles[0], *size, network.side, network.channels)
    boxes = [last]
    for operation in network.operations:
        wide = width(operation.channels)
        left = {
            CONVOLUTION: last.right + STEP,
            POOL: last.centre - wide / 2,
            UP: last.centre - wide / 2,
            COPY: last.left - wide,
        }[operation.kind]
        size = wide, height(operation.side)
        place = left, middles[operation.level]
        box = Box(operation.kind, *place, *size, operation.side, operation.channels)
        boxes.append(box)
        last = last if operation.kind == COPY else box
    return boxes


def _scales(network: Architecture) -> tuple[Callable[[int], float], Callable[[int], float]]:
    """Functions from a side in px to the height of a box, and from channels to its width."""
    smallest = min(operation.side for operation in network.operations)
    most = max(operation.channels for operation in network.operations)

    def height(side: int) -> float:
        share = math.log(side / smallest) / math.log(network.side / smallest)
        return LOWEST + share * (TALLEST - LOWEST)

    def width(channels: int) -> float:
        return max(NARROWEST, WIDEST * math.sqrt(channels / most))

    return height, width


def _middles(network: Architecture, height: Callable[[int], float]) -> list[float]:
    """Place of each level, the first at 0: those below are lower by half of both's boxes."""
    tallest = [height(network.side)]
    tallest += [height(made.side) for made in network.operations if made.kind == POOL]
    middles = [0.0]
    for above, below in pairwise(tallest):
        middles.append(middles[-1] - above / 2 - FALL - below / 2)
    return middles


def _draw_boxes(axes: Axes, boxes: Sequence[Box]) -> None:
    """Draw boxes with their numbers; a copy and what it stands beside are counted together."""
    for box in boxes:
        look = {"facecolor": "white", "ls": DASHED} if box.kind == COPY else {"facecolor": FILLS[0]}
        frame = {"edgecolor": BLUE, "linewidth": 0.8, "gid": box.kind or "input"}
        axes.add_patch(Rectangle((box.left, box.bottom), box.width, box.height, **look, **frame))
    groups: list[list[Box]] = []
    for box in boxes:
        if box.kind == COPY:
            groups[-1].insert(0, box)
        else:
            groups.append([box])
    for group, after in zip(groups, [*groups[1:], [None]], strict=True):
        _write_numbers(axes, group, leaves_up=after[-1] is not None and after[-1].kind == UP)


def _write_numbers(axes: Axes, group: Sequence[Box], leaves_up: bool) -> None:
    """Write channels and side of boxes that stand side by side, beside an arrow that leaves up."""
    first, last = group[0], group[-1]
    small = {"fontsize": SMALL, "va": "bottom"}
    if last.kind != POOL:
        channels = sum(box.channels for box in group)
        x = last.centre - 0.05 if leaves_up else (first.left + last.right) / 2
        ha = "right" if leaves_up else "center"
        axes.text(x, first.top + 0.03, f"{channels}", ha=ha, gid="channels", **small)
    axes.text(
        first.left - 0.02,
        first.bottom,
        f"{first.side}²",
        ha="right",
        rotation="vertical",
        gid="side",
        **small,
    )


def _draw_arrows(axes: Axes, boxes: Sequence[Box], operations: Sequence[Operation]) -> None:
    """Draw what leads to each box, and the part of a map that is copied."""
    last = boxes[0]
    copied_from = {}  # last map of each level on the contracting path, by its place
    for box, operation in zip(boxes[1:], operations, strict=True):
        if operation.kind == COPY:
            source = copied_from[box.middle]
            _outline_part(axes, source, box.side / source.side)
            ends = (source.right, box.middle), (box.left, box.middle)
        elif operation.kind == CONVOLUTION:
            y = box.middle + 0.2 * box.height
            ends = (last.right, y), (box.left, y)
        elif operation.kind == POOL:
            copied_from[last.middle] = last
            ends = (last.centre, last.bottom), (box.centre, box.top)
        else:
            ends = (last.centre, last.top), (box.centre, box.bottom)
        axes.annotate(
            "",
            xytext=ends[0],
            xy=ends[1],
            arrowprops={
                "arrowstyle": "-|>,head_width=0.22,head_length=0.4",
                "color": _colour(operation),
                "lw": 1.4,
                "shrinkA": 1,
                "shrinkB": 1,
            },
            gid=operation.name,
        )
        last = last if operation.kind == COPY else box


def _outline_part(axes: Axes, box: Box, share: float) -> None:
    """Dashed outline of the middle of a map, as large as a share of its side."""
    height, width = share * box.height, share * box.width
    corner = (box.centre - width / 2, box.middle - height / 2)
    axes.add_patch(
        Rectangle(corner, width, height, fill=False, ec=BLUE, lw=0.8, ls=DASHED, gid="part")
    )


def _colour(operation: Operation) -> str:
    """Colour of an arrow; that of the last convolution, to the scores, is its own."""
    scores = operation.kind == CONVOLUTION and operation.kernel == 1
    return PURPLE if scores else COLOURS[operation.kind]


def _legend(operations: Sequence[Operation]) -> list[Artist]:
    """An arrow for every operation that occurs, in order, and the copied maps."""
    entries: dict[str, Artist] = {}
    for operation in operations:
        head = HEADS.get(operation.kind, r"$\rightarrow$")
        look = {"ls": "", "marker": head, "ms": 11, "mec": "none", "mfc": _colour(operation)}
        entries[operation.name] = Line2D([], [], **look, label=operation.name)
    if COPY in entries:
        entries["part"] = Patch(fc="white", ec=BLUE, lw=0.8, ls=DASHED, label="part that is copied")
    return list(entries.values())
