"""Archive of a dataset, from its official address or from a data mirror."""

import logging
from pathlib import Path

from unetcore.data.download import fetch
from unetcore.script import run

logger = logging.getLogger(__name__)


def main(
    archive: Path,
    *,
    filename: str,
    url: str,
    sha256: str | None = None,
    mirror: str | None = None,
) -> None:
    """Fetch the archive and check its sha256."""
    fetch(archive, filename=filename, url=url, sha256=sha256, mirror=mirror)
    logger.info("%s: %.1f MB", archive, archive.stat().st_size / 1e6)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
