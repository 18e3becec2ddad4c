"""Probability maps of the test frames of a fold."""

import json
from pathlib import Path

import torch

from unetcore.checkpoint import load_model
from unetcore.data.frames import read_frames, split_frames
from unetcore.data.io import read_frame_images, to_unit_range, write_stack
from unetcore.fold_prediction import predict_frames
from unetcore.gpu_probe import take_gpus
from unetcore.memory import keep_freed_memory
from unetcore.script import run


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
    take_gpus(1, device)
    keep_freed_memory()
    all_frames = read_frames(frames)
    _, tested = split_frames(all_frames, split, fold)
    pictures = read_frame_images(images, len(all_frames))[[frame.index for frame in tested]]
    maps, record = predict_frames(
        to_unit_range(pictures, images),
        tested,
        load_model(model),
        averaging=averaging,
        prediction=prediction,
        device=device,
        code=code,
    )
    write_stack(probability, maps)
    provenance.write_text(json.dumps(record))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
