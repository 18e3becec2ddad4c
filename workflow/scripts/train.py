"""Train one network on the labelled frames outside a fold."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

import torch

from unetcore.augment import AugmentConfig
from unetcore.checkpoint import save_model
from unetcore.data.frames import read_frames, split_frames
from unetcore.data.intensity import normalise
from unetcore.data.io import read_images, read_labels, to_unit_range
from unetcore.memory import keep_freed_memory
from unetcore.provenance import hardware
from unetcore.script import run
from unetcore.train import (
    NetworkConfig,
    TrainConfig,
    TrainingData,
    gpu_name,
    progress_line,
    resolve_precision,
    train,
    write_history,
)

logger = logging.getLogger(__name__)


def main(
    images: Path,
    frames: Path,
    classes: Path,
    weights: Path,
    model: Path,
    history: Path,
    provenance: Path,
    *,
    state: Path,
    split: dict,
    fold: str,
    seed: int,
    network: NetworkConfig,
    augmentation: AugmentConfig,
    training: TrainConfig,
    code: str = "",
    threads: int = 1,
) -> None:
    torch.set_num_threads(threads)
    keep_freed_memory()
    chosen, _ = split_frames(read_frames(frames), split, fold)
    index = [frame.index for frame in chosen]
    grey = to_unit_range(read_images(images)[index], images)
    data = TrainingData(
        images=normalise(grey, training.normalisation),
        classes=read_labels(classes)[index],
        weights=read_images(weights)[index],
    )
    name = f"{model.parents[2].name} fold {fold} seed {seed}"
    logger.info("%s: %d training frames", name, len(index))
    trained, rows = train(
        data,
        network=network,
        augmentation=augmentation,
        training=training,
        seed=seed,
        code=code,
        state_path=state,
        report=lambda row: logger.info("%s: %s", name, progress_line(row, training.steps)),
    )
    description = {
        "code": code,
        "seed": seed,
        **asdict(network),
        "steps": training.steps,
        "precision": resolve_precision(training.precision),
        "train_seconds": round(rows[-1].seconds),
        "hardware": hardware(gpu_name()),
        "threads": threads,
        "torch": torch.__version__,
        "training": asdict(training),
        "augmentation": asdict(augmentation),
        "training_frames": [frame.id for frame in chosen],
    }
    save_model(model, trained, description)
    write_history(history, rows)
    state.unlink(missing_ok=True)
    provenance.write_text(json.dumps(description, indent=1))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
