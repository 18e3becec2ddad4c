"""Figure of the losses: how the trainings of an experiment went, and on held-out slices."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

from unetcore.figures.curves import ROWS_OF_A_CURVE, smooth, without_course
from unetcore.figures.panels import letter, new_figure
from unetcore.figures.style import DASHES, LINES, styled
from unetcore.tables import MEASURES
from unetcore.training_log import HeldOut, History

FEW = 4  # trainings; the noise of more would hide the curves
DROP = 0.5  # a steady learning rate that falls below this part of it drops
COLUMNS = 3  # panels of held-out values side by side
WIDTH, TALL, LOW = 7.2, 3.6, 1.9  # inches: the figure; the panel of the losses; a row of the others
WIDE_SPAN = 5  # errors whose largest is so many times the smallest stand on a logarithmic scale

Training = tuple[str, int]  # fold and seed


@dataclass(frozen=True)
class Loss:
    """What a training makes small.

    Attributes
    ----------
    reduction : of the cross entropy over the pixels of a tile: "weighted-mean", "mean" or "sum".
    dice : weight of the Dice loss that is added, 0 for none.

    Examples
    --------
    >>> Loss("weighted-mean", 1).in_words, Loss("sum", 0.5).in_words
    ('weighted cross entropy + Dice', 'weighted cross entropy (sum) + 0.5 Dice')
    """

    reduction: str
    dice: float

    @property
    def in_words(self) -> str:
        """Name; the cross entropy is that of Eq. 1."""
        reduction = "" if self.reduction == "weighted-mean" else f" ({self.reduction})"
        dice = "" if self.dice == 0 else " + Dice" if self.dice == 1 else f" + {self.dice:g} Dice"
        return f"weighted cross entropy{reduction}{dice}"

    @property
    def of_undecided(self) -> float | None:
        """What a network has that gives both classes 1/2; None where it depends on the labels."""
        return math.log(2) if self == Loss("weighted-mean", 0) else None


@styled
def loss_curves(
    histories: Mapping[Training, History],
    loss: Loss,
    title: str = "",
    validations: Mapping[Training, HeldOut] | None = None,
) -> Figure:
    """Loss over the training steps, one curve per training; values on held-out slices below.

    Parameters
    ----------
    histories : by (fold, seed). Colours tell folds apart, dashes tell seeds apart. Trainings with
        less than two rows have no course to draw: they are counted in the legend.
    loss : what it is.
    title : heading of the figure.
    validations : by (fold, seed), of the trainings that were validated; those without a row are
        left out.

    Returns
    -------
    Figure: the curves are smoothed; behind them, unless they are many, stand the losses as logged.
    A dashed line marks the loss of a network that cannot decide, where that is ln 2; a dotted one
    each place where the learning rate drops. If there are validations, a panel for the cross
    entropy, which is weighted and without Dice whatever the loss, and for each
    metric follows, unsmoothed, with a dot where a training was best.
    """
    measured = {key: one for key, one in (validations or {}).items() if len(one.step)}
    drawn = {key: one for key, one in histories.items() if len(one.step) >= ROWS_OF_A_CURVE}
    looks = _looks([*drawn, *measured])
    names = list(dict.fromkeys(name for one in measured.values() for name in one.values))
    figure, axes, panels = _panels(title, len(names))
    _draw_curves(axes, drawn, looks)
    marks = _draw_marks(axes, drawn, loss.of_undecided)
    _scale(axes, loss)
    for panel, name in zip(panels, names, strict=True):
        _draw_held_out(panel, name, measured, looks)
        panel.set_xlim(axes.get_xlim())
    if panels:
        marks.append(Line2D([], [], color="0.4", ls="", marker="o", ms=4, label="best of a run"))
        axes.set_title("augmented training tiles")
        letter([axes, *panels])
    marks += without_course(len(histories) - len(drawn))
    axes.figure.legend(handles=_names(looks) + marks, loc="outside right center", handlelength=2.6)
    return figure


def _looks(trainings: Iterable[Training]) -> dict[Training, dict]:
    """Colour and dashes of each training."""
    trainings = list(dict.fromkeys(trainings))
    folds = list(dict.fromkeys(fold for fold, _ in trainings))
    seeds = list(dict.fromkeys(seed for _, seed in trainings))
    return {
        (fold, seed): {
            "color": LINES[folds.index(fold) % len(LINES)],
            "ls": DASHES[seeds.index(seed) % len(DASHES)],
        }
        for fold, seed in trainings
    }


def _name(fold: str, seed: int) -> str:
    return f"fold {fold}, seed {seed}"


def _names(looks: Mapping[Training, dict]) -> list[Line2D]:
    """Legend of the curves; of several folds and several seeds, each by itself."""
    folds = {fold: look["color"] for (fold, _), look in looks.items()}
    seeds = {seed: look["ls"] for (_, seed), look in looks.items()}
    if len(folds) < 2 or len(seeds) < 2:
        return [Line2D([], [], **look, label=_name(*training)) for training, look in looks.items()]
    by_fold = [Line2D([], [], color=color, label=f"fold {fold}") for fold, color in folds.items()]
    by_seed = [Line2D([], [], color="0.3", ls=ls, label=f"seed {s}") for s, ls in seeds.items()]
    return by_fold + by_seed


def _panels(title: str, n_values: int) -> tuple[Figure, Axes, list[Axes]]:
    """Figure, its panel for the losses, and below that one for each held-out value."""
    if not n_values:
        figure = new_figure(WIDTH, TALL, title)
        return figure, figure.subplots(), []
    rows = -(-n_values // COLUMNS)
    figure = new_figure(WIDTH, TALL + rows * LOW, title)
    upper, lower = figure.subfigures(2, 1, height_ratios=[TALL, rows * LOW])
    axes = upper.subplots()
    grid = lower.add_gridspec(rows, COLUMNS)
    panels = [lower.add_subplot(grid[divmod(number, COLUMNS)]) for number in range(n_values)]
    for panel in panels[::COLUMNS]:
        panel.set_ylabel("held-out slices")
    for panel in panels[-COLUMNS:]:  # the lowest of each column
        panel.set_xlabel("step")
    return figure, axes, panels


def _draw_curves(
    axes: Axes, histories: Mapping[Training, History], looks: Mapping[Training, dict]
) -> None:
    """Smoothed losses and, of few trainings, those logged."""
    for (fold, seed), history in histories.items():
        look = looks[fold, seed]
        if len(histories) <= FEW:
            axes.plot(
                history.step, history.loss, color=look["color"], alpha=0.25, lw=0.7, label="_logged"
            )
        smoothed, name = smooth(history.loss, history.step), _name(fold, seed)
        axes.plot(history.step, smoothed, **look, lw=1.5, label=name)


def _draw_held_out(
    axes: Axes, name: str, measured: Mapping[Training, HeldOut], looks: Mapping[Training, dict]
) -> None:
    """One value on held-out slices, of every training that has it."""
    measure = MEASURES.get(name)
    rising = measure is not None and measure.arrow == "↑"
    best = np.nanargmax if rising else np.nanargmin
    chosen = {key: one for key, one in measured.items() if name in one.values}
    for key, one in chosen.items():
        values = one.values[name]
        axes.plot(one.step, values, **looks[key], lw=1.1, label=f"_{name}")
        at = best(values)
        axes.plot(
            one.step[at], values[at], color=looks[key]["color"], marker="o", ms=4, label="_best"
        )
    everything = np.concatenate([one.values[name] for one in chosen.values()])
    if not rising and everything.min() > 0 and everything.max() > WIDE_SPAN * everything.min():
        _logarithmic(axes)
    axes.grid(True, axis="y")
    axes.set_title(f"{measure.title} {measure.arrow}" if measure else "cross entropy ↓")


def _draw_marks(
    axes: Axes, histories: Mapping[Training, History], undecided: float | None
) -> list[Artist]:
    """Lines where learning rates drop and at the loss of an undecided network; their legend."""
    drop, level = ({"color": "0.6", "lw": 1.0, "ls": dashes} for dashes in (":", "--"))
    marks = []
    if undecided is not None:
        axes.axhline(undecided, **level, label="_undecided")
        marks.append(Line2D([], [], **level, label="undecided network, ln 2"))
    drops = sorted({step for history in histories.values() for step in _drops(history)})
    for step in drops:
        axes.axvline(step, **drop, label="_drop")
    if drops:
        marks.append(Line2D([], [], **drop, label="learning rate drops"))
    return marks


def _scale(axes: Axes, loss: Loss) -> None:
    """Steps from 0 on; losses on a logarithmic scale."""
    _logarithmic(axes)
    axes.grid(True, axis="y")
    axes.set(xlim=(0, None), xlabel="step (weight updates)", ylabel=loss.in_words)


def _logarithmic(axes: Axes) -> None:
    """Logarithmic scale of the values with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(NullLocator())


def _drops(history: History) -> np.ndarray:
    """Steps at which a steady learning rate fell to less than half."""
    rate = history.learning_rate
    was_steady = rate[:-2] == rate[1:-1]
    return history.step[2:][was_steady & (rate[2:] < DROP * rate[1:-1])]
