"""The rows of a table, one per number: from measurements to tidy CSV."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from itertools import groupby
from pathlib import Path

from unetcore.tables.grouping import grouped
from unetcore.tables.measurements import (
    MEASURES,
    Measurement,
    describe_network,
    describe_provenance,
)
from unetcore.tidy import csv_lines

PRINTED = "paper:"  # prefix of the methods whose numbers were read, not measured here


@dataclass(frozen=True)
class Row:
    """One number of a table.

    Attributes
    ----------
    dataset, method, metric : names; the method of a printed number begins with "paper:".
    value : mean over folds and seeds; a printed number is a Decimal with its digits as printed.
    sd : sample standard deviation (n - 1 in the denominator), None for n = 1 and printed numbers.
    n : number of predictions behind the mean, None for printed numbers.
    measured_on : on which images.
    provenance : where the number comes from.
    network : what was trained, in a few words for the readable tables; not in the CSV.
    """

    dataset: str
    method: str
    metric: str
    value: float | Decimal
    sd: float | None
    n: int | None
    measured_on: str
    provenance: str
    network: str = ""

    @property
    def is_printed(self) -> bool:
        """Whether the number was read, not measured here."""
        return self.method.startswith(PRINTED)

    @property
    def images(self) -> tuple[str, str]:
        """Dataset, and which of its images: only numbers on the same ones can be compared."""
        return self.dataset, self.measured_on


COLUMNS = tuple(field.name for field in fields(Row) if field.name != "network")


def summarise(measurements: Iterable[Measurement]) -> list[Row]:
    """Mean and standard deviation of every metric over folds and seeds.

    Measurements are pooled only if experiment, dataset, method *and* the images they were made on
    are the same.

    Parameters
    ----------
    measurements : in the order in which methods shall appear.

    Returns
    -------
    list of Row.
    """
    alike = grouped(measurements, lambda m: (m.experiment, m.dataset, m.method, m.measured_on))
    return [row for group in alike.values() for row in _pooled(group)]


def merge(printed: Sequence[Row], measured: Sequence[Row]) -> list[Row]:
    """All rows of a table in reading order.

    Dataset by dataset: first the earliest printed block, then what was measured here, then later
    printed blocks.

    Parameters
    ----------
    printed, measured : rows, each in its own order.

    Returns
    -------
    list of Row. Printed rows of datasets that were not measured are kept, at the end.
    """
    rows = []
    for dataset in dict.fromkeys(row.dataset for row in (*measured, *printed)):
        theirs = [row for row in printed if row.dataset == dataset]
        earliest = list(next((block for _, block in groupby(theirs, lambda r: r.images)), ()))
        rows += earliest
        rows += [row for row in measured if row.dataset == dataset]
        rows += theirs[len(earliest) :]
    return rows


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write a table in tidy form, one row per number, columns as in `COLUMNS`."""
    lines = ([getattr(row, column) for column in COLUMNS] for row in rows)
    text = csv_lines(COLUMNS, ([c if c is None else plain(c) for c in line] for line in lines))
    Path(path).write_text(text, "utf-8")


def plain(cell: object) -> str:
    """Format a value for programs; a printed number keeps its digits.

    Examples
    --------
    >>> plain(Decimal("0.0000050"))  # where str writes 0.0000050 as 5.0E-6
    '0.0000050'
    """
    return f"{cell:f}" if isinstance(cell, Decimal) else str(cell)


def _pooled(group: Sequence[Measurement]) -> list[Row]:
    """Rows of measurements that are alike, one for every metric that any of them has."""
    first, provenance = group[0], describe_provenance(group)
    rows = []
    for metric in MEASURES:
        if values := [m.values[metric] for m in group if metric in m.values]:
            row = Row(
                dataset=first.dataset,
                method=first.method,
                metric=metric,
                value=statistics.fmean(values),
                sd=statistics.stdev(values) if len(values) > 1 else None,
                n=len(values),
                measured_on=first.measured_on,
                provenance=provenance,
                network=describe_network(group),
            )
            rows.append(row)
    return rows
