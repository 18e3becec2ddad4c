"""The paper's Fig. 2, the overlap-tile strategy, and one tile on its way, step by step."""

import json
import logging
from pathlib import Path

from unetcore.figures import overlap_tile, read_example, save, tiling
from unetcore.script import run
from unetcore.tiling import TilePlan

logger = logging.getLogger(__name__)


def main(
    images: Path,
    labels: Path,
    frames: Path,
    probability: Path,
    prediction: Path,
    metrics: Path,
    figure: Path,
    steps: Path,
    *,
    depth: int,
    title: str,
) -> None:
    example = read_example(images, labels, frames, probability, metrics)
    plan = json.loads(prediction.read_text())["plan"]
    used = TilePlan(example.image.shape, tuple(plan["tile"]), depth, crops=plan["crops"])
    for draw, path in ((overlap_tile, figure), (tiling, steps)):
        save(draw(example.image, example.probability, used, f"{title}: {example.id}"), path)
    logger.info("%s: frame %s in %s", figure, example.id, used)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
