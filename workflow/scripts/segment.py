"""Instances of cells from probability maps."""

import logging
from pathlib import Path

import numpy as np

from unetcore.data.io import read_probability, write_stack
from unetcore.instances import instances
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    probability: Path, segmentation: Path, *, postprocessing: dict, field_of_interest: int
) -> None:
    frames = [
        instances(p, border=field_of_interest, **postprocessing)
        for p in read_probability(probability)
    ]
    write_stack(segmentation, np.stack(frames))
    logger.info("%s: %s objects per frame", segmentation, [int(f.max()) for f in frames])


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
