"""Add coarser copies to the prediction of a volume."""

import json
import logging
from pathlib import Path

from unetcore.data.files import write_atomically
from unetcore.data.ome_zarr import open_image
from unetcore.errors import InputError
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(parts: list[Path], record: Path, *, probability: Path, code: str = "") -> None:
    image = open_image(probability)
    if missing := image.missing():  # somebody has deleted them
        raise InputError(
            f"{probability}: {len(missing)} chunks are not there: add --forcerun predict_volume"
        )
    image.finish()
    facts = image.record | {"path": str(probability), "levels": image.n_levels}
    write_atomically(record, json.dumps(facts, indent=1).encode())
    logger.info("%s: complete, %d jobs, %d resolutions", probability, len(parts), image.n_levels)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
