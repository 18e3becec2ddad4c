"""One predicted frame of an experiment: image, probability, segmentation, errors."""

import logging
from pathlib import Path

from unetcore.figures import read_example, save, segmentation
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    images: Path,
    labels: Path,
    frames: Path,
    probability: Path,
    metrics: Path,
    instances: Path | None,
    figure: Path,
    *,
    title: str,
) -> None:
    example = read_example(images, labels, frames, probability, metrics, instances)
    save(segmentation(example, f"{title}: {example.id}"), figure)
    logger.info("%s: frame %s", figure, example.id)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
