"""Metrics of the predicted frames of a fold."""

import json
import logging
from pathlib import Path

from unetcore.data.frames import read_frames, split_frames
from unetcore.data.io import open_frames, open_labels, open_probability
from unetcore.evaluate import evaluate, measured_on
from unetcore.metrics import Slices
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    labels: Path,
    frames: Path,
    probability: Path,
    segmentation: Path | None,
    training: Path | None,
    prediction: Path,
    metrics: Path,
    *,
    experiment: str,
    dataset: str,
    title: str,
    split: dict,
    fold: str,
    method: str,
    names: list,
    ignore_label: int | None = None,
    threads: int = 1,
    code: str = "",
) -> None:
    all_frames = read_frames(frames)
    _, tested = split_frames(all_frames, split, fold)
    ids = [frame.id for frame in tested]
    reference, ignored = open_frames(labels, [frame.index for frame in tested], ignore_label)
    cells = Slices(open_labels(segmentation), segmentation, frames=ids) if segmentation else None
    values = evaluate(
        names,
        Slices(reference, labels, frames=ids),
        Slices(open_probability(probability), probability, frames=ids),
        segmentation=cells,
        complete=[not frame.partial for frame in tested],
        ignored=ignored,
        threads=threads,
    )
    trained = json.loads(training.read_text()) if training else {}
    predicted = json.loads(prediction.read_text())
    result = {
        "experiment": experiment,
        "dataset": dataset,
        "fold": fold,
        "method": method.rsplit("/", 1)[-1],
        "seed": trained.get("seed"),
        "measured_on": f"{title}: {measured_on(all_frames, split, fold)}",
        "frames": ids,  # in the order that the "z" of a place counts
        "metrics": values,
        "provenance": trained | predicted | {"evaluation_code": code},
    }
    metrics.write_text(json.dumps(result, indent=1))
    logger.info("%s: %s", metrics, {name: round(v["value"], 6) for name, v in values.items()})


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
