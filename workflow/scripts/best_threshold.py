"""Best threshold on the grey values of the test frames of a fold."""

import json
import logging
from pathlib import Path

from unetcore.baseline import best_threshold, grey_of_channels
from unetcore.data.frames import read_frames, split_frames
from unetcore.data.io import read_frame_images, read_labels, to_unit_range, write_stack
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    images: Path,
    labels: Path,
    frames: Path,
    probability: Path,
    provenance: Path,
    *,
    split: dict,
    fold: str,
    cells: bool,
    either_way: bool = False,
    code: str = "",
) -> None:
    all_frames = read_frames(frames)
    _, tested = split_frames(all_frames, split, fold)
    index = [frame.index for frame in tested]
    pictures = read_frame_images(images, len(all_frames))[index]
    grey = grey_of_channels(to_unit_range(pictures, images))
    complete = [not frame.partial for frame in tested]  # else cells without label count as wrong
    reference = read_labels(labels)[index][complete]
    best = best_threshold(grey[complete], reference, cells=cells, either_way=either_way)
    write_stack(probability, best.probability(grey))
    provenance.write_text(json.dumps({**best.described(), "prediction_code": code}))
    logger.info("%s: %d frames, cells %s", probability, len(tested), best)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
