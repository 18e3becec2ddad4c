import numpy as np
import pytest
import tifffile

from unetcore.data.ctc import read
from unetcore.data.io import write_stack
from unetcore.errors import InputError

GOLD = {"01": (0, 2), "02": (1,)}
N_FRAMES = 3


def image(sequence, number, shape):
    rng = np.random.default_rng([int(sequence), number])
    return rng.integers(0, 256, shape, np.uint8)


def gold(number, shape):
    """Two touching cells whose ids depend on the frame."""
    labels = np.zeros(shape, np.uint16)
    labels[1:5, 1:5], labels[1:5, 5:9] = number + 1, number + 300
    return labels


def make_dataset(folder, shape=(16, 20), n_frames=N_FRAMES, gold_frames=GOLD):
    """Unpacked archive with gold truth, silver truth and tracking markers."""
    root = folder / "DIC-C2DH-HeLa"
    for sequence, labelled in gold_frames.items():
        for number in range(n_frames):
            write_stack(
                root / sequence / f"t{number:03d}.tif", image(sequence, number, shape)[None]
            )
            silver = np.full((1, *shape), 7, np.uint16)
            write_stack(root / f"{sequence}_ST" / "SEG" / f"man_seg{number:03d}.tif", silver)
            write_stack(root / f"{sequence}_GT" / "TRA" / f"man_track{number:03d}.tif", silver)
        for number in labelled:
            write_stack(
                root / f"{sequence}_GT" / "SEG" / f"man_seg{number:03d}.tif",
                gold(number, shape)[None],
            )
        (root / f"{sequence}_GT" / "TRA" / "man_track.txt").write_text("1 0 2 0\n")
    return root


@pytest.fixture
def root(tmp_path):
    return make_dataset(tmp_path)


def test_all_frames_of_both_sequences_in_order(root, tmp_path):
    images, labels, frames = read(tmp_path, partial=["01-002"])
    assert [frame.id for frame in frames] == [
        f"{sequence}-{number:03d}" for sequence in ("01", "02") for number in range(3)
    ]
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.labelled for frame in frames] == [True, False, True, False, True, False]
    assert [frame.partial for frame in frames] == [False, False, True, False, False, False]
    assert {frame.split for frame in frames} == {"train"}
    for page, frame in zip(images, frames, strict=True):
        number = int(frame.id[3:])
        np.testing.assert_array_equal(page, image(frame.sequence, number, (16, 20)))
    assert labels.dtype == np.uint16
    for page, frame in zip(labels, frames, strict=True):
        expected = gold(int(frame.id[3:]), (16, 20)) if frame.labelled else np.zeros((16, 20))
        np.testing.assert_array_equal(page, expected)  # the silver truth's id 7 is nowhere


def test_the_layout_of_u373(tmp_path):
    """115 frames of 520 x 696 px in the real data; 15 and 19 of them labelled."""
    labelled = {"01": (1, 5, 6), "02": (0, 4)}
    make_dataset(tmp_path, shape=(520, 696), n_frames=7, gold_frames=labelled)
    images, labels, frames = read(tmp_path, partial=[])
    assert images.shape == labels.shape == (14, 520, 696)
    assert [f.id for f in frames if f.labelled] == [
        "01-001",
        "01-005",
        "01-006",
        "02-000",
        "02-004",
    ]


@pytest.mark.parametrize("path", ["01/t001.tif", "02/t000.tif"])
def test_a_gap_in_a_sequence_is_refused(root, tmp_path, path):
    (root / path).unlink()
    with pytest.raises(InputError, match=rf"the archive has no frame {int(path[-5])} before it"):
        read(tmp_path, partial=[])


def test_labels_without_their_frame_are_refused(root, tmp_path):
    (root / "01" / "t002.tif").unlink()
    with pytest.raises(InputError, match=r"01_GT/SEG/man_seg002\.tif: labels without their frame"):
        read(tmp_path, partial=[])


def test_missing_folders_are_named(root, tmp_path):
    with pytest.raises(InputError, match="01: no such folder in the archive"):
        read(root / "02", partial=[])
    (root / "02_GT" / "SEG").rename(root / "02_GT" / "SEG-elsewhere")
    with pytest.raises(InputError, match="02_GT/SEG: no file man_seg"):
        read(tmp_path, partial=[])
    (root / "02").rename(root / "03")
    with pytest.raises(InputError, match="/02: no file t"):
        read(tmp_path, partial=[])


def test_two_datasets_in_one_archive_are_refused(tmp_path):
    make_dataset(tmp_path / "a")
    make_dataset(tmp_path / "b")
    with pytest.raises(InputError, match="the archive has another dataset"):
        read(tmp_path, partial=[])


def test_a_partial_frame_must_have_labels(root, tmp_path):
    with pytest.raises(InputError, match="partial frame 01-001: the archive has no labels"):
        read(tmp_path, partial=["01-001"])


@pytest.mark.parametrize(
    ("path", "stack", "message"),
    [
        (
            "01/t001.tif",
            np.zeros((1, 16, 16), np.uint8),
            r"t001\.tif: uint8 of shape \(1, 16, 16\), the first frame has uint8 \(1, 16, 20\)",
        ),
        ("02/t001.tif", np.zeros((1, 16, 20), np.uint16), r"02/t001\.tif: uint16 of shape"),
        ("01/t000.tif", np.zeros((2, 16, 20), np.uint8), r"t000\.tif: uint8 of shape \(2, 16, 20"),
        (
            "01_GT/SEG/man_seg002.tif",
            np.ones((1, 16, 16), np.uint16),
            r"man_seg002\.tif: labels of 16 x 16 px for images of 16 x 20 px in .*t002\.tif",
        ),
        (
            "01_GT/SEG/man_seg002.tif",
            np.ones((2, 16, 20), np.uint16),
            r"man_seg002\.tif: 2 label pages for the 1 images of .*t002\.tif",
        ),
        (
            "01_GT/SEG/man_seg002.tif",
            np.zeros((1, 16, 20), np.uint16),
            r"man_seg002\.tif: largest label is 0, expected 1 to 65535",
        ),
    ],
)
def test_files_that_do_not_fit_together(root, tmp_path, path, stack, message):
    write_stack(root / path, stack)
    with pytest.raises(InputError, match=message):
        read(tmp_path, partial=[])


def test_a_colour_frame_is_refused(root, tmp_path):
    tifffile.imwrite(root / "01" / "t001.tif", np.zeros((16, 20, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match=r"01/t001\.tif: a colour image"):
        read(tmp_path, partial=[])
