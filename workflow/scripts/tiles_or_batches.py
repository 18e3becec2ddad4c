"""Time and memory of weight updates, by tile and batch."""

import logging
from pathlib import Path

from unetcore.gpu_probe import take_gpus
from unetcore.script import run
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.tile_cost import Grid, csv_text
from unetcore.tile_timing import tile_costs

logger = logging.getLogger(__name__)


def main(
    costs: Path,
    *,
    experiment: str,
    network: NetworkConfig,
    training: dict,
    watch: dict,
    grid: Grid,
    device: str,
    threads: int = 1,
    code: str = "",
) -> None:
    take_gpus(1, device)
    config = TrainConfig(**training, **watch)
    measured = tile_costs(
        experiment, network, config, grid, device=device, threads=threads, code=code
    )
    costs.write_text(csv_text(measured), "utf-8")
    logger.info("%s: %d updates of different tiles and batches", costs, len(measured))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
