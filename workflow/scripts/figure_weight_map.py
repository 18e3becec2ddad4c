"""From image to loss weights, for the first frame of an experiment that has labels."""

import logging
from pathlib import Path

from unetcore.data.frames import read_frames
from unetcore.data.io import read_frame_images, read_images, read_labels
from unetcore.figures import first_complete, one_channel, save, weight_map
from unetcore.labels import known_labels
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
    all_frames = read_frames(frames)
    frame = first_complete(all_frames)
    page = frame.index
    drawn = weight_map(
        one_channel(read_frame_images(images, len(all_frames))[page]),
        known_labels(read_labels(labels)[page]),
        read_labels(classes)[page],
        read_images(weights)[page],
        f"{title}: {frame.id}",
    )
    save(drawn, figure)
    logger.info("%s: frame %s", figure, frame.id)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
