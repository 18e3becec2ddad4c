"""Stacks larger than memory: windows of every kind of file are what the whole file holds there."""

import json
import os

import numpy as np
import pytest
import tifffile
import zarr

from unetcore.data import stacks
from unetcore.data.io import open_labels, open_probability, read_images
from unetcore.data.stacks import Scale, open_stack
from unetcore.errors import InputError

TIFFS = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "zlib": {"compression": "zlib"},
    "strips": {"compression": "lzw", "rowsperstrip": 16},
    "tiles": {"compression": "zlib", "tile": (64, 96)},
    "OME": {"ome": True, "metadata": {"axes": "ZYX"}},
    "BigTIFF": {"bigtiff": True, "compression": "zlib", "rowsperstrip": 7},
}
WINDOWS = [
    (0, 0, 1, 1),
    (0, 0, 150, 170),
    (3, 100, 149, 170),
    (63, 95, 65, 97),
    (149, 169, 150, 170),
]


@pytest.fixture(scope="module")
def images():
    """(3, 150, 170) uint16 array, every value different from its neighbours."""
    return np.random.default_rng(0).integers(0, 2**16, (3, 150, 170)).astype(np.uint16)


def assert_same_windows(stack, images):
    assert (stack.shape, stack.dtype) == (images.shape, images.dtype)
    for z in range(len(images)):
        np.testing.assert_array_equal(stack[z], images[z])
        for top, left, bottom, right in WINDOWS:
            window = stack.window(z, slice(top, bottom), slice(left, right))
            np.testing.assert_array_equal(window, images[z, top:bottom, left:right])
            assert window.dtype == images.dtype


@pytest.mark.parametrize("kind", TIFFS)
def test_windows_of_a_tiff_file(tmp_path, images, kind):
    path = tmp_path / "images.tif"
    tifffile.imwrite(path, images, photometric="minisblack", **TIFFS[kind])
    assert_same_windows(open_stack(path), images)


@pytest.mark.parametrize("how", [{}, {"compression": "zlib", "rowsperstrip": 7}])
def test_windows_of_a_hyperstack_of_several_times(tmp_path, images, how):
    stacks_in_time = np.stack([images, images[::-1]])
    path = tmp_path / "images.tif"
    tifffile.imwrite(path, stacks_in_time, imagej=True, metadata={"axes": "TZYX"}, **how)
    assert_same_windows(open_stack(path), stacks_in_time.reshape(6, *images.shape[1:]))
    np.testing.assert_array_equal(read_images(path), stacks_in_time.reshape(6, 150, 170))


def test_windows_of_a_folder_go_on_from_file_to_file(tmp_path, images):
    tifffile.imwrite(tmp_path / "b.tif", images[2], compression="zlib", rowsperstrip=9)
    tifffile.imwrite(tmp_path / "a.tif", images[:2], photometric="minisblack", compression="zlib")
    (tmp_path / ".c.tif").touch()
    assert_same_windows(open_stack(tmp_path), images)


def make_zarr(path, array, axes, version, **how):
    """OME-Zarr image of one resolution, as other programs write it."""
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    made = group.create_array("full", shape=array.shape, dtype=array.dtype, **how)
    made[:] = array
    units = [{"name": name, "type": "space", "unit": "micrometer"} for name in axes]
    scale = [{"type": "scale", "scale": [0.5 * (k + 1) for k in range(len(axes))]}]
    datasets = [{"path": "full", "coordinateTransformations": scale}]
    image = {"axes": units, "datasets": datasets}
    if version == "0.4":
        group.attrs["multiscales"] = [image | {"version": version}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [image]}
    return made


@pytest.mark.parametrize(
    ("version", "how"),
    [
        ("0.4", {"chunks": (1, 1, 1, 64, 50), "compressors": {"id": "zlib", "level": 1}}),
        ("0.5", {"chunks": (1, 1, 2, 40, 170)}),
        ("0.5", {"chunks": (1, 1, 1, 20, 17), "shards": (1, 1, 1, 80, 85)}),
    ],
)
def test_windows_of_ome_zarr_of_five_axes(tmp_path, images, version, how):
    make_zarr(tmp_path / "image.zarr", images[None, None], "tczyx", version, **how)
    stack = open_stack(tmp_path / "image.zarr")
    assert_same_windows(stack, images)
    assert stack.scale == Scale((1.5, 2.0, 2.5), "micrometer")


def test_scale_of_all_resolutions_and_axes_of_older_versions(tmp_path, images):
    array = make_zarr(tmp_path / "image.zarr", images, "zyx", "0.4", chunks=(1, 64, 64))
    group = zarr.open_group(tmp_path / "image.zarr")
    (image,) = group.attrs["multiscales"]
    factors = [{"type": "scale", "scale": [10, 2, 4]}]
    group.attrs["multiscales"] = [image | {"coordinateTransformations": factors}]
    assert open_stack(tmp_path / "image.zarr").scale == Scale((5.0, 2.0, 6.0), "micrometer")
    group.attrs["multiscales"] = [{"axes": ["z", "y", "x"], "datasets": [{"path": array.path}]}]
    assert_same_windows(open_stack(tmp_path / "image.zarr"), images)


def test_a_chunk_of_several_images_counts_as_a_whole(tmp_path, images):
    make_zarr(tmp_path / "image.zarr", images, "zyx", "0.4", chunks=(3, 64, 50))
    assert open_stack(tmp_path / "image.zarr").block_size == 3 * 64 * 50 * 2


def test_a_version_changes_with_any_file(tmp_path, images):
    make_zarr(tmp_path / "image.zarr", images, "zyx", "0.4", chunks=(1, 64, 64))
    before = open_stack(tmp_path / "image.zarr").version()
    assert open_stack(tmp_path / "image.zarr").version() == before
    os.utime(tmp_path / "image.zarr/full/1.2.0", (0, 0))
    assert open_stack(tmp_path / "image.zarr").version() != before


def test_windows_of_a_bare_array_and_of_a_single_image(tmp_path, images):
    zarr.save_array(tmp_path / "bare.zarr", images)
    assert_same_windows(open_stack(tmp_path / "bare.zarr"), images)
    zarr.save_array(tmp_path / "one.zarr", images[0])
    assert_same_windows(open_stack(tmp_path / "one.zarr"), images[:1])


def test_zarr_is_read_wherever_a_tiff_file_is(tmp_path, images):
    make_zarr(tmp_path / "image.zarr", images, "zyx", "0.4", chunks=(1, 64, 64))
    np.testing.assert_array_equal(read_images(tmp_path / "image.zarr"), images)


def test_blocks_that_windows_share_are_decoded_once(tmp_path, images):
    path = tmp_path / "images.tif"
    tifffile.imwrite(path, images, photometric="minisblack", compression="zlib", rowsperstrip=50)
    stack = open_stack(path)
    assert stack.block == (50, 170)
    assert stack.block_size == 50 * 170 * 2
    assert stack.blocks_of(60, 10) == 3  # 2 rows of px in the first block, 8 in the last
    stack.keep_blocks(stack.blocks_of(60, 10))
    decoded = []
    read = stack._parts[0].read
    stack._parts[0].read = lambda page, *place: decoded.append(place) or read(page, *place)
    for left in range(0, 160, 10):
        stack.window(0, slice(48, 108), slice(left, left + 10))
    assert len(decoded) == 3


def test_a_window_of_a_plain_file_reads_no_page_of_it(tmp_path, images, monkeypatch):
    path = tmp_path / "images.tif"
    tifffile.imwrite(path, images, photometric="minisblack")
    stack = open_stack(path)
    assert (stack.block, stack.blocks_of(100, 100)) == ((0, 0), 0)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda page: pytest.fail("read a page"))
    monkeypatch.setattr(zarr, "open_array", lambda store: pytest.fail("opened blocks"))
    window = stack.window(1, slice(3, 9), slice(4, 8))
    np.testing.assert_array_equal(window, images[1, 3:9, 4:8])


def test_missing_chunks_are_refused_or_filled(tmp_path, images):
    path = tmp_path / "image.zarr"
    make_zarr(path, images, "zyx", "0.4", chunks=(1, 64, 64), fill_value=7)
    (path / "full/1.2.0").unlink()
    (path / "full/2.0.1").unlink()
    with pytest.raises(
        InputError, match=r"image\.zarr: 2 of 27 chunks are missing, the first is 1/2/0"
    ):
        open_stack(path)
    filled = images.copy()
    filled[1, 128:, :64] = filled[2, :64, 64:128] = 7
    assert_same_windows(open_stack(path, fill_missing=True), filled)


def test_missing_shards_are_refused(tmp_path, images):
    path = tmp_path / "image.zarr"
    make_zarr(path, images, "zyx", "0.5", chunks=(1, 20, 17), shards=(1, 80, 85))
    (path / "full/c/0/1/1").unlink()
    with pytest.raises(InputError, match="1 of 12 chunks are missing, the first is 0/1/1"):
        open_stack(path)


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_unknown_codec_is_one_line(tmp_path, images):
    path = tmp_path / "image.zarr"
    make_zarr(path, images, "zyx", "0.4", chunks=(1, 64, 64))
    meta = json.loads((path / "full/.zarray").read_text())
    (path / "full/.zarray").write_text(json.dumps(meta | {"compressor": {"id": "jpeg-of-mine"}}))
    with pytest.raises(InputError) as error:
        open_stack(path)
    assert "image.zarr: not a readable Zarr" in one_line(error)
    assert "jpeg-of-mine" in one_line(error)


def test_damaged_chunk_is_one_line_that_says_where(tmp_path, images):
    path = tmp_path / "image.zarr"
    make_zarr(path, images, "zyx", "0.4", chunks=(1, 64, 64))
    (path / "full/1.0.0").write_bytes(b"no blosc")
    stack = open_stack(path)
    np.testing.assert_array_equal(stack[0], images[0])
    with pytest.raises(InputError) as error:
        stack.window(1, slice(0, 8), slice(0, 8))
    assert "image.zarr, image 1: not a readable Zarr" in one_line(error)


def test_damaged_strip_is_one_line(tmp_path, images):
    path = tmp_path / "images.tif"
    tifffile.imwrite(path, images, photometric="minisblack", compression="zlib", rowsperstrip=50)
    with tifffile.TiffFile(path) as file:
        start = file.pages[1].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"no deflate")
    stack = open_stack(path)
    np.testing.assert_array_equal(stack[0], images[0])
    with pytest.raises(InputError) as error:
        stack.window(1, slice(0, 8), slice(0, 8))
    assert "images.tif: not a readable TIFF file" in one_line(error)


@pytest.mark.parametrize(
    ("shape", "axes", "words"),
    [
        ((2, 20, 30), "cyx", r"axes cyx of shape \(2, 20, 30\), expected a stack of grey images"),
        ((20, 30, 2), "yxc", r"axes yxc of shape \(20, 30, 2\), expected a stack of grey images"),
        ((2, 20, 30), "ayx", r"axes AYX of shape \(2, 20, 30\), expected rows"),
        ((20,), "x", "expected a stack of images"),
    ],
)
def test_what_is_no_stack_of_grey_images_is_refused(tmp_path, shape, axes, words):
    make_zarr(tmp_path / "image.zarr", np.ones(shape, np.uint8), axes, "0.4", chunks=shape)
    with pytest.raises(InputError, match=words):
        open_stack(tmp_path / "image.zarr")


def test_group_without_an_image_is_refused(tmp_path):
    zarr.open_group(tmp_path / "image.zarr", mode="w")
    with pytest.raises(InputError, match="no OME-Zarr image"):
        open_stack(tmp_path / "image.zarr")


def test_files_of_other_size_or_type_are_named(tmp_path, images):
    tifffile.imwrite(tmp_path / "a.tif", images[0])
    tifffile.imwrite(tmp_path / "b.tif", images[0, :100])
    with pytest.raises(
        InputError, match=r"b\.tif: 100 x 170 px, but a\.tif before it is 150 x 170"
    ):
        open_stack(tmp_path)
    tifffile.imwrite(tmp_path / "b.tif", images[0].astype(np.float32))
    with pytest.raises(InputError, match=r"b\.tif: float32 values, but a\.tif before it is uint16"):
        open_stack(tmp_path)


def test_absent_path_and_empty_folder(tmp_path):
    with pytest.raises(InputError, match=r"none\.tif: no such file"):
        open_stack(tmp_path / "none.tif")
    with pytest.raises(InputError, match=r"no file named \*\.tif"):
        open_stack(tmp_path)


def test_labels_and_probabilities_are_checked_slice_by_slice(tmp_path, images):
    values = np.zeros((3, 8, 9), np.float32)
    values[1, 2, 3] = 1.5
    path = tmp_path / "values.zarr"
    zarr.save_array(path, values)
    for opened, words in (
        (open_labels(path), "slice 1: label 1.5"),
        (open_probability(path), "slice 1: float values from 0 to 1.5"),
    ):
        np.testing.assert_array_equal(opened[0], 0)
        with pytest.raises(InputError, match=words):
            opened[1]
    chosen = open_labels(path, [2, 0])
    assert chosen.shape == (2, 8, 9)
    with pytest.raises(InputError, match="slice 1"):
        open_labels(path, [1])[0]


def test_scale_of_files_that_do_not_say_is_one(tmp_path, images):
    tifffile.imwrite(tmp_path / "images.tif", images, photometric="minisblack")
    assert open_stack(tmp_path / "images.tif").scale == stacks.Scale()
