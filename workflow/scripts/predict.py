"""Probability maps of the test frames of a fold."""

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from unetcore.checkpoint import load_model
from unetcore.data.frames import read_frames, split_frames
from unetcore.data.intensity import normalise
from unetcore.data.io import read_images, to_unit_range, write_stack
from unetcore.devices import gpu_name, resolve_precision
from unetcore.gpus import reserve_gpus
from unetcore.memory import keep_freed_memory
from unetcore.predict import Predictor, predict_probability
from unetcore.provenance import hardware
from unetcore.script import run
from unetcore.window_by_window import classify_one_by_one

logger = logging.getLogger(__name__)


def main(
    images: Path,
    frames: Path,
    model: Path,
    probability: Path,
    provenance: Path,
    *,
    split: dict,
    fold: str,
    averaging: str,
    prediction: dict,
    device: str,
    code: str = "",
    threads: int = 1,
) -> None:
    torch.set_num_threads(threads)
    if device != "cpu":
        reserve_gpus(1)
    keep_freed_memory()
    network, description = load_model(model)
    budget = prediction["memory_mb"] and prediction["memory_mb"] * 1_000_000
    predictor = Predictor(network, prediction["precision"], budget, device)
    _, tested = split_frames(read_frames(frames), split, fold)
    grey = to_unit_range(read_images(images)[[frame.index for frame in tested]], images)
    slices = normalise(grey, description["training"]["normalisation"])
    plan = predictor.plan(slices.shape[-2:], prediction["tile"])
    logger.info("%s", plan)
    started, maps = time.perf_counter(), []
    for frame, image in zip(tested, slices, strict=True):
        maps.append(
            predict_probability(image, predictor, averaging=averaging, tile=prediction["tile"])
        )
        logger.info("%s: %.1f %% cell interior", frame.id, 100 * (maps[-1] > 0.5).mean())
    seconds = time.perf_counter() - started
    write_stack(probability, np.stack(maps))
    record = {
        "prediction_code": code,
        "prediction_precision": resolve_precision(prediction["precision"], predictor.device),
        "prediction_hardware": hardware(gpu_name(predictor.device)),
        "plan": {"tile": plan.tile, "crops": plan.crops, "batch": plan.batch, "cost": plan.cost},
        "seconds_per_frame": round(seconds / len(tested), 4),
        "pixels_per_frame": slices[0].size,
    }
    if network.family == "sliding-window" and averaging == "none":
        n, rng = prediction["single_windows"], np.random.default_rng(0)
        literally = classify_one_by_one(slices, np.stack(maps), predictor, n, rng)
        record["one_by_one"] = asdict(literally)
        logger.info("window by window: %s", literally)
    provenance.write_text(json.dumps(record))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
