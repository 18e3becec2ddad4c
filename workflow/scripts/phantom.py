"""Archive of a generated dataset, in the layout of the official one it stands in for."""

import logging
from pathlib import Path

from unetcore.data.phantom import write_phantom_cells, write_phantom_em
from unetcore.errors import InputError
from unetcore.script import run

logger = logging.getLogger(__name__)

GENERATORS = {"phantom-em": write_phantom_em, "phantom-cells": write_phantom_cells}


def main(archive: Path, *, generator: str, seed: int) -> None:
    """Generate the archive from its seed."""
    if generator not in GENERATORS:
        raise InputError(f"generator {generator!r} is not among {', '.join(GENERATORS)}")
    GENERATORS[generator](archive, seed=seed)
    logger.info("%s: %s, seed %d", archive, generator, seed)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
