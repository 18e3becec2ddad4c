"""Figure of claims: the effect that tests each, its interval, and the verdict."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unetcore.figures.panels import new_figure
from unetcore.figures.style import BLUE, ORANGE, styled

ROW, HEAD = 0.52, 0.9  # inches, height of a claim, and of what is above and below
WIDTH = 10.5  # inches
CHARACTERS = 52  # of a claim in a line
NUMBERS = "0.35"  # grey of the undecided


@dataclass(frozen=True)
class Effect:
    """What a claim was tested by, as far as it is drawn.

    Attributes
    ----------
    claim : the sentence.
    text : effect and interval, written.
    verdict : in words.
    sign : 1 where the claim is supported, -1 where it is not, 0 where nothing is decided.
    effect : mean gain.
    low, high : its interval, None for a single pair; where there is a limit, the range of gains.
    gains : of each seed, averaged over its folds; of each fold where there is one seed; of every
        fold and seed where there is a limit.
    ratio : whether these are quotients, of which 1 is nothing.
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
    """Effect and interval of every claim, each on a scale of its own.

    Parameters
    ----------
    effects : one per claim, from top to bottom.
    confidence : of the intervals, in (0, 1).

    Returns
    -------
    Figure: right of the line through nothing a claim holds. Dots are the gains, the bar is the
    interval of their mean, or their range where there is a limit; a claim is decided where the bar
    does not touch the line.
    """
    figure = new_figure(WIDTH, ROW * len(effects) + HEAD)
    axes = figure.add_subplot()
    axes.axvline(0, color="0.35", lw=0.8, gid="nothing")
    for row, effect in enumerate(effects):
        _draw(axes, row, effect)
    axes.set(ylim=(len(effects) - 0.5, -0.5), xlim=(-1.1, 1.1), xticks=[-1, 0, 1])
    axes.set_xticklabels(["against the claim", "no effect", "for the claim"])
    names = ["\n".join(textwrap.wrap(effect.claim, CHARACTERS)) for effect in effects]
    axes.set_yticks(range(len(effects)), names, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title(
        f"effect with {confidence:.0%} interval, or range where there is a limit; hollow: a single "
        "pair; each row has its own scale"
    )
    return figure


def _draw(axes: Axes, row: int, effect: Effect) -> None:
    """Dots, interval and words of one claim."""
    colour = {1: BLUE, -1: ORANGE, 0: NUMBERS}[effect.sign]
    place = _scale(effect)
    shown = [place(gain) for gain in effect.gains]
    axes.plot(shown, [row + 0.16] * len(shown), ".", color=colour, alpha=0.45, ms=4, gid="gains")
    if effect.low is not None:
        ends = [place(effect.low), place(effect.high)]
        axes.plot(
            ends, [row - 0.1] * 2, color=colour, lw=2.6, solid_capstyle="butt", gid="interval"
        )
    filled = colour if effect.low is not None else "white"  # a single pair has no interval
    axes.plot(place(effect.effect), row - 0.1, "o", color=colour, mfc=filled, ms=6, gid="effect")
    how = {"transform": axes.get_yaxis_transform(), "va": "center", "color": colour}
    axes.text(1.02, row - 0.16, effect.verdict, fontweight="bold", fontsize=8.5, **how)
    axes.text(1.02, row + 0.22, effect.text, fontsize=8, **how)


def _scale(effect: Effect):
    """Function from a gain to its place between -1 and 1; quotients go by their logarithm."""
    measure = math.log if effect.ratio else float
    bounds = [b for b in (effect.low, effect.high) if b is not None]
    largest = max(abs(measure(v)) for v in (effect.effect, *bounds, *effect.gains))
    return lambda value: measure(value) / largest if largest else 0.0
