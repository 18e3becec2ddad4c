"""Files that appear whole or not at all, on disks that may be full."""

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unetcore.errors import InputError

logger = logging.getLogger(__name__)

MEGABYTE = 1e6
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota, the largest file
ZARR_FILES = ("zarr.json", ".zgroup", ".zarray")  # one of them marks a folder of Zarr
NO_SYNC_OF_FOLDERS = (errno.EINVAL, errno.ENOTSUP)  # what some network file systems answer


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
    with _folder_beside(path) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        os.replace(temporary, path)


def _folder_beside(path: Path) -> tempfile.TemporaryDirectory:
    """Temporary folder beside a file; where it cannot be made, the file is named."""
    try:
        return tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is there whole or not at all, also after a power cut.

    The content goes to a file of another name and is forced to the disk before that file takes the
    name, and the name before this function returns.

    Parameters
    ----------
    path : file to be made or replaced; its folder is made where it is missing.
    content : all of the file.

    Raises
    ------
    OSError : the file cannot be written; it carries the file's name, and nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # it is gone if all went well
            partial.unlink()


def write_if_there_is_room(path: Path, content: bytes) -> None:
    """Write a file, atomically, without which a computation can go on where the disk is full.

    Raises
    ------
    OSError : it cannot be written for another reason.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        logger.warning("%s: not written, no space left on the disk", path)


def refuse_overwriting(out: Path, inputs: Iterable[Path]) -> None:
    """Refuse to write in the place of what is read.

    Raises
    ------
    InputError : `out` is one of the inputs.
    """
    if out.resolve() in {path.resolve() for path in inputs}:
        raise InputError(f"{out}: is one of the files that are read, take another name")


def check_writable(folder: Path) -> None:
    """Make a folder where it is missing, and refuse one in which no file can be made.

    Raises
    ------
    OSError : it cannot be made or written to; it carries the folder's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        tempfile.TemporaryDirectory(dir=folder, prefix=".").cleanup()
    except OSError as error:
        error.filename = str(folder)
        raise


def _sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC_OF_FOLDERS:
            raise
    finally:
        os.close(descriptor)


def is_zarr(path: Path) -> bool:
    """Whether a path is a folder of Zarr."""
    return any((Path(path) / name).is_file() for name in ZARR_FILES)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder of files, and not an image in Zarr."""
    return path.is_dir() and not is_zarr(path)
