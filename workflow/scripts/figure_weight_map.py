"""From image to loss weights, for the first frame of an experiment that has labels."""

import logging
from pathlib import Path

from unetcore.data.frames import read_frames
from unetcore.data.io import read_images, read_labels
from unetcore.figures import first_complete, save, weight_map
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    images: Path,
    labels: Path,
    frames: Path,
    classes: Path,
    weights: Path,
    figure: Path,
    *,
    title: str,
) -> None:
    frame = first_complete(read_frames(frames))
    page = frame.index
    drawn = weight_map(
        read_images(images)[page],
        read_labels(labels)[page],
        read_labels(classes)[page],
        read_images(weights)[page],
        f"{title}: {frame.id}",
    )
    save(drawn, figure)
    logger.info("%s: frame %s", figure, frame.id)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
