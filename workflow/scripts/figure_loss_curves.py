"""Loss curves of all trainings of an experiment."""

import logging
from pathlib import Path

from unetcore.figures import Loss, loss_curves, save
from unetcore.script import run
from unetcore.tables import training_of
from unetcore.training_log import read_history, read_validation

logger = logging.getLogger(__name__)


def main(
    histories: list[Path], validations: list[Path], figure: Path, *, title: str, loss: Loss
) -> None:
    curves, measured = {}, {}
    for history, validation in zip(histories, validations, strict=True):
        _, fold, seed = training_of(history)
        curves[fold, seed] = read_history(history)
        measured[fold, seed] = read_validation(validation)
    save(loss_curves(curves, loss, title, measured), figure)
    logger.info("%s: %d trainings", figure, len(curves))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
