import hashlib
import os
import zipfile
from pathlib import Path

import canonical as script
import numpy as np
import pytest
import tifffile

from unetcore.data.canonical import read_archive
from unetcore.data.catalog import read_catalog
from unetcore.data.download import fetch
from unetcore.data.frames import read_frames
from unetcore.data.io import read_images, read_labels, write_stack
from unetcore.errors import InputError

CATALOG = Path(__file__).parent.parent / "resources" / "datasets.yaml"
RNG_SEED = 7


def sha256(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


def zipped(archive, arrays):
    """Zip of TIFF files made of arrays by name; (H, W, 3) arrays become colour images."""
    with zipfile.ZipFile(archive, "w") as file:
        for name, array in arrays.items():
            path = archive.with_name("member.tif")
            if array.shape[-1] == 3:
                tifffile.imwrite(path, array, photometric="rgb")
            else:
                write_stack(path, array)
            file.write(path, name)
            path.unlink()
    return archive


@pytest.fixture
def slices():
    """Two training and two test slices in ISBI 2012's layout."""
    rng = np.random.default_rng(RNG_SEED)
    return {
        "train-volume.tif": rng.integers(0, 256, (2, 16, 20), np.uint8),
        "train-labels.tif": rng.choice(np.uint8([0, 255]), (2, 16, 20)),
        "test-volume.tif": rng.integers(0, 256, (2, 16, 20), np.uint8),
    }


@pytest.fixture
def movies():
    """Two frames of each sequence, the second one labelled, in the challenge's layout."""
    rng = np.random.default_rng(RNG_SEED)
    arrays = {}
    for sequence in ("01", "02"):
        for number in range(2):
            frame = rng.integers(0, 256, (1, 16, 20), np.uint8)
            arrays[f"cells/{sequence}/t00{number}.tif"] = frame
        labels = rng.integers(0, 4, (1, 16, 20)).astype(np.uint16)
        arrays[f"cells/{sequence}_GT/SEG/man_seg001.tif"] = labels
    return arrays


def written(tmp_path, archive, layout, members=None, pixels=None, partial=()):
    """Run the script and read back what it wrote."""
    folder = tmp_path / "data"
    script.main(
        archive,
        folder / "images.tif",
        folder / "labels.tif",
        folder / "frames.csv",
        layout=layout,
        members=members or {},
        pixels=pixels or {},
        partial=list(partial),
    )
    return (
        read_images(folder / "images.tif"),
        read_labels(folder / "labels.tif"),
        read_frames(folder / "frames.csv"),
    )


def test_slices_become_three_files(tmp_path, slices):
    archive = zipped(tmp_path / "em.zip", slices)
    images, labels, frames = written(tmp_path, archive, "isbi2012")
    np.testing.assert_array_equal(images[:2], slices["train-volume.tif"])
    np.testing.assert_array_equal(images[2:], slices["test-volume.tif"])
    np.testing.assert_array_equal(labels[:2], slices["train-labels.tif"])
    assert labels.dtype == np.uint8
    assert [(f.id, f.labelled) for f in frames] == [
        ("train-00", True),
        ("train-01", True),
        ("test-00", False),
        ("test-01", False),
    ]
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "frames.csv",
        "images.tif",
        "labels.tif",
    ]


def test_movies_become_three_files(tmp_path, movies):
    archive = zipped(tmp_path / "cells.zip", movies)
    images, labels, frames = written(tmp_path, archive, "ctc", partial=["02-001"])
    assert images.shape == labels.shape == (4, 16, 20)
    np.testing.assert_array_equal(images[2:3], movies["cells/02/t000.tif"])
    np.testing.assert_array_equal(labels[3:], movies["cells/02_GT/SEG/man_seg001.tif"])
    assert labels.dtype == np.uint16
    assert [(f.id, f.labelled, f.partial) for f in frames] == [
        ("01-000", False, False),
        ("01-001", True, False),
        ("02-000", False, False),
        ("02-001", True, True),
    ]


def test_right_pixels_pass_and_unknown_ones_are_logged(tmp_path, slices, caplog):
    archive = zipped(tmp_path / "em.zip", slices)
    known = {"images/train": sha256(slices["train-volume.tif"])}
    with caplog.at_level("INFO"):
        written(tmp_path, archive, "isbi2012", pixels=known)
    assert "pixel digest of images/train as expected" in caplog.text
    unknown = sha256(slices["train-labels.tif"])
    assert f"pixel digest of labels/train is {unknown}, none known" in caplog.text
    assert "labels/test" not in caplog.text  # there are none


def test_digests_of_labels_cover_the_labelled_frames(tmp_path, movies):
    archive = zipped(tmp_path / "cells.zip", movies)
    gold = movies["cells/01_GT/SEG/man_seg001.tif"]
    _, labels, frames = written(tmp_path, archive, "ctc", pixels={"labels/01": sha256(gold)})
    (page,) = [f.index for f in frames if f.labelled and f.sequence == "01"]
    np.testing.assert_array_equal(labels[page], gold[0])


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ({"labels/train": "0" * 64}, r"em\.zip: pixel digest of labels/train is .*, expected 000"),
        ({"labels/test": "0" * 64}, r"em\.zip: no labels/test, whose pixel digest is known"),
    ],
)
def test_wrong_pixels_are_refused_and_nothing_is_written(tmp_path, slices, pixels, message):
    archive = zipped(tmp_path / "em.zip", slices)
    with pytest.raises(InputError, match=message):
        written(tmp_path, archive, "isbi2012", pixels=pixels)
    assert list(tmp_path.iterdir()) == [archive]


def test_messages_name_the_place_in_the_archive(tmp_path, slices, movies):
    slices["train-volume.tif"] = np.zeros((16, 20, 3), np.uint8)
    archive = zipped(tmp_path / "em.zip", slices)
    with pytest.raises(InputError, match=rf"^{archive}/train-volume\.tif: a colour image \(RGB\)"):
        written(tmp_path, archive, "isbi2012")
    del movies["cells/02/t000.tif"]
    archive = zipped(tmp_path / "cells.zip", movies)
    with pytest.raises(InputError, match=rf"^{archive}/cells/02/t001\.tif: .* no frame 0 before"):
        written(tmp_path, archive, "ctc")


def test_a_truncated_archive_is_refused(tmp_path, slices):
    archive = zipped(tmp_path / "em.zip", slices)
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(InputError, match=rf"^{archive}: truncated or damaged zip archive"):
        written(tmp_path, archive, "isbi2012")
    assert list(tmp_path.iterdir()) == [archive]


def test_the_other_layout_and_an_unknown_one_are_refused(tmp_path, slices):
    archive = zipped(tmp_path / "em.zip", slices)
    with pytest.raises(InputError, match=r"em\.zip/01: no such folder in the archive"):
        written(tmp_path, archive, "ctc")
    with pytest.raises(InputError, match="layout 'isbi2013' is not among isbi2012, ctc"):
        written(tmp_path, archive, "isbi2013")


@pytest.fixture
def official(tmp_path):
    """Read a dataset from the mirror into the canonical form."""
    mirror = os.environ.get("UNET_DATA_MIRROR")
    if not mirror:
        pytest.skip("UNET_DATA_MIRROR is not set")

    def read(name):
        dataset = read_catalog(CATALOG)[name]
        archive = tmp_path / f"{name}.zip"
        fetch(
            archive,
            filename=dataset.archive,
            url=dataset.url,
            sha256=dataset.sha256,
            mirror=mirror,
        )
        return read_archive(
            archive,
            dataset.layout,
            members=dataset.members,
            pixels=dataset.pixels,
            partial=dataset.partial,
        )

    return read


@pytest.mark.realdata
def test_isbi2012_has_the_pixels_everybody_knows(official):
    images, labels, frames = official("isbi2012")  # checks the digests of the catalogue
    assert images.shape == (60, 512, 512)
    assert images.dtype == labels.dtype == np.uint8
    assert len(frames) == 60
    assert sum(frame.labelled for frame in frames if frame.split == "train") == 30
    assert round((labels[:30] == 255).mean() * 100, 2) == 78.04


@pytest.mark.realdata
def test_dic_hela_has_eighteen_labelled_frames(official):
    images, labels, frames = official("dic-hela")
    assert images.shape == labels.shape == (168, 512, 512)
    assert [int(f.id[3:]) for f in frames if f.labelled and f.sequence == "01"] == [
        2, 5, 21, 31, 33, 34, 39, 54, 67,
    ]  # fmt: skip
    assert [int(f.id[3:]) for f in frames if f.labelled and f.sequence == "02"] == [
        6, 7, 14, 27, 34, 38, 42, 61, 67,
    ]  # fmt: skip
    assert [f.id for f in frames if f.partial] == ["01-067"]
    assert labels[67].max() == 3
    assert all(labels[f.index].any() == f.labelled for f in frames)
