"""Copies of results that the repository keeps, and the README's results made from them."""

import logging
import shutil
from pathlib import Path

from unetcore.script import run
from unetcore.tables import (
    cost_table,
    read_measurement,
    read_trainings,
    readme_section,
    replace_results,
    write_scores,
    write_trainings,
)

logger = logging.getLogger(__name__)


def main(
    tables: list[Path],
    figures: list[Path],
    studies: list[Path],
    runs: list[Path],
    metrics: list[Path],
    published_tables: list[Path],
    published_figures: list[Path],
    provenance: Path,
    scores: Path,
    *,
    readme: Path,
    study_of: dict[str, str],
    weight_maps: dict[str, dict],
) -> None:
    copies = [*published_tables, *published_figures]
    for source, copy in zip([*tables, *figures], copies, strict=True):
        shutil.copyfile(source, copy)
    trainings = read_trainings(runs)
    write_trainings(provenance, trainings, weight_maps)
    write_scores(scores, [read_measurement(path) for path in metrics])
    shown = [path for path in published_tables if path.suffix == ".md"]
    texts = {str(path): path.read_text("utf-8") for path in shown}
    section = readme_section(texts, cost_table(trainings, study_of))
    text = replace_results(readme.read_text("utf-8"), section, name=str(readme))
    readme.write_text(text, "utf-8")
    logger.info("%d files and the results of %s", len(copies) + len(studies), readme)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
