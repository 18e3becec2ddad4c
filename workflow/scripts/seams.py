"""One frame predicted as a whole, in seamless tiles, and in others; how far tiles are from it."""

import json
from pathlib import Path

import torch

from unetcore.checkpoint import load_model
from unetcore.data.io import read_images, to_unit_range, write_stack
from unetcore.fold_prediction import predict_seams, seam_record
from unetcore.gpu_probe import take_gpus
from unetcore.memory import keep_freed_memory
from unetcore.script import run


def main(
    images: Path,
    model: Path,
    training: Path,
    probability: Path,
    seam: Path,
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
    take_gpus(1, device)
    keep_freed_memory()
    pages = read_images(images)
    network, description = load_model(model)
    n_channels = network.settings["in_channels"]
    frame = pages[:n_channels]
    grey = to_unit_range(frame if n_channels == 1 else frame[None], images)
    maps, differences = predict_seams(grey, (network, description), tile=tile, device=device)
    write_stack(probability, maps)
    names = {"experiment": experiment, "dataset": dataset, "fold": fold, "method": method}
    seam.write_text(seam_record(names, differences, json.loads(training.read_text())))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
