"""The states of an unfinished training: written so that one that is read is right."""

import errno
import hashlib
import io
import json
import logging
import os
import pickle
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import torch

from unetcore.data.files import FULL_DISK, MEGABYTE, write_atomically
from unetcore.differences import differences
from unetcore.errors import InputError
from unetcore.locks import FolderLock

logger = logging.getLogger(__name__)

FORMAT = b"unetcore-state-1 "
HEADER_BYTES = len(FORMAT) + hashlib.sha256().digest_size * 2 + len(b"\n")
KEPT = 2
FINISHED = "finished.pt"


class _DamagedError(Exception):
    """A file is not what `_pack` made; the message says in what."""


class States:
    """The states that an unfinished training keeps in a folder.

    A file ``step-00000500.pt`` is one line with the SHA-256 of the rest, and the rest, which
    `torch.save` makes. It appears whole or not at all, and the last two are kept, so that neither
    a process that is killed, nor a power cut, nor a full disk, nor a damaged file costs more than
    the steps since the state before. What a complete training leaves is ``finished.pt``, see
    `finish`. As a context manager the object holds the folder against other processes.

    Parameters
    ----------
    folder : made where it is missing.
    settings : all that decides how the training ends, as nested dicts of plain JSON values. A
        state of other settings is refused.
    environment : what may change last digits only (versions, hardware, threads). A state of another
        environment is taken up with a warning.
    take_over : ask a process of this machine that still trains here to stop, and continue from its
        state; else the folder is refused. For callers that know it to be an orphan.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping,
        environment: Mapping | None = None,
        *,
        take_over: bool = False,
    ):
        self.folder = Path(folder)
        self.settings = _plain(settings)
        self.environment = _plain(environment or {})
        self._lock = FolderLock(self.folder, take_over=take_over)
        self._is_good = {}  # by file, as far as they were looked at

    def __enter__(self):
        """Take the folder, and remove what a killed process has left half written.

        Raises
        ------
        InputError : another process trains there, or a file is in the folder's place.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder}: a file is there, need a folder for the states")
        self._lock.acquire()
        self._remove_partial()
        return self

    def __exit__(self, *error):
        self._lock.release()

    def newest_step(self) -> int:
        """Step of the newest state, 0 if there is none; reads no more than its first line."""
        for path in self._newest_first():
            with suppress(_DamagedError, OSError), open(path, "rb") as file:
                _read_digest(file)
                return _step_of(path)
        return 0

    def load(self) -> dict | None:
        """Read the newest undamaged state.

        That of a finished training comes first; one of other settings is removed, since its
        network was written away.

        Returns
        -------
        content as `save` was given it, tensors on the CPU; None if there is no undamaged state.
        A warning names each damaged one.

        Raises
        ------
        InputError : the state belongs to a training of other settings; the message names up to
            five of the differing settings with both values.
        """
        if (finished := self._load_finished()) is not None:
            return finished
        paths = self._newest_first()
        for path in paths:
            state = self._read_or_warn(path)
            self._is_good[path] = state is not None
            if state is not None:
                self._compare(state)
                return state["content"]
        if paths:
            logger.warning("%s: no undamaged state: starting anew", self.folder)
        return None

    def save(self, step: int, content: dict) -> bool:
        """Write the state after `step` updates, then remove all but the last two undamaged ones.

        Parameters
        ----------
        content : tensors, numbers, strings and None, in dicts, lists and tuples.

        Returns
        -------
        Whether it was saved. It was not if the disk is full: a warning says so, and the states from
        before stay.

        Raises
        ------
        OSError : it cannot be written for another reason.
        """
        path = self.folder / _name(step)
        state = {"settings": self.settings, "environment": self.environment, "content": content}
        packed = _pack(state)
        try:
            write_atomically(path, packed)
        except OSError as error:
            if error.errno not in FULL_DISK:
                raise
            self._warn_of_full_disk(path, len(packed), error)
            return False
        self._is_good[path] = True
        self._remove_superseded(path)
        return True

    def finish(self, step: int) -> None:
        """Keep of a training whose model is written its last state only, as ``finished.pt``.

        For callers whose own record of the training is not made yet: until it is, the training can
        be asked for again, and then is read, not repeated. They remove the folder afterwards.

        Parameters
        ----------
        step : the last. If its state could not be saved, those before it stay as they are.
        """
        try:
            os.replace(self.folder / _name(step), self.folder / FINISHED)
        except FileNotFoundError:
            return
        for path in self._newest_first():
            path.unlink()

    def clear(self) -> None:
        """Remove the states, for a training whose model is written; and the folder if it is empty.

        A folder in which another process has begun to train is left to that process.
        """
        if not self.folder.is_dir():
            return
        if not self._lock.is_held:
            try:
                with States(self.folder, self.settings) as states:
                    states.clear()
            except InputError as error:
                logger.warning("%s", error)
            return
        for path in (*self._newest_first(), self.folder / FINISHED):
            path.unlink(missing_ok=True)
        self._remove_partial()
        self._lock.path.unlink(missing_ok=True)
        with suppress(OSError):  # something else lies there
            self.folder.rmdir()

    def _load_finished(self) -> dict | None:
        """Content of a finished training of the same settings; one of others is removed."""
        path = self.folder / FINISHED
        if not path.is_file():
            return None
        state = self._read_or_warn(path)
        if state is not None and state["settings"] == self.settings:
            self._compare(state)
            return state["content"]
        if state is not None:
            logger.info("%s: of another training, which was finished: removed", path)
        path.unlink()
        return None

    def _read_or_warn(self, path: Path) -> dict | None:
        try:
            return _read(path)
        except _DamagedError as damage:
            logger.warning("%s: damaged (%s), looking for another state", path, damage)
            return None

    def _newest_first(self) -> list[Path]:
        names = re.compile(r"step-\d{8,}\.pt")
        files = [path for path in self.folder.glob("step-*.pt") if path.is_file()]
        ours = [path for path in files if names.fullmatch(path.name)]
        return sorted(ours, key=_step_of, reverse=True)

    def _warn_of_full_disk(self, path: Path, size: int, error: OSError) -> None:
        free = ""
        if error.errno == errno.ENOSPC:  # not a quota, nor a limit of the size of files
            free = f" and {shutil.disk_usage(self.folder).free / MEGABYTE:.1f} MB are free"
        step = self.newest_step()
        last = f"the last state is of step {step}" if step else "there is no state yet"
        logger.warning(
            "%s: not saved, the state needs %.1f MB%s (%s): training goes on, %s",
            *(path, size / MEGABYTE, free, error.strerror, last),
        )

    def _remove_partial(self) -> None:
        for path in self.folder.glob("*.partial"):
            path.unlink(missing_ok=True)

    def _remove_superseded(self, newest: Path) -> None:
        """Keep the newest and the last good one before it.

        Files of later steps go too: the training came back to an earlier one because they are
        damaged.
        """
        n_kept = 1
        for path in self._newest_first():
            if path == newest:
                continue
            if n_kept < KEPT and _step_of(path) < _step_of(newest) and self._judge(path):
                n_kept += 1
            else:
                path.unlink(missing_ok=True)
                self._is_good.pop(path, None)

    def _judge(self, path: Path) -> bool:
        """Whether a file is undamaged; one that `load` has not come to is read for that."""
        if path not in self._is_good:
            try:
                _read(path)
            except _DamagedError:
                self._is_good[path] = False
            else:
                self._is_good[path] = True
        return self._is_good[path]

    def _compare(self, state: dict) -> None:
        """Refuse a state of other settings; warn of one of another environment."""
        if found := differences(state["settings"], self.settings):
            raise InputError(
                f"{self.folder}: belongs to another training ({found}): go on with "
                f"the earlier settings, or delete the folder to start anew"
            )
        if found := differences(state["environment"], self.environment):
            logger.warning(
                "%s: saved under other conditions (%s): the rest may differ in the last digits",
                *(self.folder, found),
            )


def _name(step: int) -> str:
    return f"step-{step:08d}.pt"


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _pack(state: dict) -> memoryview:
    """Bytes of a state's file."""
    buffer = io.BytesIO(bytes(HEADER_BYTES))
    buffer.seek(HEADER_BYTES)
    torch.save(state, buffer)  # not to the disk: torch hides that it is full behind other errors
    content = buffer.getbuffer()
    digest = hashlib.sha256(content[HEADER_BYTES:]).hexdigest()
    content[:HEADER_BYTES] = FORMAT + digest.encode() + b"\n"
    return content


def _read(path: Path) -> dict:
    """State in a file, tensors on the CPU."""
    try:
        with open(path, "rb") as file:
            digest = _read_digest(file)
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise _DamagedError("its SHA-256 is not the one that it states")
            file.seek(HEADER_BYTES)
            return torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise _DamagedError((str(error) or repr(error)).splitlines()[0]) from error
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise _DamagedError("the disk cannot read it") from error


def _read_digest(file: BinaryIO) -> str:
    """SHA-256 that the first line states."""
    header = file.read(HEADER_BYTES)
    if not header:
        raise _DamagedError("empty")
    if not re.fullmatch(FORMAT + rb"[0-9a-f]{64}\n", header):
        raise _DamagedError(f"does not begin with {FORMAT.decode().strip()!r} and a SHA-256")
    return header[len(FORMAT) : -1].decode()


def _plain(settings: Mapping) -> dict:
    """Settings as they come back from a file: tuples as lists, keys as strings."""
    return json.loads(json.dumps(settings))
