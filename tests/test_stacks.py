"""Stacks larger than memory: windows of every kind of file are what the whole file holds there."""

import json
import os

import numpy as np
import pytest
import tifffile
import zarr

from unetcore.data import stacks
from unetcore.data.io import open_labels, open_probability, read_images, read_labels
from unetcore.data.pictures import read_picture
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


def decodings(stack):
    """List that grows with every window that a stack of one file decodes."""
    found, read = [], stack._parts[0].read
    stack._parts[0].read = lambda page, *place: found.append(place) or read(page, *place)
    return found


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
    decoded = decodings(stack)
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


def drawn(*shape, dtype=np.uint8):
    """Numbers that differ from their neighbours."""
    return np.random.default_rng(len(shape)).integers(0, 250, shape).astype(dtype)


def pages_of(axes, **how):
    return lambda path: tifffile.imwrite(
        path, drawn(*(SIDES[a] for a in axes)), metadata={"axes": axes}, **how
    )


SIDES = {"T": 2, "Z": 3, "C": 4, "Y": 60, "X": 70, "S": 3}
IMAGEJ, OME, RGB = {"imagej": True}, {"ome": True}, {"photometric": "rgb"}
GREY = {"photometric": "minisblack"}
ZIP = {"compression": "zlib"}
COLOURED = {
    "ImageJ": pages_of("TZCYX", **IMAGEJ),
    "ImageJ in strips": pages_of("ZCYX", **IMAGEJ, **ZIP, rowsperstrip=7),
    "OME": pages_of("TCZYX", **OME, **GREY),
    "OME in tiles": pages_of("CTZYX", **OME, **GREY, **ZIP, tile=(16, 32)),
    "pages of channels": pages_of("CYX", **OME, **GREY),
    "RGB": pages_of("YXS", **RGB),
    "RGB pages": pages_of("ZYXS", **RGB, **ZIP, rowsperstrip=9),
    "RGB in tiles": pages_of("YXS", **RGB, **ZIP, tile=(32, 16)),
    "RGB in planes": pages_of("SYX", **RGB, planarconfig="separate"),
    "RGB in compressed planes": pages_of("SYX", **RGB, **ZIP, planarconfig="separate"),
    "JPEG of a scanner": pages_of("YXS", **RGB, compression="jpeg", tile=(32, 32)),
    "big-endian": pages_of("ZCYX", **OME, **GREY, byteorder=">"),
}


def assert_same_as_picture(path):
    """Windows are what the reader of whole files finds there."""
    picture = read_picture(path)
    pixels = picture.pixels
    stack = open_stack(path, in_channels=True)
    assert (stack.n_channels, stack.dtype) == (pixels.shape[1], pixels.dtype)
    assert stack.shape == (len(pixels), *pixels.shape[2:])
    assert stack.scale.pixel_size == picture.pixel_size
    sides = dict(zip(picture.axes, picture.shape, strict=True))
    assert stack.axes == "".join(letter for letter in "TZYX" if letter in sides)
    assert stack.sides == tuple(sides[letter] for letter in stack.axes)
    stack.keep_blocks(3)
    for z, expected in enumerate(pixels):
        np.testing.assert_array_equal(stack[z], expected)
        for top, left, bottom, right in [(0, 0, 1, 1), (10, 20, 60, 70), (31, 15, 33, 49)]:
            window = stack.window(z, slice(top, bottom), slice(left, right))
            np.testing.assert_array_equal(window, expected[:, top:bottom, left:right])
    return stack


@pytest.mark.parametrize("kind", COLOURED)
def test_windows_of_tiff_files_in_channels(tmp_path, kind):
    COLOURED[kind](tmp_path / "image.tif")
    stack = assert_same_as_picture(tmp_path / "image.tif")
    assert stack.n_channels in (3, 4)


@pytest.mark.parametrize(
    ("axes", "chunks", "planes"),
    [
        ("cyx", (1, 20, 30), 4),
        ("cyx", (3, 20, 30), 6),
        ("yxc", (20, 30, 4), 4),
        ("zcyx", (2, 1, 20, 30), 8),
        ("zyxc", (1, 20, 30, 4), 4),
        ("tczyx", (1, 4, 1, 20, 30), 4),
        ("tzyxc", (1, 3, 20, 30, 2), 12),
        ("cxy", (1, 30, 20), 4),
    ],
)
def test_windows_of_zarr_with_channels_anywhere(tmp_path, axes, chunks, planes):
    array = drawn(*(SIDES[axis.upper()] for axis in axes), dtype=np.uint16)
    make_zarr(tmp_path / "image.zarr", array, axes, "0.4", chunks=chunks)
    stack = assert_same_as_picture(tmp_path / "image.zarr")
    assert stack.block == (20, 30)
    assert stack.block_size == planes * 20 * 30 * 2


def test_shards_of_several_channels(tmp_path):
    how = {"chunks": (1, 2, 10, 35), "shards": (1, 4, 60, 70)}
    make_zarr(tmp_path / "image.zarr", drawn(3, 4, 60, 70), "zcyx", "0.5", **how)
    assert assert_same_as_picture(tmp_path / "image.zarr").block == (10, 35)


def test_times_come_before_depths_whatever_the_file_does(tmp_path):
    pages_of("ZTYX", **OME, **GREY)(tmp_path / "image.tif")
    stack = open_stack(tmp_path / "image.tif", in_channels=True)
    assert (stack.axes, stack.sides) == ("TZYX", (2, 3, 60, 70))
    depths_first = tifffile.imread(tmp_path / "image.tif")
    for k, (t, z) in enumerate(np.ndindex(2, 3)):
        np.testing.assert_array_equal(stack[k][0], depths_first[z, t])


def test_blocks_of_colours_are_decoded_once_for_all_channels(tmp_path):
    pages_of("YXS", **RGB, **ZIP, rowsperstrip=20)(tmp_path / "image.tif")
    stack = open_stack(tmp_path / "image.tif", in_channels=True)
    assert stack.block_size == 3 * 20 * 70
    stack.keep_blocks(stack.blocks_of(30, 10))
    decoded = decodings(stack)
    for left in range(0, 60, 10):
        stack.window(0, slice(10, 40), slice(left, left + 10))
    assert len(decoded) == 2


def test_files_of_other_channels_are_named(tmp_path):
    pages_of("YXS", **RGB)(tmp_path / "a.tif")
    pages_of("YX")(tmp_path / "b.tif")
    with pytest.raises(InputError, match=r"b\.tif: 1 channels, but a\.tif before it has 3"):
        open_stack(tmp_path, in_channels=True)


def test_colours_are_refused_where_grey_values_are_wanted(tmp_path):
    pages_of("YXS", **RGB)(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: a colour image"):
        open_stack(tmp_path / "a.tif")
    tifffile.imwrite(
        tmp_path / "b.tif", drawn(60, 70, 4), photometric="rgb", extrasamples=["unassalpha"]
    )
    with pytest.raises(InputError, match=r"b\.tif: an alpha channel"):
        open_stack(tmp_path / "b.tif", in_channels=True)


def test_pixel_size_of_a_tiff_file_is_read(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", drawn(3, 60, 70), imagej=True, resolution=(4, 4),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 1.5},
    )  # fmt: skip
    scale = Scale((1.5, 0.25, 0.25), "micrometer")
    assert open_stack(tmp_path / "a.tif").scale == scale
    assert open_stack(tmp_path).scale == scale
    tifffile.imwrite(tmp_path / "b.tif", drawn(60, 70), imagej=True)
    assert open_stack(tmp_path).scale == Scale()  # of two that differ


@pytest.mark.parametrize("how", [{}, ZIP, {**ZIP, "tile": (16, 32)}])
def test_grey_times_come_before_depths_whatever_the_file_does(tmp_path, how):
    path = tmp_path / "image.tif"
    pages_of("ZTYX", **OME, **GREY, **how)(path)
    depths_first = tifffile.imread(path)
    expected = depths_first.transpose(1, 0, 2, 3).reshape(6, 60, 70)
    stack = open_stack(path)
    assert (stack.axes, stack.sides) == ("TZYX", (2, 3, 60, 70))
    np.testing.assert_array_equal(np.stack(list(stack)), expected)
    np.testing.assert_array_equal(read_labels(path), expected)


def test_hyperstacks_in_channels_are_no_grey_ones(tmp_path):
    pages_of("ZCYX", **OME, **GREY)(tmp_path / "image.tif")
    with pytest.raises(InputError, match=r"axes ZCYX .* expected a stack of grey images"):
        open_stack(tmp_path / "image.tif")


def test_grey_slices_that_tifffile_marks_as_colours(tmp_path):
    pages_of("SYX", **RGB, planarconfig="separate")(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a colour image \(RGB\), or 3 slices marked as colours"):
        open_stack(tmp_path / "a.tif")
    pages_of("YXS", **RGB)(tmp_path / "b.tif")
    with pytest.raises(InputError, match=r"a colour image \(RGB\), expected grey values"):
        open_stack(tmp_path / "b.tif")


def test_distance_of_slices_in_the_unit_of_pixels(tmp_path, images):
    make_zarr(tmp_path / "image.zarr", images, "zyx", "0.4", chunks=(1, 64, 64))
    group = zarr.open_group(tmp_path / "image.zarr")
    (image,) = group.attrs["multiscales"]
    for unit, spacing in (("nanometer", 0.0005), ("millimeter", 500.0), ("pixel", None)):
        image["axes"][0]["unit"] = unit
        group.attrs["multiscales"] = [image]
        scale = open_stack(tmp_path / "image.zarr").scale
        assert scale == Scale((pytest.approx(spacing), 1.0, 1.5), "micrometer")
