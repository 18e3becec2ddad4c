"""Put what is on record of the published trainings where the rules would have made it."""

import logging
from pathlib import Path

from unetcore.bundle.records import place_records, with_data
from unetcore.data.files import write_atomically
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    images: list[Path],
    labels: list[Path],
    frames: list[Path],
    placed: Path,
    *,
    archive: Path,
    digest: str,
    settings: dict,
) -> None:
    experiments = with_data(settings, images, labels, frames)
    found = place_records(archive, placed.parent, experiments)
    write_atomically(placed, "".join(f"{path}\n" for path in found.files).encode())
    for name, reason in found.left_out.items():
        logger.warning("%s left out: %s", name, reason)
    for training in found.kept:
        logger.info("%s: was made here, and is kept", training)
    logger.info("%s: %d records of %s, sha256 %s", placed, len(found.files), archive, digest[:12])


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
