import shutil
from types import SimpleNamespace

import pytest

from unetcore.data.files import check_space, replacing
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
