"""The paper's Fig. 4: a segmented frame of each experiment on cells."""

import logging
from pathlib import Path

from unetcore.figures import cell_results, read_example, save
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    images: list[Path],
    labels: list[Path],
    frames: list[Path],
    probability: list[Path],
    metrics: list[Path],
    instances: list[Path],
    figure: Path,
    *,
    datasets: list,
) -> None:
    files = zip(images, labels, frames, probability, metrics, instances, strict=True)
    examples = [read_example(*paths) for paths in files]
    save(cell_results(datasets, examples), figure)
    logger.info("%s: %s", figure, ", ".join(example.id for example in examples))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
