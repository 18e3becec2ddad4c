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
    listed: Path,
    *,
    archive: Path,
    digest: str,
    manifest: Path,
    settings: dict,
) -> None:
    experiments = with_data(settings, images, labels, frames)
    placed = place_records(archive, listed.parent, experiments, manifest)
    write_atomically(listed, "".join(f"{path}\n" for path in placed.files).encode())
    for name, reason in placed.left_out.items():
        logger.warning("%s left out: %s", name, reason)
    for training in placed.kept:
        logger.info("%s: was made here, and is kept", training)
    if placed.removed:
        logger.info("%d files of an earlier call removed", len(placed.removed))
    logger.info("%s: %d records of %s, %s", listed, len(placed.files), archive, digest[:12])


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
