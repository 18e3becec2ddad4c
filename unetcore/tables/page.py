"""A table as an HTML page, for the report."""

import html
from collections.abc import Iterable, Sequence

from unetcore.tables.layout import HOW_TO_READ, PROVENANCE_HEADING, Block, blocks, sources
from unetcore.tables.rows import Row

_PAGE = """\
<!doctype html>
<meta charset="utf-8">
<title>{title}</title>
<style>
.results {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 64rem; padding: 1rem; }}
.results h1 {{ font-size: 1.5rem; }}
.results h2 {{ font-size: 1.1rem; margin: 1.6rem 0 0; }}
.results p {{ margin: .2rem 0 .6rem; }}
.results table {{ border-collapse: collapse; width: auto; font-variant-numeric: tabular-nums; }}
.results th, .results td {{ padding: .25rem .9rem; text-align: right; white-space: nowrap; }}
.results th:first-child, .results td:first-child {{ text-align: left; padding-left: .2rem; }}
.results th {{ border-bottom: 1.5px solid #222; font-weight: 600; }}
.results td {{ border-bottom: 1px solid #ddd; }}
.results li {{ margin: .2rem 0; }}
.results .words th, .results .words td {{ text-align: left; white-space: normal; }}
.results .words td {{ vertical-align: top; padding: .35rem .7rem .35rem .2rem; }}
</style>
<article class="results">
{body}
</article>
"""


def html_page(title: str, rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Readable twin of a table, as one HTML page without outside references, for the report.

    Parameters, content: as `unetcore.tables.markdown`.
    """
    escape = html.escape
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(HOW_TO_READ)}</p>"]
    for block in blocks(rows):
        parts += _block(block)
    if notes:
        parts += ["<h2>Notes</h2>", _list(map(escape, notes))]
    origins = [f"<strong>{escape(names)}</strong>: {escape(o)}" for names, o in sources(rows)]
    parts += [f"<h2>{PROVENANCE_HEADING}</h2>", _list(origins)]
    return _PAGE.format(title=escape(title), body="\n".join(parts))


def html_list_page(
    title: str,
    introduction: str,
    header: Sequence[str],
    body: Sequence[Sequence[str]],
    origins: Iterable[str],
) -> str:
    """One table of words and numbers as an HTML page, with where they come from.

    Parameters
    ----------
    title, introduction : heading and paragraph above the table.
    header, body : cells, plain text.
    origins : items below it.
    """
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(introduction)}</p>",
        '<table class="words">',
        _line(header, "th"),
        *(_line(cells, "td") for cells in body),
        "</table>",
        f"<h2>{PROVENANCE_HEADING}</h2>",
        _list(map(html.escape, origins)),
    ]
    return _PAGE.format(title=html.escape(title), body="\n".join(parts))


def _block(block: Block) -> list[str]:
    """Heading, images and table of a block."""
    source = f" ({html.escape(block.source)})" if block.source else ""
    return [
        f"<h2>{html.escape(block.heading)}</h2>",
        f"<p>Measured on: <strong>{html.escape(block.measured_on)}</strong>{source}</p>",
        "<table>",
        _line(block.header, "th"),
        *(_line(cells, "td") for cells in block.body),
        "</table>",
    ]


def _line(cells: Sequence[str], tag: str) -> str:
    """One line of a table."""
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _list(items: Iterable[str]) -> str:
    """Bulleted list of items that are escaped already."""
    return "<ul>\n" + "\n".join(f"<li>{item}</li>" for item in items) + "\n</ul>"
