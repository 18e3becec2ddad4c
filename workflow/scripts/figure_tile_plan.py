"""The tiles of an experiment's prediction, drawn over one of its images."""

import json
import logging
from pathlib import Path

from unetcore.data.io import read_images
from unetcore.figures import compared_plans, save, tile_plan
from unetcore.script import run
from unetcore.tiling import TilePlan

logger = logging.getLogger(__name__)


def main(images: Path, prediction: Path, figure: Path, *, depth: int, title: str) -> None:
    image = read_images(images)[0]
    used = json.loads(prediction.read_text())["plan"]
    plans = compared_plans(TilePlan(image.shape, tuple(used["tile"]), depth, crops=used["crops"]))
    save(tile_plan(image, plans, title), figure)
    logger.info("%s: %d tiles of %s px", figure, len(plans[0]), plans[0].tile)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
