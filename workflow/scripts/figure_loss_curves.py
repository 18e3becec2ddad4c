"""Loss curves of all trainings of an experiment."""

import logging
from pathlib import Path

from unetcore.figures import loss_curves, read_history, save
from unetcore.script import run
from unetcore.tables import training_of

logger = logging.getLogger(__name__)


def main(histories: list[Path], figure: Path, *, title: str) -> None:
    curves = {}
    for path in histories:
        _, fold, seed = training_of(path)
        curves[fold, seed] = read_history(path)
    save(loss_curves(curves, title), figure)
    logger.info("%s: %d trainings", figure, len(curves))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
