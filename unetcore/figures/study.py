"""Figure of a study: how the variants of an experiment learn, and what they reach."""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Tick
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FormatStrFormatter, LogLocator, NullLocator

from unetcore.figures.curves import ROWS_OF_A_CURVE, smooth, without_course
from unetcore.figures.loss_curves import Loss
from unetcore.figures.panels import legend_below, letter, new_figure
from unetcore.figures.style import DASHES, LINES, styled
from unetcore.tables import MEASURES
from unetcore.training_log import HeldOut, History

MARKERS = ("o", "s", "^", "D")  # by method
ASIDE = 0.24  # between two methods of a category, whose neighbours are 1 away
WATCHED = ("rand_error", "seg")  # what tells whether cells are parted
SHORT_NAMES = 12  # characters of all category names together that fit below a panel unturned
CLOSE = 1.4  # ratio of two numbers whose names would touch below a panel
TALL, WIDE, NARROW = 2.5, 3.6, 2.2  # inches: a row, the panel of the losses, one of a metric


@styled
def study(
    curves: Mapping[str, Sequence[History]],
    scores: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    losses: Collection[Loss],
    title: str = "",
    *,
    axis: str = "",
    chosen: str | None = None,
    held_out: Mapping[str, Sequence[HeldOut]] | None = None,
) -> Figure:
    """Loss over the steps by variant, and every metric by variant.

    Parameters
    ----------
    curves : histories by variant, one per training; those with less than two rows are counted in
        the legend, not drawn.
    scores : values by metric, method and variant, one per fold and seed.
    losses : what the variants make small.
    title : heading of the figure.
    axis : what the variants are, for the axis below every metric.
    chosen : variant that the recipe took; it is marked.
    held_out : what was measured on held-out slices during training, by variant, one per training.
        The course of the Rand error, or of SEG, gets a panel where it is there.

    Returns
    -------
    Figure: left the smoothed losses and, where there is one, the course of a metric on held-out
    slices; right a panel per metric with a point per fold and seed. Where all variants are
    positive numbers, they stand on a logarithmic axis with a line through the means; categories
    have a dash at each mean. The panel of the losses is named by what they are, if that is one.
    """
    variants = list(curves)
    looks = _looks(variants)
    watched = _watched(held_out or {})
    figure, left, right = _panels(title, n_left=2 if watched else 1, n_right=len(scores))
    loss = next(iter(losses)) if len(set(losses)) == 1 else None
    marks = _draw_losses(left[0], curves, looks, loss, chosen)
    if watched:
        _draw_courses(left[1], held_out, looks, watched)
    for axes, (metric, by_method) in zip(right, scores.items(), strict=True):
        _draw_scores(axes, by_method, looks, chosen)
        axes.set(title=f"{MEASURES[metric].title} {MEASURES[metric].arrow}", xlabel=axis)
    methods = list(dict.fromkeys(method for by_method in scores.values() for method in by_method))
    letter([*left, *right])
    legend_below(figure, [*_legend(looks, methods, chosen), *marks])
    return figure


def positions(variants: Sequence[str]) -> tuple[list[float], bool]:
    """Places of variants on an axis, and whether these are the numbers that the names are.

    Examples
    --------
    >>> positions(["0.001", "0.01"])
    ([0.001, 0.01], True)
    >>> positions(["none", "0.01"])
    ([0.0, 1.0], False)
    """
    try:
        numbers = [float(variant) for variant in variants]
    except ValueError:
        numbers = []
    if numbers and all(number > 0 and math.isfinite(number) for number in numbers):
        return numbers, True
    return [float(place) for place in range(len(variants))], False


@dataclass(frozen=True)
class _Look:
    """How a variant is drawn in every panel."""

    colour: object
    dashes: str = "-"
    filled: bool = True

    @property
    def of_line(self) -> dict:
        """Arguments for a line."""
        return {"color": self.colour, "ls": self.dashes}

    @property
    def of_points(self) -> dict:
        """Arguments for markers."""
        return {"color": self.colour, "mfc": self.colour if self.filled else "white"}


def _looks(variants: Sequence[str]) -> dict[str, _Look]:
    """Look of each variant: a colour along a scale for numbers, far apart for categories.

    Where there are more categories than colours, the next round is dashed and hollow.
    """
    places, numeric = positions(variants)
    if not numeric:
        rounds = (divmod(k, len(LINES)) for k in range(len(variants)))
        return {
            variant: _Look(LINES[k], DASHES[n % len(DASHES)], filled=n == 0)
            for variant, (n, k) in zip(variants, rounds, strict=True)
        }
    scale, ordered = matplotlib.colormaps["viridis"], sorted(places)
    span = max(1, len(ordered) - 1)
    # The bright end is too pale for a line.
    return {
        variant: _Look(scale(0.88 * ordered.index(place) / span))
        for variant, place in zip(variants, places, strict=True)
    }


def _panels(title: str, n_left: int, n_right: int) -> tuple[Figure, list[Axes], list[Axes]]:
    """Figure with panels over each other at the left and a grid of panels right of them."""
    rows = max(n_left, 1 if n_right <= 3 else 2)
    columns = max(1, -(-n_right // rows))
    figure = new_figure(WIDE + NARROW * columns, TALL * rows + 0.7, title)
    grid = GridSpec(rows, 1 + columns, figure, width_ratios=[WIDE, *[NARROW] * columns])
    cells = [grid[:, 0]] if n_left == 1 else [grid[row, 0] for row in range(n_left)]
    left = [figure.add_subplot(cell) for cell in cells]
    places = [(row, 1 + column) for row in range(rows) for column in range(columns)]
    return figure, left, [figure.add_subplot(grid[place]) for place in places[:n_right]]


def _draw_losses(
    axes: Axes,
    curves: Mapping[str, Sequence[History]],
    looks: Mapping[str, _Look],
    loss: Loss | None,
    chosen: str | None,
) -> list[Artist]:
    """Smoothed losses, one line per training; what the legend says of the panel alone."""
    drawn = {v: [h for h in curves[v] if len(h.step) >= ROWS_OF_A_CURVE] for v in curves}
    marks = without_course(sum(map(len, curves.values())) - sum(map(len, drawn.values())))
    for variant, histories in drawn.items():
        for history in histories:
            width = 2.2 if variant == chosen else 1.2
            look = looks[variant].of_line | {"lw": width, "gid": variant}
            axes.plot(history.step, smooth(history.loss, history.step), **look)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(True, axis="y")
    axes.set(xlim=(0, None), xlabel="step (weight updates)")
    axes.set_ylabel("training loss")
    axes.set_title(loss.in_words if loss else "different losses")
    if loss is None or loss.of_undecided is None:
        return marks
    how = {"color": "0.6", "lw": 1.0, "ls": "--", "label": "undecided network, ln 2"}
    return [axes.axhline(loss.of_undecided, **how, gid="undecided"), *marks]


def _watched(held_out: Mapping[str, Sequence[HeldOut]]) -> str | None:
    """Measure of topology that any training was watched by, None for none."""
    watched = [one for trainings in held_out.values() for one in trainings if len(one.step)]
    return next((m for m in WATCHED if any(m in one.values for one in watched)), None)


def _draw_courses(
    axes: Axes,
    held_out: Mapping[str, Sequence[HeldOut]],
    looks: Mapping[str, _Look],
    metric: str,
) -> None:
    """Course of a metric on held-out slices, one line per training."""
    for variant, trainings in held_out.items():
        for one in trainings:
            if metric in one.values:
                look = looks[variant].of_line | {"lw": 1.2, "marker": ".", "ms": 4, "gid": variant}
                axes.plot(one.step, one.values[metric], **look)
    axes.grid(True, axis="y")
    axes.set(xlim=(0, None), xlabel="step (weight updates)")
    axes.set_title(f"{MEASURES[metric].title} on held-out slices {MEASURES[metric].arrow}")


def _draw_scores(
    axes: Axes,
    by_method: Mapping[str, Mapping[str, Sequence[float]]],
    looks: Mapping[str, _Look],
    chosen: str | None,
) -> None:
    """Points of all trainings over their variants, and the means."""
    variants = list(looks)
    places, numeric = positions(variants)
    if chosen is not None:
        axes.axvline(places[variants.index(chosen)], color="0.9", lw=9, zorder=0, gid="chosen")
    for k, (method, values) in enumerate(by_method.items()):
        # Categories have room for methods beside each other.
        shift = 0 if numeric else ASIDE * (k - (len(by_method) - 1) / 2)
        place_of = {v: place + shift for v, place in zip(variants, places, strict=True)}
        shown = sorted((v for v in variants if values.get(v)), key=place_of.get)
        for variant in shown:
            across, marker = [place_of[variant]] * len(values[variant]), MARKERS[k % len(MARKERS)]
            look = looks[variant].of_points | {"ms": 5, "gid": variant}
            axes.plot(across, values[variant], marker, **look)
        means = [statistics.fmean(values[variant]) for variant in shown]
        how = {"ls": "-"} if numeric else {"ls": "", "marker": "_", "ms": 14 / len(by_method)}
        where = [place_of[variant] for variant in shown]
        axes.plot(where, means, color="0.45", lw=1.0, zorder=1, gid=f"mean {method}", **how)
    axes.grid(True, axis="y")
    axes.locator_params(axis="y", nbins=5)
    _mark_variants(axes, variants, places, numeric)


def _mark_variants(
    axes: Axes, variants: Sequence[str], places: Sequence[float], numeric: bool
) -> None:
    """Names of the variants below a panel, turned where they are long."""
    if numeric:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(-0.5, len(variants) - 0.5)
    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    turned = sum(map(len, variants)) > SHORT_NAMES
    how = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    labels = axes.set_xticks(list(places), list(variants), fontsize=7.5, **how)
    if numeric and not turned:
        _part_neighbours(labels)


def _part_neighbours(labels: Sequence[Tick]) -> None:
    """Let the labels of numbers that lie close together lean away from each other."""
    for left, right in pairwise(sorted(labels, key=lambda tick: tick.get_loc())):
        if right.get_loc() / left.get_loc() < CLOSE:
            left.label1.set_ha("right")
            right.label1.set_ha("left")


def _legend(looks: Mapping[str, _Look], methods: Sequence[str], chosen: str | None) -> list[Artist]:
    """Variants by colour and dash, methods by marker where there are several."""
    entries = [
        Line2D(
            [],
            [],
            **look.of_line,
            mfc=look.of_points["mfc"],
            lw=2.2 if variant == chosen else 1.4,
            marker="o",
            ms=5,
            label=f"{variant} (chosen)" if variant == chosen else variant,
        )
        for variant, look in looks.items()
    ]
    if len(methods) > 1:
        entries += [
            Line2D([], [], color="0.4", ls="", marker=MARKERS[k % len(MARKERS)], ms=5, label=method)
            for k, method in enumerate(methods)
        ]
    return entries
