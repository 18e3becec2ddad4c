"""Layout of a readable table: methods as lines, metrics as columns, one block per set of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from unetcore.tables.grouping import distinct, grouped
from unetcore.tables.measurements import MEASURES
from unetcore.tables.rows import PRINTED, Row, plain

PROVENANCE_HEADING = "Where each number comes from"
HOW_TO_READ = (
    "Smaller is better where ↓ stands, larger where ↑ stands. Our numbers are mean ± standard "
    "deviation over n predictions (folds and seeds). Blocks differ in images, measures or date: "
    "compare within a block only. best-threshold is the grey level that is best on the very images "
    "it is scored on, by Rand error for membranes and by IoU for cells (level 0 calls every pixel "
    "that is not black a cell)."
)


@dataclass(frozen=True)
class Block:
    """Part of a readable table whose numbers were measured on the same images.

    Attributes
    ----------
    dataset, measured_on : what the heading says.
    source : publication of printed numbers, None for our own.
    header : titles of the columns.
    body : one tuple of cells per method; a cell without a number is empty.
    """

    dataset: str
    measured_on: str
    source: str | None
    header: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]

    @property
    def heading(self) -> str:
        """Dataset, and who measured."""
        return f"{self.dataset}: {'printed by others' if self.source else 'measured here'}"


def blocks(rows: Sequence[Row]) -> list[Block]:
    """Arrange rows for reading: methods as lines, metrics as columns, one block per set of images.

    Parameters
    ----------
    rows : rows of a table, in reading order.

    Returns
    -------
    list of Block; measured and printed numbers are never in one block.
    """
    return [_block(group) for group in grouped(rows, lambda r: (r.images, r.is_printed)).values()]


def sources(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Where the numbers of a table come from.

    Parameters
    ----------
    rows : rows of a table.

    Returns
    -------
    list of (names, origin): every origin once, with the dataset and the methods whose numbers come
    from it.
    """
    found = []
    for (dataset, origin), group in grouped(rows, lambda r: (r.dataset, _origin(r))).items():
        if group[0].is_printed:
            names = "printed by others"
        else:
            names = ", ".join(distinct(row.method for row in group))
        found.append((f"{dataset}, {names}", origin))
    return found


def _block(rows: Sequence[Row]) -> Block:
    """Lines and columns of rows that were measured on the same images."""
    first = rows[0]
    metrics = [metric for metric in MEASURES if any(row.metric == metric for row in rows)]
    header = ["method", *(f"{MEASURES[m].title} {MEASURES[m].arrow}" for m in metrics)]
    # Two experiments may share a method; their provenance tells them apart.
    methods = grouped(rows, lambda row: (row.method, _origin(row))).values()
    return Block(
        dataset=first.dataset,
        measured_on=first.measured_on,
        source=_origin(first) if first.is_printed else None,
        header=tuple(header if first.is_printed else [*header, "n", "trained"]),
        body=tuple(_line(of_method, metrics) for of_method in methods),
    )


def _line(rows: Sequence[Row], metrics: Sequence[str]) -> tuple[str, ...]:
    """Cells of one method: its name, its numbers and, for ours, how many and what was trained."""
    first, cells = rows[0], {row.metric: _cell(row) for row in rows}
    line = [first.method.removeprefix(PRINTED), *(cells.get(metric, "") for metric in metrics)]
    if not first.is_printed:
        line += [" / ".join(distinct(row.n for row in rows)), first.network]
    return tuple(line)


def _cell(row: Row) -> str:
    """Format a number for people: 0.0382, or 0.0382 ± 0.0021."""
    if isinstance(row.value, Decimal):
        return plain(row.value)
    decimals = MEASURES[row.metric].decimals
    spread = "" if row.sd is None else f" ± {row.sd:.{decimals}f}"
    return f"{row.value:.{decimals}f}{spread}"


def _origin(row: Row) -> str:
    """Provenance without what differs between the lines of one printed block."""
    return row.provenance.partition("; rank ")[0] if row.is_printed else row.provenance
