"""Files between this package and ImageJ: what either writes, the other reads to the same numbers.

ImageJ is Debian's; Bio-Formats is its plugin, through which Fiji and QuPath read OME-TIFF.
"""

from itertools import product

import numpy as np
import pytest
import tifffile
from imagej import MICROMETRES, look_at, run_macro
from PIL import Image
from test_cli import unet
from test_cli_predict import PLAIN, make_model

from unetcore.data.io import write_stack
from unetcore.data.pictures import Picture, read_picture, write_like
from unetcore.errors import InputError

pytestmark = pytest.mark.imagej

SIDES = {"T": 3, "Z": 4, "C": 2, "Y": 31, "X": 43}
POINTS = ((0, 0), (0, 42), (30, 0), (30, 42), (17, 23))
CUT = ("--smallest-object", 3, "--threshold", 0.45)
NUMBERS = (np.uint8, np.uint16, np.uint32, np.int32, np.float32)
STACKS = ("YX", "ZYX", "TYX", "TZYX", "TZCYX")
AXES = ("YX", "ZYX", "TYX", "TZYX", "ZTYX")  # of results


def numbers(axes, dtype, sides=SIDES):
    """Values that differ from pixel to pixel, beyond 16 bits where the type holds more."""
    shape = tuple(sides[axis] for axis in axes)
    values = np.random.default_rng(len(axes)).integers(0, 100_000, shape)
    if dtype == np.float32:
        return (values / 100_000).astype(dtype)
    return (values % (np.iinfo(dtype).max + 1)).astype(dtype)


def at_points(stack):
    """Values of (N, H, W) at `POINTS`, image by image."""
    return [[float(page[point]) for point in POINTS] for page in stack]


def sides_of(axes):
    return {axis: SIDES[axis] if axis in axes or axis in "YX" else 1 for axis in SIDES}


def saw(seen, stack, axes, *, bits=None, scale=(1.5, 0.25), interval=7.5):
    """Check that a program saw one hyperstack of these axes, scale and values."""
    assert (seen.images, seen.sides) == (1, sides_of(axes))
    if bits:
        assert seen.bits == bits
    np.testing.assert_allclose(seen.values, at_points(stack), rtol=1e-6, atol=1e-8)
    z, pixel = scale
    if pixel is not None:
        assert seen.unit in MICROMETRES
        assert seen.voxel[1:] == pytest.approx([pixel, pixel], rel=1e-6)
        if "Z" in axes:
            assert seen.voxel[0] == pytest.approx(z, rel=1e-6)
    assert seen.interval == pytest.approx(interval if "T" in axes and interval else 0)


@pytest.mark.parametrize("program", ["imagej", "bio-formats"])
def test_results_open_as_one_stack_with_scale_and_values(tmp_path, program):
    """All number types and axes, as ImageJ's file and, by Bio-Formats, as OME-TIFF as well."""
    kinds = {"imagej": ".tif"} | ({} if program == "imagej" else {"ome-tiff": ".ome.tif"})
    written = {}
    for kind, axes, dtype in product(kinds, AXES, NUMBERS):
        stack = numbers(axes, dtype).reshape(-1, SIDES["Y"], SIDES["X"])
        shape = tuple(SIDES[axis] for axis in axes)
        picture = Picture(tmp_path, stack[:, None], axes, shape, 0.25, 1.5, kind, 7.5)
        path = tmp_path / f"Größe µ {axes} {np.dtype(dtype)}{kinds[kind]}"
        write_like(path, stack, picture)
        written[path] = stack, axes
    seen = look_at(written, POINTS, tmp_path, program=program)
    for path, (stack, axes) in written.items():
        bits = 8 * min(4, stack.dtype.itemsize)
        saw(seen[path.name], stack, axes, bits=bits)


def test_results_of_predict_open_in_imagej(tmp_path):
    """Pictures of every shape through `unet predict`; each result is looked at."""
    model = make_model(tmp_path / "model")
    two = make_model(tmp_path / "two", 2)
    seen, expected = [], {}
    for axes in STACKS:
        image = tmp_path / f"Präparat {axes}.tif"
        tifffile.imwrite(
            image,
            numbers(axes, np.uint8),
            imagej=True,
            metadata={"axes": axes, "unit": "um", "spacing": 1.5, "finterval": 7.5},
            resolution=(4, 4),
        )
        words = (two if "C" in axes else model, image, "-o", tmp_path / "out")
        result = unet("predict", *words, *CUT, *PLAIN)
        assert result.exit_code == 0, result.output
        kept = axes.replace("C", "")
        for what, bits in (("probability", 32), ("mask", 8), ("instances", 16)):
            path = tmp_path / f"out/{image.stem}-{what}.tif"
            seen.append(path)
            expected[path.name] = (
                tifffile.imread(path).reshape(-1, SIDES["Y"], SIDES["X"]),
                kept,
                bits,
            )
    found = look_at(seen, POINTS, tmp_path)
    for name, (stack, axes, bits) in expected.items():
        assert stack.max() > stack.min()
        saw(found[name], stack, axes, bits=bits)


def test_weights_and_stacks_of_the_pipeline_open_in_imagej(tmp_path):
    labels = np.zeros((3, SIDES["Y"], SIDES["X"]), np.uint8)
    labels[:, 3:12, 4:20] = labels[:, 15:28, 6:30] = 255
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    result = unet("weights", tmp_path / "labels.tif", "-o", tmp_path / "weights.tif")
    assert result.exit_code == 0, result.output
    stacks = {"weights.tif": tifffile.imread(tmp_path / "weights.tif")}
    for dtype in (np.uint8, np.uint16, np.float32):  # as the workflow writes probability.tif
        stacks[f"{np.dtype(dtype)}.tif"] = numbers("ZYX", dtype)
        write_stack(tmp_path / f"{np.dtype(dtype)}.tif", numbers("ZYX", dtype))
    found = look_at([tmp_path / name for name in stacks], POINTS, tmp_path)
    for name, stack in stacks.items():
        seen = found[name]
        assert (seen.images, seen.bits) == (1, 8 * stack.dtype.itemsize)
        assert (seen.sides["Z"], seen.sides["C"], seen.sides["T"]) == (len(stack), 1, 1)
        np.testing.assert_allclose(seen.values, at_points(stack), rtol=1e-6)


WRITE = """
function fill() {
    Stack.getDimensions(w, h, c, z, t);
    for (k = 1; k <= nSlices; k++) {
        setSlice(k);
        for (y = 0; y < h; y++)
            for (x = 0; x < w; x++) setPixel(x, y, (3 * x + 5 * y + 17 * k) % 251);
    }
}
function made(kind, c, z, t) { newImage("a", kind, 43, 31, c, z, t); fill(); }
function saved(name) { saveAs("Tiff", "FOLDER/" + name + ".tif"); }
"""


def filled(n, height=31, width=43):
    """What the macro's `fill` writes into n images."""
    k, y, x = np.ogrid[1 : n + 1, :height, :width]
    return (3 * x + 5 * y + 17 * k) % 251


def written_by_imagej(code, folder):
    run_macro(WRITE.replace("FOLDER", str(folder)) + code.replace("FOLDER", str(folder)), folder)


@pytest.mark.parametrize("order", ["big", "intel"])
def test_hyperstacks_that_imagej_writes_are_read_to_the_same_numbers(tmp_path, order):
    sides = [(1, 1, 1), (3, 1, 1), (1, 4, 1), (1, 1, 3), (2, 4, 1), (2, 1, 3), (1, 4, 3), (2, 4, 3)]
    option = " save" if order == "intel" else ""
    code = f'run("Input/Output...", "jpeg=85 gif=-1 file=.csv{option}");\n'
    for bits, (c, z, t) in product((8, 16, 32), sides):
        mode = ("grayscale", "color", "composite")[(bits // 8) % 3]
        code += f'made("{bits}-bit {mode}-mode", {c}, {z}, {t});'
        code += f'saved("{bits}-{c}{z}{t}"); close();\n'
    written_by_imagej(code, tmp_path)
    for bits, (c, z, t) in product((8, 16, 32), sides):
        path = tmp_path / f"{bits}-{c}{z}{t}.tif"
        with tifffile.TiffFile(path) as file:
            assert file.byteorder == {"big": ">", "intel": "<"}[order]
        picture = read_picture(path)
        axes = "".join(a for a, n in (("T", t), ("Z", z), ("C", c)) if n > 1) + "YX"
        assert (picture.kind, picture.axes) == ("imagej", axes)
        assert picture.pixels.dtype == {8: "uint8", 16: "uint16", 32: "float32"}[bits]
        expected = filled(c * z * t).reshape(t * z, c, 31, 43)
        np.testing.assert_array_equal(picture.pixels, expected)


def test_lookup_tables_of_imagej_change_no_number(tmp_path):
    tables = ("Fire", "Grays", "Invert LUT", "Green")
    code = "".join(
        f'made("{bits}-bit", 1, {z}, 1); run("{table}"); saved("{table} {bits} {z}"); close();\n'
        for table, bits, z in product(tables, (8, 16), (1, 3))
    )
    code += """newImage("a", "RGB", 43, 31, 1);
    for (y = 0; y < 31; y++) for (x = 0; x < 43; x++) setPixel(x, y, ((5 * x) << 16) + 8 * y);
    run("8-bit Color", "number=256"); saved("colours by number");"""
    written_by_imagej(code, tmp_path)
    with pytest.raises(InputError, match=r"colours by number.tif: a palette \(colours by number\)"):
        read_picture(tmp_path / "colours by number.tif")
    for table, bits, z in product(tables, (8, 16), (1, 3)):
        pixels = read_picture(tmp_path / f"{table} {bits} {z}.tif").pixels
        np.testing.assert_array_equal(pixels[:, 0], filled(z))


def test_scales_that_imagej_writes_are_read(tmp_path):
    units = {"um": 1, "micron": 1, "µm": 1, "nm": 1e-3, "mm": 1e3, "inch": None, "pixel": None}
    code = "".join(
        f'made("8-bit", 1, 3, 2); run("Properties...", "channels=1 slices=3 frames=2 unit={unit} '
        f'pixel_width=0.5 pixel_height=0.5 voxel_depth=2"); saved("{unit}"); close();\n'
        for unit in units
    )
    for unit, interval in (("sec", 0.25), ("min", 2)):
        code += (
            f'made("8-bit", 1, 1, 3); Stack.setFrameInterval({interval}); '
            f'Stack.setTUnit("{unit}"); saved("every {unit}"); close();\n'
        )
    code += 'made("8-bit", 1, 1, 3); Stack.setFrameRate(12); saved("shown fast"); close();\n'
    written_by_imagej(code, tmp_path)
    for unit, factor in units.items():
        picture = read_picture(tmp_path / f"{unit}.tif")
        sizes = (None, None) if factor is None else (0.5 * factor, 2 * factor)
        assert (picture.pixel_size, picture.z_spacing) == pytest.approx(sizes)
    assert read_picture(tmp_path / "every sec.tif").frame_interval == 0.25
    assert read_picture(tmp_path / "every min.tif").frame_interval == 120
    assert read_picture(tmp_path / "shown fast.tif").frame_interval is None


def test_colours_png_and_jpeg_of_imagej_are_read(tmp_path):
    code = """
    newImage("a", "RGB", 43, 31, 1);
    for (y = 0; y < 31; y++) for (x = 0; x < 43; x++)
        setPixel(x, y, ((5 * x) << 16) + ((7 * y) << 8) + 3 * x + 2 * y);
    saved("rgb"); saveAs("PNG", "FOLDER/rgb.png"); saveAs("Jpeg", "FOLDER/rgb.jpg"); close();
    made("8-bit", 1, 1, 1); saveAs("PNG", "FOLDER/8.png"); saveAs("Jpeg", "FOLDER/8.jpg");
    open("FOLDER/8.jpg"); saveAs("PNG", "FOLDER/8 by jpeg.png"); close();
    made("16-bit", 1, 1, 1); saveAs("PNG", "FOLDER/16.png");
    """
    written_by_imagej(code, tmp_path)
    y, x = np.mgrid[:31, :43]
    rgb = np.stack([5 * x, 7 * y, 3 * x + 2 * y])[None]
    for name in ("rgb.tif", "rgb.png"):
        picture = read_picture(tmp_path / name)
        assert picture.axes == "YXS"
        np.testing.assert_array_equal(picture.pixels, rgb)
    np.testing.assert_array_equal(read_picture(tmp_path / "8.png").pixels[0], filled(1))
    sixteen = read_picture(tmp_path / "16.png").pixels
    assert sixteen.dtype == np.uint16
    np.testing.assert_array_equal(sixteen[0], filled(1))
    ours, theirs = (
        read_picture(tmp_path / name).pixels.astype(int) for name in ("8.jpg", "8 by jpeg.png")
    )
    assert abs(ours - theirs).max() <= 1  # two decoders
    with Image.open(tmp_path / "rgb.jpg") as image:
        np.testing.assert_array_equal(
            read_picture(tmp_path / "rgb.jpg").pixels[0], np.moveaxis(np.asarray(image), -1, 0)
        )
