"""Classes and loss weights of a dataset's labelled frames."""

import logging
from pathlib import Path

import numpy as np

from unetcore.data.frames import read_frames
from unetcore.data.io import read_labels, write_stack
from unetcore.errors import InputError
from unetcore.script import run
from unetcore.weight_settings import WeightMapConfig
from unetcore.weights import training_targets

logger = logging.getLogger(__name__)


def main(
    labels: Path,
    frames: Path,
    classes: Path,
    weights: Path,
    *,
    kind: str,
    weight_map: WeightMapConfig,
) -> None:
    stack = read_labels(labels)
    class_stack = np.zeros(stack.shape, np.uint8)
    weight_stack = np.zeros(stack.shape, np.float32)  # frames without labels weigh nothing
    for frame in read_frames(frames):
        if frame.labelled:
            try:
                targets = training_targets(stack[frame.index], kind=kind, config=weight_map)
            except InputError as error:
                raise InputError(f"{labels}: frame {frame.id}: {error}") from error
            class_stack[frame.index], weight_stack[frame.index] = targets
    write_stack(classes, class_stack)
    write_stack(weights, weight_stack)
    logger.info("%s: weights up to %.2f", weights, weight_stack.max())


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
