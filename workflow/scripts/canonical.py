"""Canonical form of one dataset: images, labels and frames."""

import logging
from pathlib import Path

from unetcore.data.canonical import read_archive
from unetcore.data.frames import write_frames
from unetcore.data.io import write_stack
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    archive: Path,
    images: Path,
    labels: Path,
    frames: Path,
    *,
    layout: str,
    members: dict[str, str | None],
    pixels: dict[str, str],
    partial: list[str],
) -> None:
    """Read the archive, check it, and write the three files."""
    image_stack, label_stack, frame_list = read_archive(
        archive, layout, members=members, pixels=pixels, partial=partial
    )
    write_stack(images, image_stack)
    write_stack(labels, label_stack)
    write_frames(frames, frame_list)
    labelled = sum(frame.labelled for frame in frame_list)
    logger.info("%s: %d frames, %d of them labelled", images.parent, len(frame_list), labelled)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
