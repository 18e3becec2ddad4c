"""Figure of claims: the effect that tests each, its interval, and the verdict."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from unetcore.figures.panels import new_figure
from unetcore.figures.style import BLUE, ORANGE, styled

ROW, HEAD, FOOT = 0.52, 0.5, 0.75  # inches: a claim, what is above them all, a scale
WIDTH = 10.5  # inches
CHARACTERS = 52  # of a claim in a line
NUMBERS = "0.35"  # grey of the undecided
MARGIN = 1.08  # of a scale, beyond the largest gain
WIDEST = 1.5  # share at which a scale ends, whatever lies beyond
ARROWS = {-1: "<", 1: ">"}  # where an interval goes on beyond the scale, or an effect lies there


@dataclass(frozen=True)
class Effect:
    """What a claim was tested by, as far as it is drawn.

    Attributes
    ----------
    claim : the sentence.
    text : effect and interval, written.
    verdict : in words.
    sign : 1 where the claim is supported, -1 where it is not, 0 where nothing is decided.
    effect : mean gain, as a share of the other side or of the limit, or a quotient.
    low, high : its interval, None for a single seed; where there is a limit, the range of gains.
    gains : of each seed, averaged over its folds; of every fold and seed where there is a limit.
    ratio : whether these are quotients, of which 1 is no effect, and not shares.
    """

    claim: str
    text: str
    verdict: str
    sign: int
    effect: float
    low: float | None
    high: float | None
    gains: Sequence[float]
    ratio: bool


@styled
def claim_intervals(effects: Sequence[Effect], confidence: float) -> Figure:
    """Effect and interval of every claim, all quotients on one scale, and all shares on another.

    Parameters
    ----------
    effects : one per claim, from top to bottom; quotients are drawn above the others.
    confidence : of the intervals, in (0, 1).

    Returns
    -------
    Figure: right of the line without effect a claim holds. Dots are the gains, the bar is the
    interval of their mean, or their range where there is a limit; a claim is decided where the bar
    does not touch the line. A scale reaches as far as the gains, but not beyond `WIDEST`; arrows
    at its ends stand for what lies further out, and dots at its ends for gains that do.
    """
    kinds = [[e for e in effects if e.ratio], [e for e in effects if not e.ratio]]
    kinds = [kind for kind in kinds if kind]
    heights = [ROW * len(kind) + FOOT for kind in kinds]
    figure = new_figure(WIDTH, sum(heights) + HEAD)
    panels = figure.subplots(len(kinds), squeeze=False, height_ratios=heights)[:, 0]
    for axes, kind in zip(panels, kinds, strict=True):
        _panel(axes, kind)
    panels[0].set_title(
        f"effect with {confidence:.0%} interval over seeds, or range where there is a limit; "
        "hollow: one seed"
    )
    return figure


def _panel(axes: Axes, effects: Sequence[Effect]) -> None:
    """Claims on one scale."""
    ratio = effects[0].ratio
    axes.set_ylim(len(effects) - 0.5, -0.5)
    limits = (_quotient_scale if ratio else _share_scale)(axes, effects)
    axes.axvline(1 if ratio else 0, color="0.35", lw=0.8, gid="no effect")
    for row, effect in enumerate(effects):
        _draw(axes, row, effect, limits)
    names = ["\n".join(textwrap.wrap(effect.claim, CHARACTERS)) for effect in effects]
    axes.set_yticks(range(len(effects)), names, fontsize=8)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.spines["left"].set_visible(False)


def _share_scale(axes: Axes, effects: Sequence[Effect]) -> tuple[float, float]:
    """Gains in per cent, as far on one side as on the other."""
    largest = max(abs(gain) for e in effects for gain in (e.effect, *e.gains)) * MARGIN or 1.0
    largest = min(largest, WIDEST)
    axes.set_xlim(-largest, largest)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("gain, per cent of the other side or of the limit (right: for the claim)")
    return -largest, largest


def _quotient_scale(axes: Axes, effects: Sequence[Effect]) -> tuple[float, float]:
    """Quotients by their logarithm, from 1 or the smallest to the largest."""
    gains = [gain for e in effects for gain in (e.effect, *e.gains)]
    limits = min(0.5, min(gains) / 2), max(2.0, 2 * max(gains))
    axes.set(xscale="log", xlim=limits)
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("times as fast (right of 1: for the claim)")
    return limits


def _draw(axes: Axes, row: int, effect: Effect, limits: tuple[float, float]) -> None:
    """Dots, interval and words of one claim."""
    colour = {1: BLUE, -1: ORANGE, 0: NUMBERS}[effect.sign]
    gains = [_within(gain, limits) for gain in effect.gains]
    axes.plot(gains, [row + 0.16] * len(gains), ".", color=colour, alpha=0.45, ms=4, gid="gains")
    if effect.low is not None:
        _bar(axes, row - 0.1, (effect.low, effect.high), limits, colour)
    filled = colour if effect.low is not None else "white"  # a single seed has no interval
    shown = _within(effect.effect, limits)
    marker = "o" if shown == effect.effect else ARROWS[1 if effect.effect > shown else -1]
    how = {"color": colour, "mfc": filled, "ms": 6, "clip_on": False}
    axes.plot(shown, row - 0.1, marker, **how, gid="effect")
    how = {"transform": axes.get_yaxis_transform(), "va": "center", "color": colour}
    axes.text(1.02, row - 0.16, effect.verdict, fontweight="bold", fontsize=8.5, **how)
    axes.text(1.02, row + 0.22, effect.text, fontsize=8, **how)


def _bar(axes: Axes, y: float, ends: tuple[float, float], limits: tuple[float, float], colour):
    """Interval as far as the scale goes, with an arrow where it goes on."""
    axes.plot(
        [_within(end, limits) for end in ends],
        [y] * 2,
        color=colour,
        lw=2.6,
        solid_capstyle="butt",
        gid="interval",
    )
    for side, end, edge in zip((-1, 1), ends, limits, strict=True):
        if side * end > side * edge and ends[0] < limits[1] and ends[1] > limits[0]:
            axes.plot(edge, y, ARROWS[side], color=colour, ms=7, clip_on=False, gid="goes on")


def _within(value: float, limits: tuple[float, float]) -> float:
    """Nearest place on the scale."""
    return min(max(value, limits[0]), limits[1])
