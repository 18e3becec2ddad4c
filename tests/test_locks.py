"""A folder has one owner: who it is, when it is free, who is asked to leave and who never is."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from unetcore import locks
from unetcore.errors import InputError
from unetcore.locks import FolderLock, Owner

ROOT = Path(__file__).resolve().parents[1]
HOLDER = """
import json, signal, sys, time
from unetcore.locks import FolderLock
folder, on_sigterm, changes = sys.argv[1:]
def leave(number, frame):
    lock.release()
    sys.exit(143)
signal.signal(signal.SIGTERM, signal.SIG_IGN if on_sigterm == "stays" else leave)
lock = FolderLock(folder)
lock.acquire()
if changes := json.loads(changes):
    owner = json.loads(lock.path.read_text())
    lock.path.write_text(json.dumps(owner | changes))
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def holder(folder, on_sigterm="leaves", **changes):
    """Another process that holds a folder; `changes` are untruths in what it says of itself."""
    command = [sys.executable, "-c", HOLDER, folder, on_sigterm, json.dumps(changes)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def lock(tmp_path):
    """Lock of a folder that is not there yet, released afterwards."""
    lock = FolderLock(tmp_path / "run")
    yield lock
    lock.release()


def refusal(folder, *, take_over=False):
    with pytest.raises(InputError) as caught:
        FolderLock(folder, take_over=take_over).acquire()
    return str(caught.value)


def test_a_held_folder_says_who_holds_it(lock):
    lock.acquire()
    said = json.loads(lock.path.read_text())
    assert (said["pid"], said["host"]) == (os.getpid(), socket.gethostname())
    assert lock.is_held
    assert refusal(lock.path.parent) == (
        f"{lock.path.parent}: process {os.getpid()} on {socket.gethostname()} is training here: "
        f"wait for it or stop it"
    )


def test_a_released_folder_is_free_and_nobody_is_said_to_hold_it(lock):
    lock.acquire()
    lock.release()
    assert not lock.is_held
    assert lock.path.read_text() == ""
    lock.acquire()
    assert lock.is_held


def test_a_forked_process_does_not_keep_what_its_parent_released(lock):
    lock.acquire()
    child = subprocess.Popen(["sleep", "60"], pass_fds=[lock._descriptor])
    try:
        lock.release()
        lock.acquire()
        assert lock.is_held
    finally:
        child.kill()
        child.wait()


def test_a_folder_of_another_process_is_refused_until_that_process_dies(lock):
    folder = lock.path.parent
    with holder(folder) as process:
        assert f"process {process.pid} on {socket.gethostname()} is training" in refusal(folder)
        process.kill()
        process.wait()
        assert json.loads(lock.path.read_text())["pid"] == process.pid  # what it left locks nothing
        lock.acquire()
    assert json.loads(lock.path.read_text())["pid"] == os.getpid()


def test_an_orphan_is_asked_to_leave(lock, caplog):
    lock.take_over = True
    with holder(lock.path.parent) as process:
        lock.acquire()
        assert process.wait(timeout=10) == 143
    assert lock.is_held
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"{lock.path.parent}: process {process.pid} is still training here" in record.message


def test_an_orphan_that_does_not_leave_in_time_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.3)
    with holder(tmp_path, "stays") as process:
        assert f"process {process.pid} on" in refusal(tmp_path, take_over=True)
        assert process.poll() is None


@pytest.mark.parametrize(
    "untruth",
    [{"host": "elsewhere"}, {"started": "1"}],
    ids=["other-machine", "number-used-again"],
)
def test_a_process_that_is_not_the_one_named_is_never_signalled(tmp_path, untruth):
    """On another machine, or after the number was given away, the pid means somebody else."""
    with holder(tmp_path, **untruth) as process:
        message = refusal(tmp_path, take_over=True)
        assert f"process {process.pid} on {untruth.get('host', socket.gethostname())}" in message
        time.sleep(0.2)
        assert process.poll() is None


def test_a_process_does_not_ask_itself_to_leave(lock):
    lock.acquire()
    assert f"process {os.getpid()} on" in refusal(lock.path.parent, take_over=True)


def test_what_a_dead_process_left_signals_nobody(lock):
    """The lock is free, so the number in the file, in use again by now, is not looked at."""
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        lock.path.parent.mkdir()
        owner = Owner(bystander.pid, socket.gethostname(), locks._start_of(bystander.pid))
        lock.path.write_text(json.dumps(vars(owner)))
        lock.take_over = True
        lock.acquire()
        time.sleep(0.2)
        assert lock.is_held
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_process_of_another_user_is_not_ours_to_stop(tmp_path, monkeypatch):
    def forbid(pid, number):
        assert number == signal.SIGTERM
        raise PermissionError

    with holder(tmp_path) as process:
        with monkeypatch.context() as patched:
            patched.setattr(os, "kill", forbid)
            assert f"process {process.pid} on" in refusal(tmp_path, take_over=True)
        assert process.poll() is None


def test_a_lock_file_that_was_removed_meanwhile_is_no_lock(lock, monkeypatch):
    """Whoever held the folder removes the file while another one waits with it open."""
    flock, opened = locks.fcntl.flock, []

    def remove_before_the_first(descriptor, operation):
        if not opened:
            lock.path.unlink()
        opened.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(locks.fcntl, "flock", remove_before_the_first)
    lock.acquire()
    assert len(opened) == 2
    assert refusal(lock.path.parent)


def test_a_file_system_without_locks_is_said_aloud(lock, monkeypatch, caplog):
    def flock(descriptor, operation):
        raise OSError(locks.errno.ENOSYS, "Function not implemented")

    with monkeypatch.context() as patched:
        patched.setattr(locks.fcntl, "flock", flock)
        lock.acquire()
    assert lock.is_held
    assert "this file system has no locks" in caplog.text


def test_start_of_a_process_tells_two_of_them_apart():
    if not Path("/proc/self/stat").is_file():
        pytest.skip("needs Linux's /proc")
    mine = locks._start_of(os.getpid())
    assert mine == locks._start_of(os.getpid())
    assert int(locks._start_of(1)) < int(mine)
    assert locks._start_of(2**31 - 1) == ""
