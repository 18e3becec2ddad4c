"""Figure of the losses: how the trainings of an experiment went."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator
from scipy import ndimage

from unetcore.errors import InputError
from unetcore.figures.panels import new_figure
from unetcore.figures.style import LINES, styled

DASHES = ("-", "--", ":", "-.")
UNDECIDED_LOSS = float(np.log(2))  # cross entropy of a network that gives both classes 1/2
FEW = 4  # trainings; the noise of more would hide the curves
DROP = 0.5  # a learning rate that falls below this part of the one before is a drop


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


@styled
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
    figure = new_figure(7.2, 3.6)
    axes = figure.subplots()
    _draw_curves(axes, histories)
    curves, _ = axes.get_legend_handles_labels()
    marks = _draw_marks(axes, histories)
    _scale(axes)
    axes.set_title(title)
    figure.legend(handles=curves + marks, loc="outside right upper", handlelength=2.6)
    return figure


def _draw_curves(axes: Axes, histories: Mapping[tuple[str, int], History]) -> None:
    """Smoothed losses and, of few trainings, those logged."""
    folds = list(dict.fromkeys(fold for fold, _ in histories))
    seeds = list(dict.fromkeys(seed for _, seed in histories))
    for (fold, seed), history in histories.items():
        colour = LINES[folds.index(fold) % len(LINES)]
        dashes = DASHES[seeds.index(seed) % len(DASHES)]
        if len(histories) <= FEW:
            axes.plot(history.step, history.loss, color=colour, alpha=0.25, lw=0.7, label="_logged")
        smoothed, name = _smooth(history.loss), f"fold {fold}, seed {seed}"
        axes.plot(history.step, smoothed, color=colour, ls=dashes, lw=1.5, label=name)


def _draw_marks(axes: Axes, histories: Mapping[tuple[str, int], History]) -> list[Artist]:
    """Lines where learning rates drop and at the loss of an undecided network; their legend."""
    drop, undecided = ({"color": "0.6", "lw": 1.0, "ls": dashes} for dashes in (":", "--"))
    for step in sorted({step for history in histories.values() for step in _drops(history)}):
        axes.axvline(step, **drop, label="_drop")
    axes.axhline(UNDECIDED_LOSS, **undecided, label="_undecided")
    return [
        Line2D([], [], **undecided, label="undecided network, ln 2"),
        Line2D([], [], **drop, label="learning rate drops"),
    ]


def _scale(axes: Axes) -> None:
    """Steps from 0 on; losses on a logarithmic scale with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(True, axis="y")
    axes.set(
        xlim=(0, None), xlabel="step (weight updates)", ylabel="weighted cross entropy (Eq. 1)"
    )


def _smooth(losses: np.ndarray) -> np.ndarray:
    """Geometric mean in a Gaussian window of about a twentieth of the values."""
    return np.exp(
        ndimage.gaussian_filter1d(np.log(losses), max(1, len(losses) / 40), mode="nearest")
    )


def _drops(history: History) -> np.ndarray:
    """Steps at which the learning rate fell to less than half."""
    rate = history.learning_rate
    return history.step[1:][rate[1:] < DROP * rate[:-1]]
