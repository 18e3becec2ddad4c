import shutil
import stat
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from unetcore.data.archive import extract
from unetcore.errors import InputError


def make_zip(path, members):
    """Write a zip of text members; a value may be a ZipInfo with its text."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def assert_only(folder, *names):
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_extract(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("top.txt", "1"), ("in/", ""), ("in/deep.txt", "2")])
    folder = extract(archive, tmp_path / "out")
    assert folder == tmp_path / "out"
    assert (folder / "top.txt").read_text() == "1"
    assert (folder / "in" / "deep.txt").read_text() == "2"
    assert_only(tmp_path, "a.zip", "out")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../evil.txt", r"member '\.\./evil\.txt' lies outside"),
        ("in/../../evil.txt", "lies outside"),
        ("in\\..\\..\\evil.txt", "lies outside"),
        ("/etc/evil.txt", "member '/etc/evil.txt' has an absolute path"),
        ("C:\\evil.txt", "has an absolute path"),
        ("./", "has no valid name"),
        ("\\\\host\\share\\evil.txt", "has an absolute path"),
    ],
)
def test_no_path_leaves_the_folder(tmp_path, name, message):
    (tmp_path / "in").mkdir()
    archive = make_zip(tmp_path / "in" / "a.zip", [("good.txt", "1"), (name, "2")])
    with pytest.raises(InputError, match=rf"a\.zip: .*{message}"):
        extract(archive, tmp_path / "in" / "out")
    assert_only(tmp_path, "in")
    assert_only(tmp_path / "in", "a.zip")


@pytest.mark.parametrize(
    ("kind", "message"), [(stat.S_IFLNK, "a symbolic link"), (stat.S_IFIFO, "no plain file")]
)
def test_links_and_pipes_are_refused(tmp_path, kind, message):
    member = zipfile.ZipInfo("link")
    member.create_system = 3  # unix: the upper half of external_attr is the file's mode
    member.external_attr = (kind | 0o777) << 16
    archive = make_zip(tmp_path / "a.zip", [(member, "/etc/passwd")])
    with pytest.raises(InputError, match=f"member 'link' is {message}"):
        extract(archive, tmp_path / "out")
    assert_only(tmp_path, "a.zip")


def test_a_name_that_is_there_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = make_zip(tmp_path / "a.zip", [("a.txt", "1"), ("a.txt", "2")])
    with pytest.raises(InputError, match=r"member 'a\.txt' is there twice"):
        extract(archive, tmp_path / "out")


def test_a_name_that_is_file_and_folder_is_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("a", "1"), ("a/b", "2")])
    with pytest.raises(InputError, match="member 'a' is both a file and a folder"):
        extract(archive, tmp_path / "out")
    assert_only(tmp_path, "a.zip")


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.99])
def test_truncated_archives_are_refused(tmp_path, share):
    archive = make_zip(tmp_path / "a.zip", [(f"{i}.txt", str(i) * 1000) for i in range(20)])
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"a\.zip: truncated or damaged zip archive"):
        extract(archive, tmp_path / "out")
    assert_only(tmp_path, "a.zip")


@pytest.mark.parametrize("position", range(0, 2000, 97))
def test_damaged_bytes_are_refused_and_nothing_is_left(tmp_path, position):
    noise = np.random.default_rng(0).bytes(2000)
    archive = make_zip(tmp_path / "a.zip", [("first.txt", "fine"), ("second.txt", noise)])
    damaged = bytearray(archive.read_bytes())
    damaged[damaged.index(b"second.txt") + len(b"second.txt") + position] ^= 0xFF
    archive.write_bytes(damaged)
    with pytest.raises(InputError, match="truncated or damaged"):
        extract(archive, tmp_path / "out")
    assert_only(tmp_path, "a.zip")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    archive = make_zip(tmp_path / "bomb.zip", [(f"{i}.bin", bytes(10**6)) for i in range(10)])
    assert archive.stat().st_size < 20_000
    with pytest.raises(InputError, match=r"bomb\.zip: unpacks to 10 MB, more than the 5 MB"):
        extract(archive, tmp_path / "out", limit=5 * 10**6)
    assert_only(tmp_path, "bomb.zip")


def test_a_full_disk_is_noticed_before_the_first_byte(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "a.zip", [("a.bin", bytes(2 * 10**6))])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    with pytest.raises(InputError, match="needs 2 MB, but only 1 MB are free"):
        extract(archive, tmp_path / "out")
    assert_only(tmp_path, "a.zip")


def test_missing_archive_and_existing_folder(tmp_path):
    with pytest.raises(InputError, match=r"none\.zip: no such archive"):
        extract(tmp_path / "none.zip", tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out: is there already"):
        extract(make_zip(tmp_path / "a.zip", []), tmp_path / "out")
