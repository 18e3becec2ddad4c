"""A table as Markdown, for people."""

import statistics
from collections.abc import Sequence

from unetcore.tables.layout import HOW_TO_READ, PROVENANCE_HEADING, blocks, sources
from unetcore.tables.rows import Row


def markdown(title: str, rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Readable twin of a table, in Markdown.

    Parameters
    ----------
    title : heading.
    rows : in reading order.
    notes : paragraphs below the blocks.

    Returns
    -------
    str: title, how to read it, the blocks, the notes, and where each number comes from.
    """
    parts = [f"# {title}", HOW_TO_READ]
    for block in blocks(rows):
        source = f" ({block.source})" if block.source else ""
        parts += [
            f"## {block.heading}",
            f"Measured on: **{block.measured_on}**{source}",
            markdown_table(block.header, block.body),
        ]
    if notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    origins = [f"- **{names}**: {origin}" for names, origin in sources(rows)]
    parts += [f"## {PROVENANCE_HEADING}", "\n".join(origins)]
    return "\n\n".join(parts) + "\n"


def markdown_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Table in Markdown that is aligned in plain text too.

    Parameters
    ----------
    header, body : cells; the first column holds names, the others numbers or short words.

    Examples
    --------
    >>> print(markdown_table(("method", "SEG"), [("u-net", "0.7756")]))
    | method |    SEG |
    | ------ | -----: |
    | u-net  | 0.7756 |
    """
    widths = [max(3, *map(len, column)) for column in zip(header, *body, strict=True)]
    rulers = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    aligned = [_aligned(line, widths) for line in (header, rulers, *body)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in aligned)


def mean_and_spread(numbers: Sequence[float], decimals: int, sign: str = "") -> str:
    """Write mean and standard deviation; of one number, the number.

    Parameters
    ----------
    numbers : at least one.
    decimals : of both.
    sign : "+" to write the sign of a positive mean too.

    Examples
    --------
    >>> mean_and_spread([1.0, 2.0, 3.0], 1)
    '2.0 ± 1.0'
    >>> mean_and_spread([0.25], 2, sign="+")
    '+0.25'
    """
    mean = f"{statistics.fmean(numbers):{sign}.{decimals}f}"
    return mean if len(numbers) == 1 else f"{mean} ± {statistics.stdev(numbers):.{decimals}f}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Cells as wide as their columns: the name to the left, the others to the right."""
    (name, *others), (width, *widths) = cells, widths
    return [name.ljust(width), *map(str.rjust, others, widths)]
