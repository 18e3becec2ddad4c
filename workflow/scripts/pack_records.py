"""Pack what is on record of the published trainings into one file."""

import logging
from pathlib import Path

from unetcore.bundle.records import pack_records, with_data
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    images: list[Path],
    labels: list[Path],
    frames: list[Path],
    records: list[Path],
    archive: Path,
    *,
    settings: dict,
) -> None:
    experiments = with_data(settings, images, labels, frames)
    n = pack_records(archive, images[0].parents[2], records, experiments)
    logger.info("%s: %d records, %.1f MB", archive, n, archive.stat().st_size / 1e6)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
