"""Canonical form of a data set of one's own: images, labels and frames."""

import logging
from pathlib import Path

from unetcore.data.canonical import from_samples
from unetcore.data.entry import entry_of
from unetcore.data.frames import write_frames
from unetcore.data.io import write_stack
from unetcore.data.samples import read_samples
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    samples: Path,
    image_files: list,
    label_files: list,
    images: Path,
    labels: Path,
    frames: Path,
    *,
    name: str,
    entry: dict,
) -> None:
    """Read the files that the sheet names, check them, and write the three files.

    `image_files` and `label_files` are for Snakemake: where they change, the result is made anew.
    """
    settings = entry_of(name, entry).settings
    image_stack, label_stack, frame_list = from_samples(read_samples(samples), settings)
    write_stack(images, image_stack)
    write_stack(labels, label_stack)
    write_frames(frames, frame_list)
    logger.info("%s: %d frames", images.parent, len(frame_list))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
