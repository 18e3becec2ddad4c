"""Numbers that others have printed, with their digits as printed."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import yaml

from unetcore.errors import InputError
from unetcore.tables.measurements import MEASURES
from unetcore.tables.rows import PRINTED, Row

NOTE_ON_OWN = (
    "These are images of your own: compare methods with each other here, and none of their numbers "
    "with those of other images. best-threshold takes the bright or the dark side of a grey level, "
    "whichever is better."
)


@dataclass(frozen=True)
class Printed:
    """What others have printed for one table: heading, notes and rows."""

    title: str
    notes: tuple[str, ...]
    rows: tuple[Row, ...]


def read_printed(path: Path, table: str) -> Printed:
    """Read what others have printed for one table.

    Parameters
    ----------
    path : YAML file with one entry per table, as workflow/schemas/paper.schema.yaml says.
    table : name of the table.

    Returns
    -------
    Printed; its numbers keep the digits of the file.

    Raises
    ------
    InputError : no such file, or no entry for the table.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    # BaseLoader leaves every number a string, so that 0.0010 does not become 0.001.
    entries = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)
    if table not in entries:
        raise InputError(f"{path}: table {table!r} is not among {', '.join(entries)}")
    entry = entries[table]
    rows = [
        _row(block, line, metric)
        for block in entry["printed"]
        for line in block["rows"]
        for metric in MEASURES
        if metric in line
    ]
    return Printed(entry["title"], tuple(entry["notes"]), tuple(rows))


def nothing_printed(title: str) -> Printed:
    """What others have printed of images of one's own."""
    return Printed(title, (NOTE_ON_OWN,), ())


def _row(block: Mapping[str, object], line: Mapping[str, str], metric: str) -> Row:
    """One number of a line of a printed block."""
    return Row(
        dataset=block["dataset"],
        method=PRINTED + line["group"],
        metric=metric,
        value=Decimal(line[metric]),
        sd=None,
        n=None,
        measured_on=block["measured_on"],
        provenance=block["source"] + (f"; rank {line['rank']}" if "rank" in line else ""),
    )
