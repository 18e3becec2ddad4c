"""Fetch an archive from its official address, or from a mirror that stands in for the network."""

import errno
import hashlib
import logging
import shutil
import sys
import time
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

import pooch
from requests import exceptions as web
from urllib3.exceptions import MaxRetryError

from unetcore.data.files import check_space, replacing
from unetcore.errors import InputError

logger = logging.getLogger(__name__)

CHECKSUMS = "SHA256SUMS"
CONNECT_SECONDS, READ_SECONDS = 5, 60
CHUNK = 2**18
NOT_FOUND, TOO_MANY_REQUESTS, SERVER_ERROR = 404, 429, 500


def fetch(
    archive: Path,
    *,
    filename: str,
    url: str,
    sha256: str | None,
    mirror: str | Path | None = None,
    attempts: int = 3,
    pause: float = 2.0,
) -> None:
    """Fetch an archive, check its sha256, and only then give it its name.

    A mirror replaces the network: the file is looked for there and nowhere else. Mirrors may hold
    repacked archives, so the mirror's own ``SHA256SUMS`` is what counts there; `sha256` is the
    rule where the mirror does not list the file.

    Parameters
    ----------
    archive : file to write; its folder is made where it is missing.
    filename : official name of the archive, by which a mirror knows it.
    url : official address.
    sha256 : 64 hexadecimal digits of the official archive, or None where none is published.
    mirror : folder, ``file://`` address or ``http(s)://`` address of a folder; None: the network.
    attempts : times a transfer that broke off is begun anew. Where nothing answers at all, the
        first attempt is the last.
    pause : seconds between two attempts.

    Raises
    ------
    InputError : no network and no mirror, no such file there, a wrong hash, or a full disk.
    """
    archive = Path(archive)
    archive.parent.mkdir(parents=True, exist_ok=True)
    source = _in_mirror(mirror, filename) if mirror else url
    where = "there" if mirror else "into a folder and set UNET_DATA_MIRROR to that folder"
    advice = f"put {filename} from {url} {where}"
    with replacing(archive) as temporary:
        try:
            _transfer(source, temporary, attempts, pause)
            sums = _checksums(mirror, temporary, attempts, pause) if mirror else ""
        except FileNotFoundError as error:
            raise InputError(f"{source}: no such file in the data mirror; {advice}") from error
        except web.RequestException as error:
            raise InputError(f"{source}: {_reason(error)}; {advice}") from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise InputError(f"{archive}: the disk is full") from error
        _check_hash(temporary, _listed_sha256(sums, filename) or sha256, source)


def _in_mirror(mirror: str | Path, filename: str) -> Path | str:
    """Place of a file in a mirror: a path, or an address on the web."""
    address = urlsplit(str(mirror))
    if address.scheme in ("http", "https"):
        return f"{str(mirror).rstrip('/')}/{quote(filename)}"
    folder = Path(url2pathname(address.path)) if address.scheme == "file" else Path(mirror)
    return folder / filename


def _transfer(source: Path | str, target: Path, attempts: int, pause: float) -> None:
    """Copy or download one file."""
    if isinstance(source, Path):
        check_space(target.parent, source.stat().st_size)
        shutil.copyfile(source, target)
    else:
        _download(source, target, attempts, pause)


def _checksums(mirror: str | Path, archive: Path, attempts: int, pause: float) -> str:
    """Text of the mirror's ``SHA256SUMS``, empty where it has none."""
    sums = archive.with_name(CHECKSUMS)
    try:
        _transfer(_in_mirror(mirror, CHECKSUMS), sums, attempts, pause)
    except FileNotFoundError:
        return ""
    except web.HTTPError as error:
        if error.response.status_code != NOT_FOUND:
            raise
        return ""
    return sums.read_text("utf-8")


def _listed_sha256(sums: str, filename: str) -> str | None:
    r"""Hash of a file in the text that ``sha256sum`` prints, None where it is not listed.

    >>> _listed_sha256("1f  other.zip\n2E *./cells.zip\n", "cells.zip")
    '2e'
    """
    for line in sums.splitlines():
        digest, _, name = line.partition(" ")
        if name.strip().removeprefix("*").removeprefix("./") == filename:
            return digest.lower()
    return None


def _download(url: str, target: Path, attempts: int, pause: float) -> None:
    """Download one file, with a progress bar where somebody watches."""
    downloader = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        chunk_size=CHUNK,
        timeout=(CONNECT_SECONDS, READ_SECONDS),
    )
    for attempt in range(1, attempts + 1):
        logger.info("%s: downloading", url)
        try:
            return downloader(url, str(target), None)
        except web.RequestException as error:
            if attempt == attempts or not _is_passing(error):
                raise
            logger.warning("%s: %s, attempt %d of %d", url, _reason(error), attempt, attempts)
            time.sleep(pause)


def _never_connected(error: web.RequestException) -> bool:
    """Whether no server was reached at all (no network, no such host, refused)."""
    cause = error.args[0] if error.args else None
    return isinstance(error, web.ConnectTimeout) or (
        isinstance(error, web.ConnectionError) and isinstance(cause, MaxRetryError)
    )


def _is_passing(error: web.RequestException) -> bool:
    """Whether another attempt may do better: the transfer broke off, or the server is busy."""
    if isinstance(error, web.HTTPError):
        status = error.response.status_code
        return status == TOO_MANY_REQUESTS or status >= SERVER_ERROR
    broken = (web.ConnectionError, web.Timeout, web.ChunkedEncodingError)
    return isinstance(error, broken) and not _never_connected(error)


def _reason(error: web.RequestException) -> str:
    """Why a download failed, in a few words on one line."""
    if isinstance(error, web.HTTPError):
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, web.SSLError):
        return "the server's certificate is not accepted"
    if _never_connected(error):
        return "no connection"
    return f"the transfer broke off ({type(error).__name__})"


def _check_hash(path: Path, expected: str | None, source: Path | str) -> None:
    """Compare a file's sha256 with the one expected; log it where none is."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is None:
        logger.info("%s: sha256 %s, not checked because none is known", source, found)
    elif found != expected.lower():
        raise InputError(f"{source}: sha256 is {found}, expected {expected}")
    else:
        logger.info("%s: sha256 %s, as expected", source, found)
