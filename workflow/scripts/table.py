"""One result table from the metrics of its predictions and the numbers others have printed."""

import logging
from pathlib import Path

from unetcore import tables
from unetcore.data.frames import read_frames
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    metrics: list[Path],
    frames: list[Path],
    paper: Path,
    table: Path,
    markdown: Path,
    html: Path,
    *,
    name: str,
    title: str | None = None,
) -> None:
    measured = tables.summarise(map(tables.read_measurement, metrics))
    printed = tables.read_printed(paper, name) if title is None else tables.nothing_printed(title)
    rows = tables.merge(printed.rows, measured)
    frames_of = {path.parent.name: read_frames(path) for path in frames}
    notes = [*tables.label_notes(frames_of), *printed.notes]
    tables.write_csv(table, rows)
    markdown.write_text(tables.markdown(printed.title, rows, notes), "utf-8")
    html.write_text(tables.html_page(printed.title, rows, notes), "utf-8")
    logger.info("%s: %d numbers, %d of them measured here", table, len(rows), len(measured))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
