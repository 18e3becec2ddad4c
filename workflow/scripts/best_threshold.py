"""Best threshold on the grey values of the test frames of a fold."""

import json
import logging
from pathlib import Path

from unetcore.baseline import (
    best_level_for_cells,
    best_level_for_membranes,
    threshold_probability,
)
from unetcore.data.frames import read_frames, split_frames
from unetcore.data.io import read_images, read_labels, to_unit_range, write_stack
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
    code: str = "",
) -> None:
    _, tested = split_frames(read_frames(frames), split, fold)
    index = [frame.index for frame in tested]
    grey = to_unit_range(read_images(images)[index], images)
    complete = [not frame.partial for frame in tested]  # else cells without label count as wrong
    best_level = best_level_for_cells if cells else best_level_for_membranes
    level = best_level(grey[complete], read_labels(labels)[index][complete])
    write_stack(probability, threshold_probability(grey, level))
    provenance.write_text(json.dumps({"grey_level": round(level, 4), "prediction_code": code}))
    logger.info("%s: %d frames above grey level %.3f", probability, len(tested), level)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
