"""One frame predicted as a whole, in seamless tiles, and in tiles that are not."""

import json
import logging
from pathlib import Path

import numpy as np
import torch

from unetcore.checkpoint import load_model
from unetcore.data.intensity import normalise
from unetcore.data.io import read_images, to_unit_range, write_stack
from unetcore.gpus import reserve_gpus
from unetcore.memory import keep_freed_memory
from unetcore.predict import Predictor, predict_three_ways
from unetcore.script import run
from unetcore.tiling import several_tiles

logger = logging.getLogger(__name__)


def main(
    images: Path,
    model: Path,
    training: Path,
    probability: Path,
    seams: Path,
    *,
    experiment: str,
    dataset: str,
    fold: str,
    method: str,
    tile: int,
    device: str,
    threads: int = 1,
) -> None:
    torch.set_num_threads(threads)
    if device != "cpu":
        reserve_gpus(1)
    keep_freed_memory()
    network, description = load_model(model)
    grey = to_unit_range(read_images(images)[:1], images)
    (image,) = normalise(grey, description["training"]["normalisation"])
    tile = several_tiles(image.shape, tile, network.depth)
    whole, *tiled = predict_three_ways(image, Predictor(network, device=device), tile)
    write_stack(probability, np.stack([whole, *tiled]))
    seamless, naive = (float(np.abs(way - whole).max()) for way in tiled)
    record = {
        "experiment": experiment,
        "dataset": dataset,
        "fold": fold,
        "method": method,
        "seed": description["seed"],
        "tile": tile,
        "seam": seamless,
        "naive": naive,
        "provenance": json.loads(training.read_text()),
    }
    seams.write_text(json.dumps(record, indent=1))
    logger.info("tiles of %d px: largest difference %.1g, naively %.1g", tile, seamless, naive)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
