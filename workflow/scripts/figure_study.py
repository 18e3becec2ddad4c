"""Figure of a study: losses of its variants, and every metric by variant."""

import logging
from pathlib import Path

from unetcore.figures import Loss, save, study
from unetcore.script import run
from unetcore.studies import Study, curves, read_held_out, read_results, scores

logger = logging.getLogger(__name__)


def main(
    metrics: list[Path],
    histories: list[Path],
    validations: list[Path],
    figure: Path,
    *,
    plan: Study,
    losses: list[dict],
) -> None:
    results = read_results(plan, metrics, histories)
    drawn = study(
        curves(results),
        scores(results),
        {Loss(**loss) for loss in losses},
        plan.title,
        axis=plan.axis,
        chosen=plan.chosen,
        held_out=read_held_out(plan, validations),
    )
    save(drawn, figure)
    logger.info("%s: %d variants, %d predictions", figure, len(plan.changes), len(results))


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
