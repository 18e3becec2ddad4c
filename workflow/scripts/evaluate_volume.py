"""Metrics of the prediction of a volume, one slice in memory at a time."""

import json
import logging
from pathlib import Path

from unetcore.data.files import write_atomically
from unetcore.data.io import open_labels, open_probability
from unetcore.evaluate import evaluate
from unetcore.metrics import Slices
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    labels: Path,
    finished: Path,
    metrics: Path,
    *,
    probability: Path,
    names: list,
    fill_missing: bool,
    code: str = "",
    threads: int = 1,
) -> None:
    values = evaluate(
        names,
        Slices(open_labels(labels, fill_missing=fill_missing), labels),
        Slices(open_probability(probability), probability),
        threads=threads,
    )
    made_by = json.loads(finished.read_text())
    result = {"metrics": values, "provenance": made_by | {"evaluation_code": code}}
    write_atomically(metrics, json.dumps(result, indent=1).encode())
    logger.info("%s: %s", metrics, {name: round(v["value"], 6) for name, v in values.items()})


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
