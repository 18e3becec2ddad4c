"""CSV text, as every table for programs is written."""

import csv
import io
from collections.abc import Iterable, Sequence


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Write a table as CSV, lines ended by a newline alone; None is an empty cell.

    Examples
    --------
    >>> csv_lines(("fold", "seed"), [("0", 1), ("1", None)])
    'fold,seed\n0,1\n1,\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
