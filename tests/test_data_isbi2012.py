import logging
import subprocess

import numpy as np
import pytest

from unetcore.data.io import write_stack
from unetcore.data.isbi2012 import git_blob_sha1, read
from unetcore.errors import InputError

SHAPE = (3, 16, 20)


@pytest.fixture
def folder(tmp_path):
    """Unpacked archive of three training and two test slices, without test labels."""
    rng = np.random.default_rng(0)
    write_stack(tmp_path / "train-volume.tif", rng.integers(0, 256, SHAPE, np.uint8))
    write_stack(tmp_path / "train-labels.tif", mask(rng, 3))
    write_stack(tmp_path / "test-volume.tif", rng.integers(0, 256, (2, *SHAPE[1:]), np.uint8))
    return tmp_path


def mask(rng, n):
    return np.where(rng.random((n, *SHAPE[1:])) < 0.2, 0, 255).astype(np.uint8)


def add_test_labels(folder):
    labels = mask(np.random.default_rng(1), 2)
    write_stack(folder / "test-labels.tif", labels)
    return labels


def test_training_slices_come_first(folder):
    images, labels, frames = read(folder, members={})
    assert images.shape == labels.shape == (5, 16, 20)
    assert [frame.id for frame in frames] == [
        "train-00",
        "train-01",
        "train-02",
        "test-00",
        "test-01",
    ]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.labelled for frame in frames] == [True, True, True, False, False]
    assert all(frame.sequence == frame.split == frame.id[:-3] for frame in frames)
    assert set(np.unique(labels[:3])) == {0, 255}
    assert not labels[3:].any()


def test_files_may_lie_in_a_folder_of_the_archive(folder):
    flat = read(folder, members={})[0]
    inner = folder / "ISBI-2012-challenge"
    inner.mkdir()
    for path in folder.glob("*.tif"):
        path.rename(inner / path.name)
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "train-volume.tif").write_text("a resource fork")
    np.testing.assert_array_equal(read(folder, members={})[0], flat)


def test_git_blob_sha1_is_the_one_of_git(folder):
    # `printf 'hello\n' | git hash-object --stdin`, as in every introduction to git
    (folder / "hello").write_bytes(b"hello\n")
    assert git_blob_sha1(folder / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"
    volume = folder / "train-volume.tif"
    found = subprocess.run(
        ["git", "hash-object", volume], capture_output=True, text=True, check=True
    )
    assert git_blob_sha1(volume) == found.stdout.strip()


def test_test_labels_with_the_right_blob_are_used(folder):
    expected = add_test_labels(folder)
    blob = git_blob_sha1(folder / "test-labels.tif")
    _, labels, frames = read(folder, members={"test-labels.tif": blob})
    np.testing.assert_array_equal(labels[3:], expected)
    assert all(frame.labelled for frame in frames)


@pytest.mark.parametrize("members", [{"test-labels.tif": "0" * 40}, {}])
def test_test_labels_with_another_blob_are_not(folder, members, caplog):
    add_test_labels(folder)
    _, labels, frames = read(folder, members=members)
    assert not labels[3:].any()
    assert [frame.labelled for frame in frames[3:]] == [False, False]
    (message,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert message.startswith("test-labels.tif: git blob sha1 is ")
    assert "not the official file and not used" in message


def test_the_log_says_that_test_labels_are_absent(folder, caplog):
    read(folder, members={"test-labels.tif": "0" * 40})
    assert "test-labels.tif: not in the archive, the test slices have no labels" in caplog.text


def test_generated_test_labels_need_no_blob(folder):
    expected = add_test_labels(folder)
    labels = read(folder, members={"test-labels.tif": None})[1]
    np.testing.assert_array_equal(labels[3:], expected)


@pytest.mark.parametrize("name", ["train-volume.tif", "train-labels.tif", "test-volume.tif"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name}: no such file in the archive"):
        read(folder, members={})


def test_a_file_that_is_there_twice_is_refused(folder):
    (folder / "more").mkdir()
    (folder / "more" / "train-volume.tif").write_bytes((folder / "train-volume.tif").read_bytes())
    with pytest.raises(InputError, match="the archive has another file of that name"):
        read(folder, members={})


@pytest.mark.parametrize(
    ("name", "stack", "message"),
    [
        (
            "train-labels.tif",
            np.full((2, 16, 20), 255, np.uint8),
            r"train-labels\.tif: 2 label pages for the 3 images of train-volume\.tif",
        ),
        (
            "train-labels.tif",
            np.full((3, 16, 16), 255, np.uint8),
            "labels of 16 x 16 px for images of 16 x 20 px",
        ),
        (
            "train-labels.tif",
            np.arange(960, dtype=np.uint16).reshape(SHAPE),
            r"train-labels\.tif: label values 1, 2, 3, 4, 5, \.\.\., expected 0 .* and 255",
        ),
        (
            "train-labels.tif",
            np.full(SHAPE, 1, np.uint8),
            "label values 1, expected 0",
        ),
        (
            "test-volume.tif",
            np.zeros((2, 16, 16), np.uint8),
            r"test-volume\.tif: slices of uint8 \(16, 16\), those of train-volume\.tif are uint8",
        ),
        (
            "test-volume.tif",
            np.zeros((2, 16, 20), np.uint16),
            r"slices of uint16 .* are uint8",
        ),
    ],
)
def test_files_that_do_not_fit_together(folder, name, stack, message):
    write_stack(folder / name, stack)
    with pytest.raises(InputError, match=message):
        read(folder, members={})


def test_trusted_test_labels_must_fit_as_well(folder):
    write_stack(folder / "test-labels.tif", np.full((3, 16, 20), 255, np.uint8))
    with pytest.raises(InputError, match=r"test-labels\.tif: 3 label pages for the 2 images"):
        read(folder, members={"test-labels.tif": None})
