"""What trainings left on record, read back: losses, and measurements on held-out slices."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetcore.errors import InputError
from unetcore.tables import MEASURES


@dataclass(frozen=True)
class History:
    """A training as its history.csv tells it; n = 0 where its course was not kept.

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
class HeldOut:
    """What was measured on held-out slices during a training, as its validation.csv tells it.

    Attributes
    ----------
    step : (n,) weight updates done.
    values : (n,) arrays by name: "loss" and the metrics.
    """

    step: np.ndarray
    values: Mapping[str, np.ndarray]


def read_history(path: Path) -> History:
    """Read a history.csv; one without a row is of a training whose course was not kept.

    Raises
    ------
    InputError : no such file, or a column is missing.
    """
    names, rows = _read(path)
    columns = ("step", "loss", "learning_rate")
    if missing := [column for column in columns if column not in names]:
        raise InputError(f"{path}: column {missing[0]!r} is missing")
    return History(*(_column(rows, column) for column in columns))


def read_validation(path: Path) -> HeldOut:
    """Read a validation.csv; one without a row is that of a training that was not validated.

    Raises
    ------
    InputError : no such file, or its columns are not step, seconds, loss and metrics.
    """
    names, rows = _read(path)
    if names[:3] != ["step", "seconds", "loss"] or not MEASURES.keys() >= set(names[3:]):
        raise InputError(
            f"{path}: columns {', '.join(names)}: need step, seconds, loss and names of metrics"
        )
    return HeldOut(_column(rows, "step"), {name: _column(rows, name) for name in names[2:]})


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Names of the columns of a CSV file, and its rows."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or ()), list(reader)


def _column(rows: Iterable[Mapping[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])
