"""Operations of an experiment's network on one input tile, for Fig. 1."""

import logging
from pathlib import Path

from unetcore.architecture import trace_architecture
from unetcore.operations import write_architecture
from unetcore.script import run
from unetcore.settings import NetworkConfig

logger = logging.getLogger(__name__)


def main(architecture: Path, *, network: NetworkConfig, output_tile: int) -> None:
    traced = trace_architecture(network, output_tile)
    write_architecture(architecture, traced)
    logger.info("%d convolutions, %d parameters", traced.n_convolutions, traced.parameters)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
