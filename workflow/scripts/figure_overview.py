"""The whole way of one frame in a line: image, weights, probability, segmentation, errors."""

import logging
from pathlib import Path

from unetcore.data.io import read_images
from unetcore.figures import overview, read_example, save
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    images: Path,
    labels: Path,
    frames: Path,
    weights: Path,
    probability: Path,
    metrics: Path,
    instances: Path | None,
    figure: Path,
) -> None:
    example = read_example(images, labels, frames, probability, metrics, instances)
    save(overview(example, read_images(weights)[example.page]), figure)
    logger.info("%s: frame %s", figure, example.id)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
