"""One process at a time in a folder."""

import errno
import fcntl
import json
import logging
import os
import signal
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from unetcore.errors import InputError

logger = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds that an asked process has to leave
POLL = 0.1  # seconds
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)  # of file systems that have none


@dataclass(frozen=True)
class Owner:
    """Process that holds a lock.

    Attributes
    ----------
    pid, host : number of the process and name of its machine.
    started : clock ticks from the start of the machine to that of the process, as Linux counts
        them; it tells the process from a later one of the same number. Empty elsewhere.
    """

    pid: int
    host: str
    started: str

    @classmethod
    def of_this_process(cls):
        """Describe the process that asks."""
        return cls(os.getpid(), socket.gethostname(), _start_of(os.getpid()))

    def is_here(self) -> bool:
        """Whether the process runs on this machine and can be seen from here."""
        return self.host == socket.gethostname() and self.started == _start_of(self.pid)


def _start_of(pid: int) -> str:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]  # after the name, which may hold anything


class FolderLock:
    """Hold a folder for this process, until it lets go or ends, however it ends.

    The lock is the kernel's (``flock``) on a file that says who holds it, so a file that a dead
    process left behind locks nothing.

    Parameters
    ----------
    folder : made where it is missing.
    take_over : ask a process of this machine that holds the folder to stop (SIGTERM), and wait for
        it, up to `PATIENCE` seconds.
    """

    def __init__(self, folder: Path, *, take_over: bool = False):
        self.path = Path(folder) / "lock"
        self.take_over = take_over
        self._descriptor = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the folder."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the folder.

        Raises
        ------
        InputError : another process is there; with `take_over`, one of another machine, or one
            that does not leave.
        """
        deadline = time.monotonic() + PATIENCE
        asked = None
        while not self._try():
            owner = self._owner()
            if owner is not None and owner != asked:
                if asked is not None or not self.take_over or not self._ask(owner):
                    raise self._refusal(owner)
                asked = owner
            if time.monotonic() > deadline:
                raise self._refusal(owner)
            time.sleep(POLL)

    def release(self) -> None:
        """Let go of the folder."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)  # nobody must take this process for the owner now
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # also where a forked process has a copy
            os.close(self._descriptor)
            self._descriptor = None

    def _try(self):
        """Take the lock if it is free; False if another process has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the process before has just removed the folder
            return False
        try:
            if self._lock(descriptor) and self._is_current(descriptor):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps(asdict(Owner.of_this_process())).encode())
                self._descriptor = descriptor
        except OSError as error:
            error.filename = str(self.path)
            raise
        finally:
            if not self.is_held:
                os.close(descriptor)
        return self.is_held

    def _lock(self, descriptor):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            logger.warning(
                "%s: this file system has no locks: nothing stops a second process here", self.path
            )
        return True

    def _is_current(self, descriptor):
        """Whether the locked file still has its name: the holder before may have removed it."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _owner(self):
        """Who holds the lock; None while that is not written yet."""
        try:
            return Owner(**json.loads(self.path.read_text()))
        except (FileNotFoundError, ValueError):
            return None

    def _ask(self, owner):
        """Ask a process to stop; False if that is not possible from here."""
        if owner.pid == os.getpid() or not owner.is_here():
            return False
        logger.warning(
            "%s: process %d is still training here: asking it to stop, and continuing its work",
            self.path.parent,
            owner.pid,
        )
        try:
            os.kill(owner.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass  # it has just ended
        except PermissionError:
            return False
        return True

    def _refusal(self, owner):
        who = f"process {owner.pid} on {owner.host}" if owner else "another process"
        return InputError(f"{self.path.parent}: {who} is training here: wait for it or stop it")
