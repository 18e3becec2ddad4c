"""Prediction of the test frames of a fold, and of the frame that shows tiles without seams."""

import json
import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
import torch
from torch import nn

from unetcore.data.frames import Frame
from unetcore.data.intensity import normalise
from unetcore.devices import gpu_name, resolve_precision
from unetcore.predict import Predictor, predict_probability, predict_three_ways
from unetcore.provenance import hardware
from unetcore.tiling import several_tiles
from unetcore.window_by_window import OneByOne, classify_one_by_one

logger = logging.getLogger(__name__)


def predict_frames(
    grey: np.ndarray,
    frames: Sequence[Frame],
    model: tuple[nn.Module, Mapping],
    *,
    averaging: str,
    prediction: Mapping,
    device: str,
    code: str,
) -> tuple[np.ndarray, dict]:
    """Probability maps of frames, and where they come from.

    Parameters
    ----------
    grey : (N, H, W) or (N, C, H, W) float32 array in [0, 1], the images of the frames.
    frames : the N frames, for the log.
    model : network in evaluation mode and its description, as of `unetcore.checkpoint.load_model`.
    averaging : see `unetcore.predict.predict_probability`.
    prediction : `tile` in px, `memory_mb`, `precision`, and of a sliding window `single_windows`.
    device : "cpu", "gpu" or "auto".
    code : digest of the code that predicts.

    Returns
    -------
    (N, H, W) float32 array in [0, 1], and plain values for prediction.json. The time of a frame is
    the median: the first one also starts the libraries up.

    Raises
    ------
    InputError : an unknown setting, or a GPU is asked for and none is there.
    """
    network, description = model
    budget = prediction["memory_mb"] and prediction["memory_mb"] * 1_000_000
    predictor = Predictor(network, prediction["precision"], budget, device)
    slices = normalise(grey, description["training"]["normalisation"])
    plan, is_unet = predictor.plan(slices.shape[-2:], prediction["tile"]), network.family == "u-net"
    if is_unet:  # costs of others are not counted
        logger.info("%s", plan)
    maps, seconds = [], []
    for frame, image in zip(frames, slices, strict=True):
        started = time.perf_counter()
        maps.append(
            predict_probability(image, predictor, averaging=averaging, tile=prediction["tile"])
        )
        seconds.append(time.perf_counter() - started)
        logger.info("%s: %.1f %% cell interior", frame.id, 100 * (maps[-1] > 0.5).mean())
    record = {
        "prediction_code": code,
        "prediction_precision": resolve_precision(prediction["precision"], predictor.device),
        "prediction_hardware": hardware(gpu_name(predictor.device)),
        "prediction_threads": torch.get_num_threads(),
        "plan": {
            "tile": plan.tile,
            "crops": plan.crops,
            "batch": plan.batch,
            "cost": plan.cost if is_unet else None,
        },
        "seconds_per_frame": float(f"{statistics.median(seconds):.4g}"),
        "pixels_per_frame": maps[0].size,
    }
    if network.family == "sliding-window" and averaging == "none":
        in_float32 = predictor.precision == "float32"
        exact = predictor if in_float32 else Predictor(network, "float32", budget, device)
        literally = _one_by_one(slices, maps, predictor, exact, prediction)
        record["one_by_one"] = asdict(literally)
        logger.info("window by window: %s", literally)
    return np.stack(maps), record


def _one_by_one(
    slices: np.ndarray,
    maps: Sequence[np.ndarray],
    predictor: Predictor,
    exact: Predictor,
    prediction: Mapping,
) -> OneByOne:
    """Single windows: their time by `predictor`, their difference by `exact`, in float32.

    In 16 bits two orders of summation differ by far more than the numbers that they sum.
    """
    n = prediction["single_windows"]
    found = classify_one_by_one(slices, np.stack(maps), predictor, n, np.random.default_rng(0))
    if exact is predictor:
        return found
    maps = [predict_probability(image, exact, tile=prediction["tile"]) for image in slices]
    rounded = classify_one_by_one(slices, np.stack(maps), exact, n, np.random.default_rng(0))
    return replace(found, largest_difference=rounded.largest_difference)


def predict_seams(
    grey: np.ndarray, model: tuple[nn.Module, Mapping], *, tile: int, device: str
) -> tuple[np.ndarray, dict[str, float]]:
    """Predict one frame as a whole, in seamless tiles, and in tiles that are not (paper Fig. 2).

    Parameters
    ----------
    grey : (1, H, W) or (1, C, H, W) float32 array in [0, 1].
    model : network and description, as of `unetcore.checkpoint.load_model`.
    tile : output tile in px; a smaller one is taken where the frame has less than several of it.
    device : "cpu", "gpu" or "auto".

    Returns
    -------
    (3, H, W) float32 array in [0, 1], see `unetcore.predict.predict_three_ways`; by name the tile
    that was taken, in px, and the largest difference from the whole of the probability in seamless
    tiles, "seam", and in others, "naive".
    """
    network, description = model
    (image,) = normalise(grey, description["training"]["normalisation"])
    tile = several_tiles(image.shape[-2:], tile, network.depth)
    whole, *tiled = predict_three_ways(image, Predictor(network, device=device), tile)
    seamless, naive = (float(np.abs(way - whole).max()) for way in tiled)
    logger.info("tiles of %d px: largest difference %.1g, naively %.1g", tile, seamless, naive)
    return np.stack([whole, *tiled]), {"tile": tile, "seam": seamless, "naive": naive}


def seam_record(
    names: Mapping[str, str], differences: Mapping[str, float], training: Mapping
) -> str:
    """Content of seam.json.

    Parameters
    ----------
    names : experiment, dataset, fold and method.
    differences : from `predict_seams`.
    training : content of run.json.
    """
    record = {**names, "seed": training["seed"], **differences, "provenance": training}
    return json.dumps(record, indent=1)
