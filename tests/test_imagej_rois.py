"""Regions that ImageJ draws and saves, and its own masks of them."""

import json
import random
from itertools import product

import numpy as np
import pytest
import tifffile
from imagej import run_macro
from roifile import ROI_SUBTYPE, roiread
from test_cli import unet

from unetcore.data.annotated import read_labels_of
from unetcore.data.pictures import read_picture, write_like
from unetcore.data.roi_outline import pixels_of
from unetcore.data.rois import read_rois
from unetcore.errors import InputError

pytestmark = pytest.mark.imagej

HEIGHT, WIDTH = 83, 97
# The mask is of the region as its file gives it back, not of the one that was drawn.
KEEP = f"""
newImage("a", "8-bit black", {WIDTH}, {HEIGHT}, 1);
function keep(name) {{
    if (selectionType() < 0) exit("no selection: " + name);
    Roi.setName(name);
    saveAs("Selection", "FOLDER/" + name + ".roi");
    roiManager("open", "FOLDER/" + name + ".roi");
    roiManager("select", roiManager("count") - 1);
    run("Create Mask");
    saveAs("Tiff", "FOLDER/" + name + ".tif");
    close();
    selectImage("a");
    run("Select None");
}}
function both(how, name) {{
    n = roiManager("count");
    roiManager("select", newArray(n - 2, n - 1));
    roiManager(how);
    keep(name);
    roiManager("reset");
}}
"""
DRAWN = {
    "rectangle": "makeRectangle(2, 3, 50, 61);",
    "rectangle between pixels": "makeRectangle(2.3, 3.7, 50.5, 61.2);",
    "oval": "makeOval(10, 5, 40, 31);",
    "oval between pixels": "makeOval(10.4, 5.7, 41.5, 31.2);",
    "oval across the border": "makeOval(60, 60, 60, 60);",
    "oval enlarged": 'makeOval(10, 5, 60, 51); run("Enlarge...", "enlarge=5");',
    "oval moved by half a pixel": 'makeOval(5, 5, 50, 50); run("Translate... ", "x=1.5 y=2.25");',
    "oval rotated": 'makeOval(10, 5, 60, 51); run("Rotate...", "rotate angle=15");',
    "oval as polygon": 'makeOval(10, 5, 60, 51); run("Interpolate", "interval=1.5");',
    "rotated rectangle": "makeRotatedRectangle(10, 20, 70, 50, 25);",
    "ellipse": "makeEllipse(10, 20, 70, 50, 0.4);",
    "polygon along pixel centres": "makePolygon(5, 5, 50, 50, 5, 50);",
    "polygon": "makePolygon(5, 7, 90, 20, 70, 71, 30, 40);",
    "polygon that crosses itself": "makePolygon(5, 5, 90, 75, 5, 75, 90, 5);",
    "polygon across the border": "makePolygon(-5, -5, 50, 20, 20, 120);",
    "polygon moved by half a pixel": (
        'makePolygon(5, 5, 50, 50, 5, 50); run("Translate... ", "x=1.5 y=2.25");'
    ),
    "freehand": (
        'makeSelection("freehand", newArray(5, 10, 20, 40, 41, 30, 12), '
        "newArray(5, 4, 10, 12, 50, 66, 40));"
    ),
    "freehand between pixels": (
        'makeSelection("freehand", newArray(5.1, 10.2, 20.3, 40.4, 41.5, 30.6, 12.7), '
        "newArray(5.1, 4.2, 10.3, 12.4, 50.5, 66.6, 40.7));"
    ),
    "wand": (
        "setColor(200); fillOval(20, 20, 31, 40); setColor(0); fillRect(30, 30, 8, 9); "
        "doWand(22, 40);"
    ),
    "inverse": 'makeOval(10, 5, 60, 51); run("Make Inverse");',
    "inverse of rounded corners": 'makeRectangle(10, 5, 60, 51, 20); run("Make Inverse");',
    "band": 'makeOval(10, 5, 60, 51); run("Make Band...", "band=5");',
    "rectangle with a hole": (
        'makeRectangle(10, 5, 60, 51); setKeyDown("alt"); makeOval(20, 20, 30, 17); '
        'setKeyDown("none");'
    ),
}
PAIRS = {
    "ovals and rectangle": ("makeOval(10, 5, 60, 51);", "makeRectangle(40, 30, 50, 40);"),
    "polygon and ellipse": (
        "makePolygon(5, 6, 90, 20, 70, 71);",
        "makeEllipse(10, 20, 70, 50, 0.4);",
    ),
}


def drawn(code, folder):
    """Let ImageJ draw and keep regions, and yield each with its mask."""
    run_macro((KEEP + code).replace("FOLDER", str(folder)), folder)
    for file in sorted(folder.glob("*.roi")):
        yield roiread(file), tifffile.imread(file.with_suffix(".tif")) > 0


def our_mask(region):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    window, inside = pixels_of(region, mask.shape, region.name)
    mask[window] = inside
    return mask


def test_pixels_of_all_kinds_of_regions_are_those_of_imagej(tmp_path):
    code = "".join(f'{how} keep("{name}");\n' for name, how in DRAWN.items())
    code += 'roiManager("reset");\n'
    for (name, (one, other)), how in product(PAIRS.items(), ("XOR", "AND", "Combine")):
        code += (
            f'{one} roiManager("add"); {other} roiManager("add"); both("{how}", "{name} {how}");\n'
        )
    names = []
    for region, mask in drawn(code, tmp_path):
        assert 100 < mask.sum() < mask.size
        np.testing.assert_array_equal(our_mask(region), mask, region.name)
        names.append(region.name)
    assert len(names) == len(DRAWN) + 3 * len(PAIRS)


def random_region(draw):
    """Macro that draws a region of random kind, place and fineness of its coordinates."""
    fine = draw.choice([1, 2, 4, 1000])

    def some(low, high, n=1, step=fine):
        return ", ".join(str(round(draw.uniform(low, high) * step) / step) for _ in range(n))

    box = f"{some(-15, 70)}, {some(-15, 60)}, {some(2, 80)}, {some(2, 80)}"
    n = draw.randint(3, 12)
    path = f"newArray({some(-15, 110, n)}), newArray({some(-15, 100, n)})"
    pixels = f"newArray({some(-15, 110, n, 1)}), newArray({some(-15, 100, n, 1)})"
    second = f"makeEllipse({some(0, 80, 4)}, {draw.uniform(0.1, 1):.2f});"
    return draw.choice(
        [
            f"makeOval({box});",
            f"makeRectangle({box});",
            f'makeSelection("polygon", {path});',
            f'makeSelection("freehand", {path});',
            f'makeSelection("traced", {pixels});',
            second,
            f"makeRotatedRectangle({some(-15, 100, 4)}, {some(1, 40)});",
            f'makeOval({box}); setKeyDown("shift"); {second} setKeyDown("none");',
            f'makePolygon({some(0, 80, 8)}); setKeyDown("alt"); {second} setKeyDown("none");',
        ]
    )


def test_pixels_of_random_regions_are_those_of_imagej(tmp_path):
    draw = random.Random(5)
    code = "".join(
        f'{random_region(draw)} if (selectionType() >= 0) keep("{k}");\n' for k in range(400)
    )
    compared, kinds = 0, set()
    for region, mask in drawn(code, tmp_path):
        ours = our_mask(region)
        if not ours.any():  # ImageJ moves a region that lies wholly outside into the image
            continue
        # ImageJ draws these anew by their axes, and rounds in other places.
        is_redrawn = region.subtype in (ROI_SUBTYPE.ELLIPSE, ROI_SUBTYPE.ROTATED_RECT)
        assert (ours ^ mask).sum() <= is_redrawn, region
        compared += 1
        kinds.add((region.roitype, region.subtype, region.composite))
    assert compared > 350
    assert len(kinds) >= 7


def test_rounded_corners_differ_by_single_pixels_on_the_outline(tmp_path):
    """Corners are curves, for which ImageJ and this package take polygons of their own."""
    draw = random.Random(3)
    code = "".join(
        f"makeRectangle({draw.randint(0, 40)}, {draw.randint(0, 30)}, {draw.randint(5, 50)}, "
        f'{draw.randint(5, 50)}, {draw.randint(2, 60)}); keep("{k}");\n'
        for k in range(100)
    )
    differing = [(our_mask(region) ^ mask).sum() for region, mask in drawn(code, tmp_path)]
    assert len(differing) == 100
    assert max(differing) <= 4
    assert np.count_nonzero(differing) <= 10


def test_a_set_of_the_roi_manager_becomes_labels(tmp_path):
    names = ["oval", "polygon", "wand", "ellipse"]
    code = "".join(f'{DRAWN[name]} keep("{k} {name}");\n' for k, name in enumerate(names))
    code += 'roiManager("deselect"); roiManager("save", "FOLDER/RoiSet.zip");\n'
    expected = np.zeros((1, HEIGHT, WIDTH), int)
    for number, (_, mask) in enumerate(drawn(code, tmp_path), start=1):
        expected[0][mask] = number
    labels = read_rois(tmp_path / "RoiSet.zip", (1, HEIGHT, WIDTH))
    np.testing.assert_array_equal(labels, expected)


def test_a_fitted_spline_and_lines_are_refused(tmp_path):
    code = """
    newImage("a", "8-bit", 90, 90, 1);
    makePolygon(5, 5, 50, 5, 60, 30, 20, 60); run("Fit Spline");
    saveAs("Selection", "FOLDER/s.roi");
    makeLine(5, 5, 50, 60); saveAs("Selection", "FOLDER/line.roi");
    makeText("cell", 5, 5); saveAs("Selection", "FOLDER/text.roi");
    """
    run_macro(code.replace("FOLDER", str(tmp_path)), tmp_path)
    for name, message in (("s", "a fitted spline"), ("line", "a line"), ("text", "a text")):
        with pytest.raises(InputError, match=rf"{name}.roi: region \S+: {message}, expected"):
            read_rois(tmp_path / f"{name}.roi", (1, HEIGHT, WIDTH))


STACKS = {
    "z": (1, 4, 1),
    "t": (1, 1, 5),
    "tz": (1, 3, 2),
    "cz": (2, 3, 1),
    "ct": (2, 1, 3),
    "ctz": (2, 3, 2),
}


def draw_on_stacks(tmp_path):
    """Regions on every image of stacks of all axes, by the ROI Manager and saved one by one."""
    code = ""
    for (name, (c, z, t)), mode in product(STACKS.items(), ("grayscale", "composite")):
        code += f"""
        newImage("a", "8-bit {mode}-mode", 40, 20, {c}, {z}, {t}); roiManager("reset"); x = 0;
        for (t = 1; t <= {t}; t++) for (z = 1; z <= {z}; z++) for (c = 1; c <= {c}; c++) {{
            Stack.setPosition(c, z, t); makeRectangle(3 * x, 2, 2, 3); run("Add to Manager"); x++;
        }}
        roiManager("deselect"); roiManager("save", "FOLDER/{name} {mode}.zip");
        makeRectangle(3, 2, 2, 3); Roi.setPosition({c * z * t}); roiManager("reset");
        saveAs("Selection", "FOLDER/{name} {mode} last.roi");
        makeRectangle(3, 2, 2, 3); saveAs("Selection", "FOLDER/{name} {mode} nowhere.roi");
        saveAs("Tiff", "FOLDER/{name} {mode}.tif"); close();
        """
    run_macro(code.replace("FOLDER", str(tmp_path)), tmp_path, with_windows=True)


def test_regions_lie_on_the_slice_that_they_were_drawn_on(tmp_path):
    draw_on_stacks(tmp_path)
    kinds = set()
    for (name, (c, z, t)), mode in product(STACKS.items(), ("grayscale", "composite")):
        picture = read_picture(tmp_path / f"{name} {mode}.tif")
        labels = read_labels_of(tmp_path / f"{name} {mode}.zip", picture)
        assert len(labels) == z * t
        for k in range(c * z * t):
            (slices,) = np.nonzero(labels[:, 3, 3 * k])
            assert (slices.tolist(), labels[slices[0], 3, 3 * k]) == ([k // c], k + 1)
        for region in roiread(tmp_path / f"{name} {mode}.zip"):
            kinds.add((region.position > 0, region.c_position > 0, region.z_position > 0))
        last = read_labels_of(tmp_path / f"{name} {mode} last.roi", picture)
        assert np.flatnonzero(last.any(axis=(1, 2))).tolist() == [z * t - 1]
        nowhere = tmp_path / f"{name} {mode} nowhere.roi"
        with pytest.raises(InputError, match=r": on no (slice|time), expected one of 1 to"):
            read_labels_of(nowhere, picture)
    # By one number; by depth and time in a channel, or in all channels that are shown together.
    assert kinds == {(True, False, False), (False, True, True), (False, False, True)}


def test_evaluate_and_view_know_the_slices_of_regions(tmp_path):
    """Of several times and depths, which the other file that they are given says."""
    draw_on_stacks(tmp_path)
    image, regions = tmp_path / "tz grayscale.tif", tmp_path / "tz grayscale.zip"
    picture = read_picture(image)
    labels = read_labels_of(regions, picture)
    write_like(tmp_path / "cells.tif", labels, picture)
    result = unet("evaluate", regions, tmp_path / "cells.tif", "--segmentation", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["seg"] == {"value": 1}
    write_like(tmp_path / "map.tif", (labels > 0).astype(np.float32), picture)
    page = tmp_path / "page.html"
    result = unet("view", image, tmp_path / "map.tif", "--labels", regions, "-o", page)
    assert result.exit_code == 0, result.output
    assert page.is_file()
