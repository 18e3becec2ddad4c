"""Verdicts on the paper's claims."""

import logging
from pathlib import Path

from unetcore.claim_table import csv_text, drawn, html_text, markdown_text, pairs_csv_text
from unetcore.claims import Claim, judge, read_quantities
from unetcore.figures import claim_intervals, save
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    metrics: list[Path],
    table: Path,
    markdown: Path,
    html: Path,
    figure: Path,
    pairs: Path,
    *,
    comparisons: list,
    confidence: float,
) -> None:
    measurements = [read_quantities(path) for path in metrics]
    verdicts = [v for c in comparisons for v in judge(Claim(**c), measurements, confidence)]
    table.write_text(csv_text(verdicts), "utf-8")
    pairs.write_text(pairs_csv_text(verdicts), "utf-8")
    markdown.write_text(markdown_text(verdicts, confidence), "utf-8")
    html.write_text(html_text(verdicts, confidence), "utf-8")
    save(claim_intervals(list(map(drawn, verdicts)), confidence), figure)
    for verdict in verdicts:
        logger.info("%s: %s", verdict.claim, verdict.verdict)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
