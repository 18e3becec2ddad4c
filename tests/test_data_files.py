import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from unetcore.data.files import check_space, replacing, write_atomically
from unetcore.errors import InputError


def test_replacing_gives_the_name_only_on_success(tmp_path):
    target = tmp_path / "a.txt"
    with replacing(target) as temporary:
        temporary.write_text("done")
        assert not target.exists()
    assert target.read_text() == "done"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_the_old_file(tmp_path, interruption):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half():
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise interruption

    with pytest.raises(interruption):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_last_free_byte_may_be_used(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3_000_000))
    check_space(tmp_path / "a.tif", 3_000_000)
    with pytest.raises(InputError, match=r"a\.tif: needs 4 MB, but only 3 MB are free"):
        check_space(tmp_path / "a.tif", 4_000_000)


def test_write_makes_the_folder_and_replaces_the_whole_file(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, b"longer content")
    write_atomically(path, memoryview(b"short"))
    assert path.read_bytes() == b"short"
    assert list(path.parent.iterdir()) == [path]


def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def stop(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_names_the_file_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "a.txt", b"new")
    assert caught.value.filename == str(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def record_calls(monkeypatch, *, fsync=os.fsync):
    """Steps of a write in order, each with the name and size of the file at that moment."""
    calls = []

    def sync(descriptor):
        place = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        calls.append(("sync", place.name, place.stat().st_size if place.is_file() else None))
        fsync(descriptor)

    def replace(source, target, _replace=os.replace):
        calls.append(("rename", Path(source).name, Path(target).name))
        _replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    return calls


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's /proc")


@needs_proc
def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    calls = record_calls(monkeypatch)
    write_atomically(tmp_path / "a.txt", b"12345")
    assert calls == [
        ("sync", "a.txt.partial", 5),  # all five bytes have left the buffer of the process
        ("rename", "a.txt.partial", "a.txt"),
        ("sync", tmp_path.name, None),
    ]


@needs_proc
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_file_system_that_cannot_sync_a_folder_will_do_but_not_a_failing_one(
    tmp_path, monkeypatch, number
):
    def fsync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))

    record_calls(monkeypatch, fsync=fsync)
    if number == errno.EINVAL:
        write_atomically(tmp_path / "a.txt", b"12345")
        assert (tmp_path / "a.txt").read_bytes() == b"12345"
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            write_atomically(tmp_path / "a.txt", b"12345")
