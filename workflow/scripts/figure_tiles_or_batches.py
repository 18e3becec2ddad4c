"""Figure of what tiles and batches cost, and of what they reach at equal computation."""

import logging
from pathlib import Path

from unetcore.figures import save, tiles_or_batches
from unetcore.script import run
from unetcore.tables import read_measurement
from unetcore.tile_cost import read_costs

logger = logging.getLogger(__name__)


def main(
    costs: Path,
    metrics: list[Path],
    figure: Path,
    *,
    title: str,
    variants: dict[str, str],
    marked: int,
    memory_mb: int,
) -> None:
    measured = [read_measurement(path) for path in metrics]
    save(tiles_or_batches(read_costs(costs), measured, variants, title, marked=marked), figure)
    logger.info("%s: up to %d MB, %d predictions of a study", figure, memory_mb, len(measured))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
