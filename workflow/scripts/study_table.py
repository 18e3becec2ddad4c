"""Table of a study: what each variant changes, and what it reaches."""

import logging
from pathlib import Path

from unetcore.script import run
from unetcore.studies import Study, csv_text, markdown_text, read_results

logger = logging.getLogger(__name__)


def main(
    metrics: list[Path], histories: list[Path], table: Path, markdown: Path, *, plan: Study
) -> None:
    results = read_results(plan, metrics, histories)
    table.write_text(csv_text(plan, results), "utf-8")
    markdown.write_text(markdown_text(plan, results), "utf-8")
    logger.info("%s: %d variants, %d predictions", table, len(plan.changes), len(results))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
