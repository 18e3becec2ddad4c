import hashlib
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from unetcore.data.io import (
    check_pair,
    pixel_digest,
    read_images,
    read_labels,
    read_probability,
    to_unit_range,
    write_stack,
)
from unetcore.errors import InputError


def noise(dtype, shape=(3, 20, 30), seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.random(shape, dtype=np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(1, 20, 30), (3, 20, 30), (4, 3, 3)])  # 3 x 3 is no colour
def test_stack_round_trip(tmp_path, dtype, shape):
    stack = noise(dtype, shape)
    write_stack(tmp_path / "new" / "stack.tif", stack)
    read = read_images(tmp_path / "new" / "stack.tif")
    assert read.dtype == stack.dtype
    np.testing.assert_array_equal(read, stack)


def test_equal_stacks_are_equal_files_of_one_page_per_image(tmp_path):
    for name in ("a.tif", "b.tif"):
        write_stack(tmp_path / name, noise("uint16"))
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages) == 3


def test_a_single_page_is_a_stack_of_one(tmp_path):
    tifffile.imwrite(tmp_path / "one.tif", noise("uint8", (20, 30)))
    assert read_images(tmp_path / "one.tif").shape == (1, 20, 30)


def test_big_endian_files_read_the_same(tmp_path):
    stack = noise("uint16")
    tifffile.imwrite(tmp_path / "big.tif", stack, byteorder=">", photometric="minisblack")
    np.testing.assert_array_equal(read_images(tmp_path / "big.tif"), stack)
    assert pixel_digest(stack.astype(">u2")) == pixel_digest(stack)


def test_a_grey_palette_reads_as_its_indices(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    page = noise("uint8", (20, 30))
    tifffile.imwrite(tmp_path / "grey.tif", page, photometric="palette", colormap=ramp)
    np.testing.assert_array_equal(read_images(tmp_path / "grey.tif")[0], page)


def colour_palette():
    palette = np.zeros((3, 256), np.uint16)
    palette[0] = np.arange(256) * 257
    return palette


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 16, 16, 3), {"photometric": "rgb"}, r"bad\.tif: a colour image \(RGB\)"),
        ((3, 16, 16), {"photometric": "rgb", "planarconfig": "separate"}, "a colour image"),
        (
            (16, 16),
            {"photometric": "palette", "colormap": colour_palette()},
            r"a colour image \(palette\)",
        ),
        ((2, 16, 16), {"photometric": "miniswhite"}, "inverted grey values"),
        (
            (4, 2, 16, 16),
            {"imagej": True, "metadata": {"axes": "ZCYX"}},
            r"axes ZCYX of shape \(4, 2, 16, 16\)",
        ),
    ],
)
def test_read_images_refuses_what_is_no_grey_stack(tmp_path, shape, options, message):
    tifffile.imwrite(tmp_path / "bad.tif", noise("uint8", shape), **options)
    with pytest.raises(InputError, match=message):
        read_images(tmp_path / "bad.tif")


def test_read_images_refuses_pages_of_different_size(tmp_path):
    tifffile.imwrite(tmp_path / "mixed.tif", noise("uint8", (16, 16)))
    tifffile.imwrite(tmp_path / "mixed.tif", noise("uint8", (16, 17)), append=True)
    with pytest.raises(InputError, match=r"mixed\.tif: pages of different size"):
        read_images(tmp_path / "mixed.tif")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_read_images_refuses_values_that_are_no_number(tmp_path, bad):
    stack = noise("float32")
    stack[1, 2, 3] = bad
    tifffile.imwrite(tmp_path / "nan.tif", stack, photometric="minisblack")
    with pytest.raises(InputError, match=r"1 values are NaN or infinite, the first at \(1, 2, 3\)"):
        read_images(tmp_path / "nan.tif")


def test_read_images_names_the_number_types_it_takes(tmp_path):
    tifffile.imwrite(tmp_path / "long.tif", np.zeros((4, 4), np.int32))
    with pytest.raises(InputError, match="type int32, expected uint8, uint16 or float32"):
        read_images(tmp_path / "long.tif")


def test_a_missing_file_and_a_text_file_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.tif: no such file"):
        read_images(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("not an image\nat all\n")
    with pytest.raises(InputError, match=r"text\.tif: not a readable TIFF file") as caught:
        read_images(tmp_path / "text.tif")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999])
def test_a_truncated_file_is_never_a_shorter_stack(tmp_path, compression, share):
    path = tmp_path / "cut.tif"
    # Pages written one by one alternate with their directories: cut in between, tifffile would
    # return the pages before the cut.
    for page in noise("uint8", (8, 32, 32)):
        tifffile.imwrite(path, page, append=True, compression=compression, metadata=None)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"cut\.tif: (not a readable|damaged or truncated)"):
        read_images(path)


def test_read_labels_keeps_ids_and_turns_bits_into_integers(tmp_path):
    ids = noise("uint16")
    write_stack(tmp_path / "ids.tif", ids)
    np.testing.assert_array_equal(read_labels(tmp_path / "ids.tif"), ids)
    bits = ids[0] > 1000
    tifffile.imwrite(tmp_path / "bits.tif", bits)
    np.testing.assert_array_equal(read_labels(tmp_path / "bits.tif"), bits[None].astype(np.uint8))
    tifffile.imwrite(tmp_path / "floats.tif", ids.astype(np.float32), photometric="minisblack")
    floats = read_labels(tmp_path / "floats.tif")
    assert floats.dtype.kind == "i"
    np.testing.assert_array_equal(floats, ids)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.float32([[1, 2], [0.5, 0.25]]), r"labels\.tif: label 0\.5: need whole numbers"),
        (np.full((4, 4), np.nan, np.float32), "label nan: need whole numbers"),
        (np.full((4, 4), -1, np.int16), "label -1: need 0 for background"),
        (np.full((4, 4), 1j, np.complex64), "labels of type complex64: need whole numbers"),
    ],
)
def test_read_labels_refuses_what_cannot_be_ids(tmp_path, values, message):
    tifffile.imwrite(tmp_path / "labels.tif", values)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / "labels.tif")


def test_unit_range_depends_on_the_type_alone():
    np.testing.assert_array_equal(
        to_unit_range(np.array([0, 51, 255], np.uint8), "x"), np.float32([0, 0.2, 1])
    )
    np.testing.assert_array_equal(
        to_unit_range(np.array([0, 13107, 65535], np.uint16), "x"), np.float32([0, 0.2, 1])
    )
    # A dark float image stays dark: nothing is stretched.
    np.testing.assert_array_equal(to_unit_range(np.float64([0, 0.25]), "x"), np.float32([0, 0.25]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.float32([0, 255]), "scan: float values from 0 to 255, expected 0 to 1"),
        (np.float32([-0.5, 1]), "scan: float values from -0.5 to 1"),
        (np.float32([np.nan]), "scan: 1 values are NaN"),
        (np.int32([0, 1]), "scan: values of type int32"),
        (np.zeros((1, 0), np.float32), r"scan: an image of shape \(1, 0\), expected at least one"),
    ],
)
def test_unit_range_refuses_unknown_scales(values, message):
    with pytest.raises(InputError, match=message):
        to_unit_range(values, "scan")


def test_read_probability(tmp_path):
    write_stack(tmp_path / "p.tif", noise("float32"))
    np.testing.assert_array_equal(read_probability(tmp_path / "p.tif"), noise("float32"))
    write_stack(tmp_path / "p8.tif", np.full((1, 2, 2), 255, np.uint8))
    np.testing.assert_array_equal(read_probability(tmp_path / "p8.tif"), np.ones((1, 2, 2)))
    write_stack(tmp_path / "scores.tif", 3 * noise("float32"))
    with pytest.raises(InputError, match=r"scores\.tif: float values from .*expected 0 to 1"):
        read_probability(tmp_path / "scores.tif")


def test_check_pair():
    images = np.zeros((3, 4, 5))
    check_pair(images, np.zeros((3, 4, 5)))
    with pytest.raises(InputError, match=r"l\.tif: 2 label pages for the 3 images of i\.tif"):
        check_pair(images, np.zeros((2, 4, 5)), images_name="i.tif", labels_name="l.tif")
    with pytest.raises(InputError, match="labels: labels of 5 x 4 px for images of 4 x 5 px"):
        check_pair(images, np.zeros((3, 5, 4)))


def test_a_full_disk_is_noticed_before_the_first_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3_000_000))
    with pytest.raises(InputError, match=r"big\.tif: needs 4 MB, but only 3 MB are free"):
        write_stack(tmp_path / "big.tif", np.zeros((1, 2000, 2000), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "stack.tif"
    write_stack(path, noise("uint8"))
    before = path.read_bytes()

    def half_written(target, *args, **kwargs):
        target.write_bytes(b"half")
        raise OSError("the disk went away")

    monkeypatch.setattr(tifffile, "imwrite", half_written)
    with pytest.raises(OSError, match="went away"):
        write_stack(path, noise("uint8", seed=1))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "stack", [np.zeros((4, 4), np.uint8), np.zeros((0, 4, 4), np.uint8), np.zeros((1, 4, 4))]
)
def test_write_stack_writes_only_stacks(tmp_path, stack):
    with pytest.raises(ValueError, match="cannot write"):
        write_stack(tmp_path / "stack.tif", stack)


def test_pixel_digest_is_that_of_the_bytes():
    # 256 is 0x0100: little-endian bytes 00 01.
    assert pixel_digest(np.uint16([1, 256])) == hashlib.sha256(b"\x01\x00\x00\x01").hexdigest()
    rows = noise("uint8", (1, 6, 8))
    assert pixel_digest(rows[:, ::2]) == pixel_digest(rows[:, ::2].copy())
