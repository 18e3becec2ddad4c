"""Differences between the image predicted as a whole and in tiles, at the right and wrong step."""

import logging
from pathlib import Path

from unetcore.data.io import read_images
from unetcore.figures import save, seams
from unetcore.script import run
from unetcore.tiling import NaivePlan, plan_tiles, several_tiles

logger = logging.getLogger(__name__)


def main(
    images: Path, probability: Path, figure: Path, *, tile: int, depth: int, title: str
) -> None:
    image = read_images(images)[0]
    side = several_tiles(image.shape, tile, depth)
    plans = plan_tiles(image.shape, side, depth), NaivePlan(image.shape, (side, side), depth)
    save(seams(image, read_images(probability), plans, title), figure)
    logger.info("%s: tiles of %d px", figure, side)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
