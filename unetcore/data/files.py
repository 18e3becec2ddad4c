"""Files that appear whole or not at all, on disks that may be full."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unetcore.errors import InputError

MEGABYTE = 1e6


def check_space(path: Path, needed: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Parameters
    ----------
    path : file or folder to be written; its parent folder exists.
    needed : bytes, at most, that will be written.

    Raises
    ------
    InputError : fewer bytes are free; the message states both in MB.
    """
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise InputError(
            f"{path}: needs {needed / MEGABYTE:.0f} MB, but only {free / MEGABYTE:.0f} MB are free"
        )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path` that takes its name if the block succeeds.

    Parameters
    ----------
    path : file to be made or replaced.

    Yields
    ------
    Path of the temporary file. It is removed if the block raises.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        os.replace(temporary, path)
