"""Archive of a dataset, from its official address or from a data mirror."""

import logging
import zipfile
from pathlib import Path

from unetcore.data.download import fetch
from unetcore.errors import InputError
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
    """Fetch the archive, check its sha256, and keep it only if it is whole."""
    fetch(archive, filename=filename, url=url, sha256=sha256, mirror=mirror)
    if not zipfile.is_zipfile(archive):  # where no sha256 is known, a torn file would stay
        archive.unlink()
        raise InputError(f"{filename}: truncated or damaged zip archive; get it again from {url}")
    logger.info("%s: %.1f MB", archive, archive.stat().st_size / 1e6)


if __name__ == "__main__":
    run(main, globals().get("snakemake"))
