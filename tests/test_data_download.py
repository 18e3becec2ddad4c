import hashlib
import http.server
import logging
import socket
import sys
import threading
from functools import partial

import download as script
import pytest

from unetcore.data.download import fetch
from unetcore.errors import InputError

CONTENT = bytes(range(256)) * 2000 + b"PK\x05\x06" + bytes(18)  # ends as a zip archive does
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = "0" * 64
NAME = "cells.zip"


class Handler(http.server.SimpleHTTPRequestHandler):
    """A quiet file server whose first answers can be made to fail."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        failures = self.server.failures
        match failures.pop(0) if failures else None:
            case None:
                super().do_GET()
            case "break off":
                self.send_response(200)
                self.send_header("Content-Length", str(len(CONTENT)))
                self.end_headers()
                self.wfile.write(CONTENT[:1000])
            case status:
                self.send_error(status)


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    (folder / "SHA256SUMS").write_text(f"{OTHER}  other.zip\n{SHA256} *{NAME}\n")
    return folder


@pytest.fixture
def server(mirror):
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=mirror)
    ) as server:
        server.failures = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def dead_url():
    """Address on which nothing answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}/{NAME}"


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "archives" / "cells.zip"


def get(archive, url="https://example.org/cells.zip", sha256=None, mirror=None):
    fetch(archive, filename=NAME, url=url, sha256=sha256, mirror=mirror, pause=0)


def assert_nothing_left(archive):
    assert list(archive.parent.iterdir()) == []


def test_download(server, archive):
    get(archive, url=f"{server.url}/{NAME}", sha256=SHA256)
    assert archive.read_bytes() == CONTENT
    assert list(archive.parent.iterdir()) == [archive]
    assert archive.stat().st_mode & 0o044 or not (archive.parent.stat().st_mode & 0o044)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_shows_the_progress_on_a_terminal_only(
    server, archive, terminal, monkeypatch, capsys
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    get(archive, url=f"{server.url}/{NAME}")
    assert ("100%" in capsys.readouterr().err) == terminal


def test_script(server, archive):
    script.main(archive, filename=NAME, url=f"{server.url}/{NAME}", sha256=SHA256)
    assert archive.read_bytes() == CONTENT


@pytest.mark.parametrize("form", ["{}", "{}/", "file://{}", "file://localhost{}"])
def test_folder_mirror(mirror, archive, form):
    # The mirror's own hash counts, whatever the official archive's is: mirrors may be repacked.
    get(archive, sha256=OTHER, mirror=form.format(mirror))
    assert archive.read_bytes() == CONTENT


@pytest.mark.parametrize("form", ["{}", "{}/"])
def test_web_mirror(server, archive, form):
    get(archive, sha256=OTHER, mirror=form.format(server.url))
    assert archive.read_bytes() == CONTENT


@pytest.mark.parametrize("on_the_web", [False, True])
def test_wrong_hash_in_a_mirror(server, mirror, archive, on_the_web):
    (mirror / "SHA256SUMS").write_text(f"{OTHER}  ./{NAME}\n")
    with pytest.raises(InputError, match=rf"{NAME}: sha256 is {SHA256}, expected {OTHER}$"):
        get(archive, mirror=server.url if on_the_web else mirror)
    assert_nothing_left(archive)


@pytest.mark.parametrize("sums", [None, f"{OTHER}  other.zip\n"])
@pytest.mark.parametrize("on_the_web", [False, True])
def test_the_official_hash_counts_where_the_mirror_has_none(
    server, mirror, archive, sums, on_the_web
):
    (mirror / "SHA256SUMS").unlink()
    if sums:
        (mirror / "SHA256SUMS").write_text(sums)
    place = server.url if on_the_web else mirror
    get(archive, sha256=SHA256, mirror=place)
    assert archive.read_bytes() == CONTENT
    with pytest.raises(InputError, match="expected 000"):
        get(archive.with_name("again.zip"), sha256=OTHER, mirror=place)


def test_wrong_hash_of_a_download(server, archive):
    with pytest.raises(InputError, match=rf"^{server.url}/{NAME}: sha256 is .*, expected {OTHER}$"):
        get(archive, url=f"{server.url}/{NAME}", sha256=OTHER)
    assert_nothing_left(archive)


def test_an_unknown_hash_is_logged(mirror, archive, caplog):
    (mirror / "SHA256SUMS").unlink()
    with caplog.at_level(logging.INFO):
        get(archive, mirror=mirror)
    assert f"sha256 {SHA256}, not checked because none is known" in caplog.text


def test_offline_says_which_file_to_put_where(archive, dead_url):
    with pytest.raises(InputError, match="no connection") as caught:
        # A pause that would be noticed: where nothing answers there is no second attempt.
        fetch(archive, filename=NAME, url=dead_url, sha256=None, pause=60)
    message = str(caught.value)
    assert f"put {NAME} from {dead_url} into a folder" in message
    assert "UNET_DATA_MIRROR" in message
    assert "\n" not in message
    assert_nothing_left(archive)


def test_a_mirror_without_the_file(tmp_path, archive):
    with pytest.raises(
        InputError, match=r"empty/cells\.zip: no such file in the data mirror; put .* there"
    ):
        get(archive, mirror=tmp_path / "empty")
    assert_nothing_left(archive)


def test_a_web_mirror_without_the_file(server, mirror, archive):
    (mirror / NAME).unlink()
    with pytest.raises(InputError, match=r"cells\.zip: the server answers 404 .*; put cells\.zip"):
        get(archive, mirror=server.url)
    assert_nothing_left(archive)


def test_passing_failures_are_tried_again(server, archive, caplog):
    server.failures += [503, "break off"]
    get(archive, url=f"{server.url}/{NAME}", sha256=SHA256)
    assert archive.read_bytes() == CONTENT
    assert "the server answers 503 Service Unavailable, attempt 1 of 3" in caplog.text
    assert "the transfer broke off (ChunkedEncodingError), attempt 2 of 3" in caplog.text


def test_a_transfer_that_always_breaks_off(server, archive):
    server.failures += 3 * ["break off"]
    with pytest.raises(InputError, match="the transfer broke off"):
        get(archive, url=f"{server.url}/{NAME}")
    assert_nothing_left(archive)


def test_an_archive_is_replaced_only_by_a_good_one(mirror, archive):
    archive.parent.mkdir()
    archive.write_bytes(b"old")
    (mirror / "SHA256SUMS").write_text(f"{OTHER}  {NAME}\n")
    with pytest.raises(InputError, match="expected 000"):
        get(archive, mirror=mirror)
    assert archive.read_bytes() == b"old"
