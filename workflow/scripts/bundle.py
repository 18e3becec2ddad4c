"""Pack what the trainings and predictions of a table or study need into one file."""

import logging
from pathlib import Path

from unetcore.bundle.pack import pack_bundle
from unetcore.data.dataset import Dataset
from unetcore.data.files import write_atomically
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    images: list[Path],
    labels: list[Path],
    frames: list[Path],
    classes: list[Path],
    weights: list[Path],
    bundle: Path,
    plan: Path,
    *,
    name: str,
    experiments: dict,
    codes: dict,
) -> None:
    files = map(Dataset, images, labels, frames, classes, weights)
    datasets = dict(zip(experiments, files, strict=True))
    packed = pack_bundle(bundle, name, experiments, datasets, codes)
    write_atomically(plan, packed.to_json().encode())
    n, megabytes = len(packed.trainings()), bundle.stat().st_size / 1e6
    logger.info("%s: %d trainings, %.1f MB", bundle, n, megabytes)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
