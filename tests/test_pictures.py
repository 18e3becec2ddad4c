"""Pictures in every kind of file: read, written, and refused in one line."""

from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr_models.v04.image import ImageAttrs
from PIL import Image

from unetcore.data.pictures import Picture, read_head, read_picture, suffix_like, write_like
from unetcore.errors import InputError
from unetcore.view.reading import open_images

SIDES = {"T": 2, "Z": 3, "C": 4, "Y": 20, "X": 31, "S": 3}


def numbers(axes, dtype=np.uint16):
    """Array of the sides of these axes, every value another one."""
    shape = [SIDES[axis] for axis in axes]
    return np.random.default_rng(len(axes)).permutation(np.prod(shape)).reshape(shape).astype(dtype)


def as_pixels(array, axes):
    """(Z, C, H, W) by a way of its own: one index at a time."""
    named = dict(zip(axes, range(len(axes)), strict=True))
    counted, channels = [a for a in "TZ" if a in axes], [a for a in axes if a in "CS"]
    pages = []
    for place in np.ndindex(*(SIDES[a] for a in counted)):
        planes = []
        for channel in np.ndindex(*(SIDES[a] for a in channels)):
            chosen = dict(zip(counted + channels, place + channel, strict=True))
            plane = array[tuple(chosen.get(a, slice(None)) for a in named)]
            planes.append(plane if axes.index("Y") < axes.index("X") else plane.T)
        pages.append(planes)
    return np.array(pages)


def in_file(stack, axes):
    """Slices, times first, by the axes of a file; one index at a time."""
    counted = [axis for axis in "TZ" if axis in axes]
    found = np.zeros([SIDES[axis] for axis in axes], stack.dtype)
    for k, place in enumerate(np.ndindex(*(SIDES[axis] for axis in counted))):
        chosen = dict(zip(counted, place, strict=True))
        found[tuple(chosen.get(axis, slice(None)) for axis in axes)] = stack[k]
    return found


def ome(path, array, axes, **sizes):
    rgb = {"photometric": "rgb", "planarconfig": "contig"}
    how = rgb if "S" in axes else {"photometric": "minisblack"}
    tifffile.imwrite(path, array, ome=True, metadata={"axes": axes, **sizes}, **how)


def imagej(path, array, axes, **how):
    metadata = {"axes": axes, **how.pop("metadata", {})}
    tifffile.imwrite(path, array, imagej=True, metadata=metadata, **how)


def make_zarr(path, array, axes, scale=None, unit="micrometer"):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("full", shape=array.shape, dtype=array.dtype, chunks=array.shape)[...] = (
        array
    )
    datasets = [{"path": "full"}]
    if scale:
        datasets[0]["coordinateTransformations"] = [{"type": "scale", "scale": scale}]
    described = [{"name": axis, "type": "space", "unit": unit} for axis in axes.lower()]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": described, "datasets": datasets}]


def refusal(path):
    """The line that a file is refused with."""
    with pytest.raises(InputError) as error:
        read_picture(path)
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize("axes", ["YX", "ZYX", "CYX", "TZCYX", "TCYX", "ZCYXS"])
def test_imagej_hyperstack_comes_back(tmp_path, axes):
    array = numbers(axes, np.uint8 if "S" in axes else np.uint16)
    imagej(
        tmp_path / "a.tif", array, axes, resolution=(4, 4), metadata={"unit": "um", "spacing": 2}
    )
    picture = read_picture(tmp_path / "a.tif")
    assert (picture.axes, picture.shape, picture.kind) == (axes, array.shape, "imagej")
    assert (picture.pixel_size, picture.z_spacing) == (0.25, 2.0)
    np.testing.assert_array_equal(picture.pixels, as_pixels(array, axes))

    stack = np.arange(len(picture.pixels) * 20 * 31, dtype=np.float32).reshape(-1, 20, 31)
    write_like(tmp_path / "b.tif", stack, picture)
    kept = "".join(axis for axis in axes if axis not in "CS")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.is_imagej
        assert file.series[0].axes == kept
        assert file.imagej_metadata["unit"] == "um"
        assert file.imagej_metadata["spacing"] == 2.0
        assert file.pages[0].tags["XResolution"].value == (4, 1)
        np.testing.assert_array_equal(file.asarray(), stack.reshape(file.series[0].shape))
    again = read_picture(tmp_path / "b.tif")
    assert (again.axes, again.pixel_size, again.z_spacing) == (kept, 0.25, 2.0)


@pytest.mark.parametrize("axes", ["YX", "CYX", "TZCYX", "ZTCYX", "CZYX", "ZYXS"])
def test_ome_tiff_comes_back(tmp_path, axes):
    array = numbers(axes)
    nm = {"PhysicalSizeX": 250.0, "PhysicalSizeY": 250.0}
    units = {"PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "nm"}
    ome(tmp_path / "a.ome.tif", array, axes, **nm, **units, PhysicalSizeZ=1.5)
    picture = read_picture(tmp_path / "a.ome.tif")
    assert (picture.axes, picture.shape, picture.kind) == (axes, array.shape, "ome-tiff")
    assert (picture.pixel_size, picture.z_spacing) == (0.25, 1.5)
    np.testing.assert_array_equal(picture.pixels, as_pixels(array, axes))

    stack = np.arange(len(picture.pixels) * 20 * 31, dtype=np.uint16).reshape(-1, 20, 31)
    kept = "".join(axis for axis in axes if axis not in "CS")
    write_like(tmp_path / "b.ome.tif", stack, picture)
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as file:
        assert file.is_ome
        assert file.series[0].axes == kept
        assert 'PhysicalSizeX="0.25" PhysicalSizeXUnit="µm"' in file.ome_metadata
        np.testing.assert_array_equal(file.asarray(), in_file(stack, kept))
    again = read_picture(tmp_path / "b.ome.tif")
    assert (again.axes, again.pixel_size, again.z_spacing) == (kept, 0.25, 1.5)
    before = (tmp_path / "b.ome.tif").read_bytes()
    write_like(tmp_path / "b.ome.tif", stack, picture)
    assert (tmp_path / "b.ome.tif").read_bytes() == before


@pytest.mark.parametrize("axes", ["YX", "CYX", "TZCYX", "CZYX", "YXC", "YXZ"])
def test_ome_zarr_comes_back(tmp_path, axes):
    array = numbers(axes)
    by_axis = {"Z": 500.0, "Y": 250.0, "X": 250.0}
    scale = [by_axis.get(axis, 1.0) for axis in axes]
    make_zarr(tmp_path / "a.zarr", array, axes, scale, "nanometer")
    picture = read_picture(tmp_path / "a.zarr")
    assert (picture.axes, picture.shape, picture.kind) == (axes, array.shape, "zarr")
    assert picture.pixel_size == 0.25
    assert picture.z_spacing == (0.5 if "Z" in axes else None)
    np.testing.assert_array_equal(picture.pixels, as_pixels(array, axes))

    stack = np.arange(len(picture.pixels) * 20 * 31, dtype=np.uint32).reshape(-1, 20, 31)
    for values in (stack + 1, stack):  # the second takes the place of the first
        write_like(tmp_path / "b.zarr", values, picture)
    kept = axes.replace("C", "")
    ImageAttrs.model_validate(zarr.open_group(tmp_path / "b.zarr", mode="r").attrs.asdict())
    again = read_picture(tmp_path / "b.zarr")
    assert (again.axes, again.pixel_size) == (kept, 0.25)
    assert again.z_spacing == picture.z_spacing
    np.testing.assert_array_equal(again.pixels[:, 0], stack)
    assert {p.name for p in tmp_path.iterdir()} == {"a.zarr", "b.zarr"}


@pytest.mark.parametrize("metadata", [{}, None])
def test_pages_without_a_name_are_slices(tmp_path, metadata):
    array = numbers("ZYX")
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", metadata=metadata)
    picture = read_picture(tmp_path / "a.tif")
    assert (picture.axes, picture.kind, picture.pixel_size) == ("ZYX", "tiff", None)
    np.testing.assert_array_equal(picture.pixels[:, 0], array)
    write_like(tmp_path / "b.tif", array > 5, picture)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert (file.is_imagej, file.series[0].axes) == (True, "ZYX")
        np.testing.assert_array_equal(file.asarray(), 255 * (array > 5))


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colours_of_a_tiff_are_three_channels(tmp_path, planar):
    array = numbers("YXS", np.uint8)
    stored = array if planar == "contig" else array.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.axes == ("YXS" if planar == "contig" else "SYX")
    np.testing.assert_array_equal(picture.pixels[0], array.transpose(2, 0, 1))


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "uint32", "float32", "float64", ">u2"]
)
def test_number_types_stay(tmp_path, dtype):
    array = numbers("YX").astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=">" if dtype == ">u2" else "<")
    picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(picture.pixels[0, 0], array)


def test_numbers_of_other_types_than_those_of_imagej_are_written(tmp_path):
    imagej(
        tmp_path / "a.tif", numbers("TZCYX"), "TZCYX", resolution=(4, 4), metadata={"unit": "um"}
    )
    picture = read_picture(tmp_path / "a.tif")
    values = np.arange(6 * 20 * 31).reshape(6, 20, 31) + 70_000
    kinds = {"float64": "tiff", "int64": "tiff", "uint32": "imagej", "int32": "imagej"}
    for dtype, kind in kinds.items():
        stack = values.astype(dtype)
        write_like(tmp_path / "b.tif", stack, picture)
        again = read_picture(tmp_path / "b.tif")
        assert (again.kind, again.axes, again.pixels.dtype) == (kind, "TZYX", dtype)
        assert again.pixel_size == pytest.approx(0.25, rel=1e-6)
        np.testing.assert_array_equal(again.pixels[:, 0], stack)


@pytest.mark.parametrize("name", ["b.tif", "b.ome.tif", "b.zarr"])
def test_the_time_between_frames_is_kept(tmp_path, name):
    """Of ImageJ and OME in other units than seconds; what has no time says none."""
    said = {"finterval": 1.5, "tunit": "min"}
    imagej(tmp_path / "a.tif", numbers("TCYX"), "TCYX", metadata=said)
    of_ome = {"TimeIncrement": 90_000.0, "TimeIncrementUnit": "ms"}
    ome(tmp_path / "a.ome.tif", numbers("TCYX"), "TCYX", **of_ome)
    for source in ("a.tif", "a.ome.tif"):
        picture = read_picture(tmp_path / source)
        assert picture.frame_interval == 90
        kind = "ome-tiff" if "ome" in name else "imagej"
        write_like(tmp_path / name, picture.pixels[:, 0], replace(picture, kind=kind))
        assert read_picture(tmp_path / name).frame_interval == 90
    if name == "b.zarr":
        attributes = zarr.open_group(tmp_path / name, mode="r").attrs.asdict()
        ImageAttrs.model_validate(attributes)
        time, scale = (
            attributes["multiscales"][0]["axes"][0],
            attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"],
        )
        assert (time, scale[0]) == ({"name": "t", "type": "time", "unit": "second"}, 90)
    still = replace(picture, axes="ZCYX")
    write_like(tmp_path / name, picture.pixels[:, 0], replace(still, kind=kind))
    assert read_picture(tmp_path / name).frame_interval is None


@pytest.mark.parametrize(
    "said", [{}, {"fps": 12}, {"finterval": 0}, {"finterval": 3, "tunit": "x"}]
)
def test_frames_of_unknown_intervals(tmp_path, said):
    imagej(tmp_path / "a.tif", numbers("TYX"), "TYX", metadata=said)
    assert read_picture(tmp_path / "a.tif").frame_interval is None


@pytest.mark.parametrize("photometric", ["palette", "miniswhite"])
def test_how_imagej_shows_numbers_does_not_change_them(tmp_path, photometric):
    """Its 8-bit composites, to begin with, have a lookup table for each channel."""
    array = numbers("CYX", np.uint8)
    table = np.zeros((3, 256), np.uint16)
    table[1] = np.arange(256)[::-1] * 257
    how = {"colormap": table} if photometric == "palette" else {}
    for name, description in (
        ("a", tifffile.imagej_description(array.shape, axes="CYX")),
        ("b", ""),
    ):
        tifffile.imwrite(
            tmp_path / f"{name}.tif",
            array,
            photometric=photometric,
            metadata=None,
            description=description,
            **how,
        )
    picture = read_picture(tmp_path / "a.tif")
    assert (picture.axes, picture.kind) == ("CYX", "imagej")
    np.testing.assert_array_equal(picture.pixels[0], array)
    assert refusal(tmp_path / "b.tif").startswith(("a palette", "inverted grey values"))


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.zarr", "a.png"])
def test_the_head_of_a_file_says_all_but_the_pixels(tmp_path, name):
    if name == "a.png":
        Image.fromarray(numbers("YX", np.uint8)).save(tmp_path / name)
    elif name == "a.zarr":
        make_zarr(tmp_path / name, numbers("TZCYX"), "TZCYX", [1.0, 2.0, 1.0, 0.5, 0.5])
    else:
        {"a.tif": imagej, "a.ome.tif": ome}[name](tmp_path / name, numbers("TZCYX"), "TZCYX")
    picture, head = read_picture(tmp_path / name), read_head(tmp_path / name)
    assert head.pixels.size == 0
    assert head == replace(picture, pixels=head.pixels)
    assert head.sides == dict(zip(picture.axes, picture.shape, strict=True))


def test_images_count_as_in_imagej_unless_pages_have_no_names(tmp_path):
    array = numbers("CZYX")
    metadata = {"axes": "CZYX"}
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", metadata=metadata)
    ome(tmp_path / "a.ome.tif", array, "CZYX")
    assert read_head(tmp_path / "a.tif").counted == "CZ"
    assert read_head(tmp_path / "a.ome.tif").counted == "TZC"


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16])
def test_grey_png(tmp_path, dtype):
    array = numbers("YX") > 300 if dtype is bool else numbers("YX", dtype)
    Image.fromarray(array).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert (picture.axes, picture.kind, picture.pixels.dtype) == ("YX", "png", dtype)
    np.testing.assert_array_equal(picture.pixels[0, 0], array)
    write_like(tmp_path / "b.png", picture.pixels[:, 0], picture)
    expected = array * np.uint8(255) if dtype is bool else array
    np.testing.assert_array_equal(read_picture(tmp_path / "b.png").pixels[0, 0], expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_in_colours_keeps_all_bits(tmp_path, dtype):
    array = numbers("YXS", dtype)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(array))
    picture = read_picture(tmp_path / "a.png")
    assert (picture.axes, picture.shape) == ("YXS", (20, 31, 3))
    np.testing.assert_array_equal(picture.pixels[0], array.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg(tmp_path, mode):
    smooth = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
    Image.fromarray(smooth).convert(mode).save(tmp_path / "a.JPG", format="JPEG", quality=95)
    picture = read_picture(tmp_path / "a.JPG")
    assert (picture.kind, picture.pixels.shape) == ("jpeg", (1, len(mode), 40, 50))
    for channel in picture.pixels[0]:
        np.testing.assert_allclose(channel, smooth, atol=3)


def test_palette_that_is_a_grey_ramp_is_grey(tmp_path):
    image = Image.fromarray(numbers("YX", np.uint8) % 200).convert("P")
    image.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    for name in ("a.png", "a.tif"):
        image.save(tmp_path / name)
        pixels = read_picture(tmp_path / name).pixels
        np.testing.assert_array_equal(pixels[0, 0], numbers("YX", np.uint8) % 200)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"resolution": (1e5, 1e5), "resolutionunit": "CENTIMETER"}, 0.1),
        ({"resolution": (50_800, 50_800), "resolutionunit": "INCH"}, 0.5),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),  # what is said to printers
        ({"resolution": (118, 118), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (1e5, 5e4), "resolutionunit": "CENTIMETER"}, None),  # not square
        ({"resolution": (4, 4), "resolutionunit": "NONE"}, None),
        ({}, None),
    ],
)
def test_pixel_size_of_a_plain_tiff(tmp_path, how, expected):
    tifffile.imwrite(tmp_path / "a.tif", numbers("YX"), **how)
    assert read_picture(tmp_path / "a.tif").pixel_size == expected


@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"),
    [
        ("micron", 5, 0.2),
        ("um", 5, 0.2),
        (r"\u00B5m", 5, 0.2),
        ("nm", 0.2, 0.005),
        ("mm", 2000, 0.5),
        ("mm", 20, 50.0),
        ("inch", 50_800, 0.5),
        ("inch", 72, None),
        ("cm", 1e5, 0.1),
        ("pixel", 1, None),
    ],
)
def test_pixel_size_of_an_imagej_file(tmp_path, unit, per_unit, expected):
    metadata = {"unit": unit}
    imagej(tmp_path / "a.tif", numbers("YX"), "YX", resolution=(per_unit,) * 2, metadata=metadata)
    size = read_picture(tmp_path / "a.tif").pixel_size
    assert size == (expected and pytest.approx(expected, rel=1e-9))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, (0.5, None)),
        ({"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 3}, (0.5, 3.0)),
        ({"PhysicalSizeX": 0.5, "PhysicalSizeY": 1.5}, (None, None)),
        ({"PhysicalSizeX": 2, "PhysicalSizeXUnit": "pixel", "PhysicalSizeY": 2}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_pixel_size_of_ome(tmp_path, sizes, expected):
    ome(tmp_path / "a.ome.tif", numbers("ZYX"), "ZYX", **sizes)
    picture = read_picture(tmp_path / "a.ome.tif")
    assert (picture.pixel_size, picture.z_spacing) == expected


def test_pixel_size_of_a_png(tmp_path):
    picture = Picture(tmp_path, numbers("YX")[None, None], "YX", (20, 31), 0.325, None, "png")
    write_like(tmp_path / "a.png", picture.pixels[:, 0], picture)
    assert read_picture(tmp_path / "a.png").pixel_size == pytest.approx(0.325, rel=1e-6)
    Image.fromarray(numbers("YX")).save(tmp_path / "b.png", dpi=(300, 300))
    assert read_picture(tmp_path / "b.png").pixel_size is None


def test_zarr_without_unit_has_no_pixel_size(tmp_path):
    zarr.save_array(tmp_path / "bare.zarr", numbers("ZYX"))
    picture = read_picture(tmp_path / "bare.zarr")
    assert (picture.axes, picture.pixel_size) == ("ZYX", None)


def test_names_with_spaces_and_umlauts(tmp_path):
    folder = tmp_path / "Zellen für Jürgen"
    folder.mkdir()
    tifffile.imwrite(folder / "Bild Nr. 1 µ.TIF", numbers("YX"))
    picture = read_picture(folder / "Bild Nr. 1 µ.TIF")
    write_like(folder / "Ä ö.png", picture.pixels[:, 0], picture)
    np.testing.assert_array_equal(read_picture(folder / "Ä ö.png").pixels, picture.pixels)


GREY = np.arange(20 * 31, dtype=np.uint16).reshape(20, 31) % 250
RGB = np.stack([GREY, GREY // 2, GREY // 3], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [
        ("a.png", "RGBA", "an alpha channel (transparency), expected grey values or RGB: save it "),
        ("a.png", "LA", "an alpha channel"),
        ("a.tif", "RGBA", "an alpha channel"),
        ("a.tif", "LA", "an alpha channel"),
        ("a.png", "P", "a palette (colours by number), expected grey values or RGB"),
        ("a.tif", "P", "a palette (colours by number), expected grey values or RGB"),
        ("a.jpg", "CMYK", "colours of printing (CMYK), expected grey values or RGB"),
        ("a.tif", "CMYK", "colours of printing (CMYK), expected grey values or RGB"),
        ("a.tif", "LAB", "colours of kind CIELAB, expected grey values or RGB"),
    ],
)
def test_colours_that_are_refused(tmp_path, name, mode, words):
    image = Image.fromarray(RGB)
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    image.save(tmp_path / name)
    assert refusal(tmp_path / name).startswith(words)


def cut(path, share=0.6):
    """Keep only the beginning of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


@pytest.mark.parametrize(
    "name", ["a.png", "a.jpg", "a.tif", "deflate.tif", "pages.tif", "imagej.tif"]
)
def test_truncated_file(tmp_path, name):
    path = tmp_path / name
    if name == "imagej.tif":
        imagej(path, numbers("TZCYX"), "TZCYX")
    elif name == "pages.tif":
        tifffile.imwrite(path, numbers("ZYX"), photometric="minisblack", metadata=None)
    elif name == "deflate.tif":
        tifffile.imwrite(path, numbers("YX"), compression="zlib")
    else:
        Image.fromarray(RGB).save(path)
    cut(path)
    assert "truncated" in (line := refusal(path)) or "not a readable TIFF file" in line


def test_damaged_png_and_tiff(tmp_path):
    for name, at in (("a.png", 60), ("a.tif", 200)):
        tifffile.imwrite(tmp_path / "a.tif", numbers("YX"), compression="zlib")
        Image.fromarray(RGB).save(tmp_path / "a.png")
        content = bytearray((tmp_path / name).read_bytes())
        content[at : at + 40] = bytes(40)
        (tmp_path / name).write_bytes(content)
        assert refusal(tmp_path / name)


def test_files_that_are_no_image_of_their_name(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    (tmp_path / "png.tif").write_bytes((tmp_path / "a.png").read_bytes())
    assert refusal(tmp_path / "png.tif") == "its name says TIFF, but it is a PNG file"
    (tmp_path / "text.tif").write_text("id,image\n")
    assert refusal(tmp_path / "text.tif") == "its name says TIFF, but it is no TIFF file"
    (tmp_path / "empty.tif").touch()
    assert refusal(tmp_path / "empty.tif") == "an empty file (0 bytes), expected an image"
    (tmp_path / "a.bmp").touch()
    assert refusal(tmp_path / "a.bmp") == (
        "a file of type .bmp, expected TIFF, PNG, JPEG or OME-Zarr"
    )
    assert refusal(tmp_path / "none.tif") == "no such file"
    assert refusal(tmp_path).startswith("a folder, expected one image")


def test_values_that_are_not_finite_are_counted_and_found(tmp_path):
    array = numbers("ZCYX", np.float32)
    array[1, 2, 3, 4], array[2, 0, 0, 0] = np.nan, np.inf
    imagej(tmp_path / "a.tif", array, "ZCYX")
    assert refusal(tmp_path / "a.tif") == (
        "2 values are NaN or infinite, the first at Z 1, C 2, Y 3, X 4"
    )


def test_images_that_are_no_picture(tmp_path):
    tifffile.imwrite(tmp_path / "complex.tif", numbers("YX", np.complex64))
    assert refusal(tmp_path / "complex.tif") == "values of type complex64, expected real numbers"
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(numbers("YX"))
        file.write(numbers("YX")[:7])
    assert refusal(tmp_path / "two.tif") == "2 images of different size or type, expected one"
    tifffile.imwrite(tmp_path / "five.tif", numbers("TZCYX"), photometric="minisblack")
    assert refusal(tmp_path / "five.tif").startswith("axes QQQYX of shape (2, 3, 4, 20, 31)")
    tifffile.imwrite(tmp_path / "white.tif", numbers("YX"), photometric="miniswhite")
    assert refusal(tmp_path / "white.tif").startswith("inverted grey values (0 is white)")
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1])]
    frames[0].save(tmp_path / "moves.png", save_all=True, append_images=frames[1:])
    assert refusal(tmp_path / "moves.png") == "an animation of 2 images, expected one"


def test_zarr_that_is_no_picture(tmp_path):
    make_zarr(tmp_path / "a.zarr", numbers("ZYX"), "ZYX")
    (tmp_path / "a.zarr/full/0.0.0").unlink()
    assert "1 of 1 chunks are missing" in refusal(tmp_path / "a.zarr")
    zarr.open_group(tmp_path / "b.zarr", mode="w")
    assert refusal(tmp_path / "b.zarr").startswith("a Zarr group that is no OME-Zarr image")


@pytest.mark.parametrize(
    ("kind", "dtype", "suffix"),
    [
        ("tiff", np.uint8, ".tif"),
        ("imagej", np.float32, ".tif"),
        ("ome-tiff", np.uint16, ".ome.tif"),
        ("png", bool, ".png"),
        ("png", np.uint32, ".tif"),
        ("png", np.float32, ".tif"),
        ("jpeg", np.uint16, ".png"),
        ("zarr", np.uint32, ".zarr"),
    ],
)
def test_results_are_of_the_type_of_their_picture_where_it_holds_the_numbers(
    tmp_path, kind, dtype, suffix
):
    stack = (numbers("YX") > 9)[None].astype(dtype)
    picture = Picture(tmp_path, stack[None], "YX", (20, 31), None, None, kind)
    assert suffix_like(picture, stack) == suffix
    write_like(tmp_path / f"new/result{suffix}", stack, picture)
    found = read_picture(tmp_path / f"new/result{suffix}").pixels[0]
    np.testing.assert_array_equal(found, 255 * stack if dtype is bool else stack)
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    picture = Picture(tmp_path, numbers("ZYX")[:, None], "ZYX", (3, 20, 31), None, None, "tiff")
    with pytest.raises(InputError, match=r"a\.png: a PNG holds one image of uint8 or uint16"):
        write_like(tmp_path / "a.png", numbers("ZYX"), picture)
    with pytest.raises(InputError, match=r"a\.gif: a name of type \.gif, need \.tif, \.png or"):
        write_like(tmp_path / "a.gif", numbers("ZYX"), picture)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("unit", "expected"), [("nanometer", 0.5), ("angstrom", 0.05), ("pixel", None), (None, None)]
)
def test_distance_of_slices_in_another_unit_than_the_side_of_pixels(tmp_path, unit, expected):
    make_zarr(tmp_path / "a.zarr", numbers("ZYX"), "ZYX", [500, 0.25, 0.25])
    group = zarr.open_group(tmp_path / "a.zarr")
    (image,) = group.attrs["multiscales"]
    image["axes"][0] = {"name": "z", "type": "space"} | ({"unit": unit} if unit else {})
    group.attrs["multiscales"] = [image]
    picture = read_picture(tmp_path / "a.zarr")
    assert (picture.pixel_size, picture.z_spacing) == (0.25, pytest.approx(expected))
    for name in ("b.zarr", "b.tif", "b.ome.tif"):
        write_like(tmp_path / name, picture.pixels[:, 0], picture)
        again = read_picture(tmp_path / name)
        assert (again.pixel_size, again.z_spacing) == (0.25, pytest.approx(expected))


def test_missing_chunks_of_a_picture_are_refused_or_filled(tmp_path, caplog):
    path, array = tmp_path / "a.zarr", numbers("ZYX") + 1
    array[1] = 0
    chunks = {"chunks": (1, 20, 31)}
    made = zarr.create_array(path, shape=array.shape, dtype=array.dtype, fill_value=0, **chunks)
    made[:] = array
    assert refusal(path) == (
        "1 of 3 chunks are missing, the first is 1/0/0: copy it again, or save it with all its "
        "chunks (zarr: write_empty_chunks=True)"
    )
    assert not caplog.messages
    np.testing.assert_array_equal(read_picture(path, fill_missing=True).pixels[:, 0], array)
    assert caplog.messages == [f"{path}: 1 of 3 chunks are missing, taken for background"]
    whole = tmp_path / "b.zarr"
    config = {"write_empty_chunks": True}
    zarr.create_array(whole, shape=array.shape, dtype="u2", config=config, **chunks)[:] = array
    np.testing.assert_array_equal(read_picture(whole).pixels[:, 0], array)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(("value", "said"), [(7, "7"), (None, "background")])
def test_missing_chunks_are_filled_with_the_value_that_zarr_takes(tmp_path, caplog, value, said):
    how = {"zarr_format": 2, "chunks": (1, 20, 31), "fill_value": value}
    made = zarr.create_array(tmp_path / "a.zarr", shape=(2, 20, 31), dtype=np.uint8, **how)
    made[0] = 3
    pixels = read_picture(tmp_path / "a.zarr", fill_missing=True).pixels
    assert (pixels[0] == 3).all()
    assert (pixels[1] == (value or 0)).all()
    assert caplog.messages[0].endswith(f"1 of 2 chunks are missing, taken for {said}")


@pytest.mark.filterwarnings("ignore:<tifffile.TiffWriter.write> data with shape")
def test_slices_that_tifffile_marks_as_colours(tmp_path):
    array = np.arange(4 * 20 * 31, dtype=np.uint16).reshape(4, 20, 31)
    tifffile.imwrite(tmp_path / "a.tif", array)
    assert refusal(tmp_path / "a.tif").startswith(
        "an alpha channel (transparency), or 4 slices marked as colours (save those with "
        'tifffile\'s photometric="minisblack"), expected grey values or RGB: save it without'
    )
    tifffile.imwrite(tmp_path / "b.tif", array, photometric="minisblack")
    np.testing.assert_array_equal(read_picture(tmp_path / "b.tif").pixels[:, 0], array)
    Image.fromarray(RGB).convert("RGBA").save(tmp_path / "c.tif")
    assert "slices" not in refusal(tmp_path / "c.tif")
    tifffile.imwrite(tmp_path / "d.tif", array[:3])
    picture = read_picture(tmp_path / "d.tif")
    assert (picture.axes, picture.pixels.shape) == ("SYX", (1, 3, 20, 31))


def test_axes_of_length_1_that_nobody_names_are_left_out(tmp_path):
    """As stacks that are read by parts leave them out."""
    array = numbers("ZYX")
    zarr.create_array(tmp_path / "a.zarr", data=array[None, None], chunks=(1, 1, *array.shape))
    picture = read_picture(tmp_path / "a.zarr")
    assert (picture.axes, picture.shape) == ("ZYX", array.shape)
    np.testing.assert_array_equal(picture.pixels[:, 0], array)


def test_pixels_that_are_not_square_have_no_size_for_the_page_either(tmp_path):
    make_zarr(tmp_path / "a.zarr", numbers("YX"), "YX", [2.0, 0.5])
    assert open_images(tmp_path / "a.zarr").pixel_size is None
    make_zarr(tmp_path / "b.zarr", numbers("YX"), "YX", [0.5, 0.5])
    assert open_images(tmp_path / "b.zarr").pixel_size == 0.5
