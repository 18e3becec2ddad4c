"""Unpack zip archives that nobody here has seen before."""

import stat
import tempfile
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from unetcore.data.files import check_space
from unetcore.errors import InputError

LIMIT = 8 * 2**30
"""Bytes an archive may unpack to. The largest dataset here unpacks to less than 0.2 GB."""


def extract(archive: Path, folder: Path, *, limit: int = LIMIT) -> Path:
    """Unpack a zip archive into a new folder, whole or not at all.

    All names are checked before the first byte is written. The members are unpacked beside
    `folder`, which appears under its name only when everything is there.

    Parameters
    ----------
    archive : zip file.
    folder : folder to make; its parent exists.
    limit : bytes the members may have together when unpacked.

    Returns
    -------
    Path, the folder.

    Raises
    ------
    InputError : the archive is missing, truncated or damaged; a member's path leaves the folder or
        is absolute; a member is a link or a device; more than `limit` or than the free disk space
        would be written.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise InputError(f"{archive}: no such archive")
    if folder.exists():
        raise InputError(f"{folder}: is there already, expected a folder yet to be made")
    try:
        with zipfile.ZipFile(archive) as file:
            members = file.infolist()
            _check_members(members, archive)
            _check_size(sum(member.file_size for member in members), archive, folder, limit)
            damaged = file.testzip()
    except InputError:
        raise
    except Exception as error:  # damage shows in whichever part of zipfile meets it first
        raise InputError(f"{archive}: truncated or damaged zip archive ({error})") from error
    if damaged:
        raise InputError(f"{archive}: truncated or damaged zip archive ({damaged!r})")
    _unpack(archive, folder)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive found good to a temporary folder, then give that its name."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        unpacked = Path(scratch) / folder.name
        with zipfile.ZipFile(archive) as file:
            file.extractall(unpacked)
        unpacked.rename(folder)


def _check_members(members: list[zipfile.ZipInfo], archive: Path) -> None:
    """Refuse members that would be written elsewhere, twice, or as anything but a plain file."""
    seen: set[PurePosixPath] = set()
    files: set[PurePosixPath] = set()
    for member in members:
        # zipfile mends some names; the one it writes and the one stated must both be good.
        for name in (member.orig_filename, member.filename):
            _check_name(name, archive)
        if (kind := stat.S_IFMT(member.external_attr >> 16)) not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "a symbolic link" if kind == stat.S_IFLNK else "no plain file"
            raise InputError(f"{archive}: member {member.filename!r} is {what}")
        path = PurePosixPath(member.filename)
        if path in seen:
            raise InputError(f"{archive}: member {member.filename!r} is there twice")
        seen.add(path)
        if not member.is_dir():
            files.add(path)
    folders = {parent for path in seen for parent in path.parents}
    if both := sorted(map(str, files & folders)):
        raise InputError(f"{archive}: member {both[0]!r} is both a file and a folder")


def _check_name(name: str, archive: Path) -> None:
    """Refuse a name that means another place than one inside the folder."""
    path = PureWindowsPath(name)  # splits at both kinds of slash
    if path.anchor:
        raise InputError(f"{archive}: member {name!r} has an absolute path")
    if ".." in path.parts:
        raise InputError(f"{archive}: member {name!r} lies outside the archive's folder")
    if not path.parts or "\0" in name:
        raise InputError(f"{archive}: member {name!r} has no valid name")


def _check_size(unpacked: int, archive: Path, folder: Path, limit: int) -> None:
    """Refuse to fill the disk. zipfile never writes more than the sizes stated in the archive."""
    if unpacked > limit:
        raise InputError(
            f"{archive}: unpacks to {unpacked / 1e6:.0f} MB, more than the {limit / 1e6:.0f} MB"
            " allowed"
        )
    check_space(folder, unpacked)
