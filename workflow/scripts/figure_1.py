"""The paper's Fig. 1: the network of an experiment."""

import logging
from pathlib import Path

from unetcore.figures import architecture as draw
from unetcore.figures import save
from unetcore.operations import read_architecture
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(architecture: Path, figure: Path, *, title: str) -> None:
    network = read_architecture(architecture)
    save(draw(network, title), figure)
    logger.info("%s: %d operations", figure, len(network.operations))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
