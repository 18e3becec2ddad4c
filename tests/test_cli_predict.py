"""`unet predict` on pictures of any kind: what is written, where, and what is refused."""

import csv
import errno
import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from test_cli import refusal, unet

from unetcore.checkpoint import save_model
from unetcore.data.intensity import normalise
from unetcore.data.io import grey_values, to_unit_range
from unetcore.data.pictures import read_picture
from unetcore.data.rescaling import rescaled, restored
from unetcore.instances import instances
from unetcore.loading import load_predictor
from unetcore.model import UNet, initialise
from unetcore.predict import predict_probability

SHAPE = (44, 60)
LOADING = {"precision": "float32", "device": "cpu"}
PLAIN = ("--precision", "float32", "--device", "cpu")


def make_model(folder, in_channels=1, **description):
    """Network of random weights, about half of whose pixels are cell interior."""
    network = UNet(in_channels=in_channels, width=2, depth=1, dropout=0.0)
    initialise(network, torch.Generator().manual_seed(in_channels))
    description = {"training": {"normalisation": "slice"}} | description
    folder.mkdir(exist_ok=True)
    save_model(folder / "model.safetensors", network, description)
    return folder


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


@pytest.fixture
def two_channels(tmp_path):
    return make_model(tmp_path / "two", 2)


def grey(*leading, dtype=np.uint8, seed=0, shape=SHAPE):
    values = np.random.default_rng(seed).integers(0, 250, (*leading, *shape))
    return values.astype(dtype)


def expected_map(pixels, model):
    """Probability of (Z, C, H, W) grey values, step by step and without the command line."""
    loaded = load_predictor(model, **LOADING)
    seen = normalise(grey_values(pixels, "slice", ""), "slice")
    return np.stack([predict_probability(page, loaded.predictor) for page in seen])


def predicted(*words):
    result = unet("predict", *words, *PLAIN)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def files_of(folder):
    """Files below a folder with their bytes, and when they were written."""
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def test_two_channels_end_to_end(two_channels, tmp_path):
    """An ImageJ hyperstack of two slices and channels, its sizes said; all results are checked."""
    pixels = grey(2, 2, dtype=np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        imagej=True,
        metadata={"axes": "ZCYX", "unit": "micron", "spacing": 1.5},
        resolution=(4, 4),
    )
    words = (two_channels, tmp_path / "a.tif", "-o", tmp_path / "out")
    cells = ("--smallest-object", 5, "--border", 3, "--threshold", 0.45)
    lines = predicted(*words, *cells)
    assert lines[-2:] == [
        f"  unet view {tmp_path}/a.tif {tmp_path}/out/a-probability.tif -o {tmp_path}/out/a.html "
        "--threshold 0.45 --smallest-object 5 --border 3",
        f"  unet evaluate LABELS {tmp_path}/out",
    ]
    out = tmp_path / "out"
    names = ("probability.tif", "mask.tif", "instances.tif", "measurements.csv", "overlay.png")
    assert {p.name for p in out.iterdir()} == {"summary.csv", *(f"a-{name}" for name in names)}

    expected = expected_map(pixels, two_channels)
    assert 0.2 < (expected > 0.45).mean() < 0.8
    segments = np.stack(
        [
            instances(page, threshold=0.45, smallest_object=5, border=3, fill_holes=True)
            for page in expected
        ]
    )
    for name, array in (
        ("probability", expected),
        ("mask", (expected > 0.45) * np.uint8(255)),
        ("instances", segments),
    ):
        with tifffile.TiffFile(out / f"a-{name}.tif") as file:
            assert (file.is_imagej, file.series[0].axes) == (True, "ZYX")
            assert (file.imagej_metadata["unit"], file.imagej_metadata["spacing"]) == ("um", 1.5)
            assert file.asarray().dtype == array.dtype
            np.testing.assert_array_equal(file.asarray(), array)
        assert read_picture(out / f"a-{name}.tif").pixel_size == 0.25

    with open(out / "a-measurements.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(page.max() for page in segments) > 5
    last = rows[-1]
    inside = segments[1] == int(last["label"])
    assert (last["image"], last["slice"]) == ("a.tif", "2")
    assert int(last["area_px"]) == inside.sum()
    assert float(last["area_um2"]) == inside.sum() / 16
    for c in (0, 1):
        assert float(last[f"mean_{c + 1}"]) == pytest.approx(pixels[1, c][inside].mean())

    with open(out / "summary.csv", newline="") as file:
        (summary,) = csv.DictReader(file)
    assert (summary["image"], summary["slices"], summary["cells"]) == ("a.tif", "2", str(len(rows)))
    assert float(summary["interior"]) == pytest.approx((expected > 0.45).mean(), rel=1e-5)
    assert (summary["threshold"], summary["smallest_object"]) == ("0.45", "5")
    with Image.open(out / "a-overlay.png") as image:
        assert (image.mode, max(image.size) <= 1500) == ("RGB", True)


def test_one_file_is_the_probability_alone(two_channels, tmp_path):
    pixels = grey(3, 2)
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, ome=True, metadata={"axes": "TCYX"})
    image = tmp_path / "a.ome.tif"
    lines = predicted(two_channels, image, "-o", tmp_path / "p.tif")
    assert lines[0].startswith(f"{tmp_path}/p.tif: 3 images, ")
    assert lines[-1] == f"  unet evaluate LABELS.tif {tmp_path}/p.tif"
    assert {p.name for p in tmp_path.iterdir()} == {"two", "a.ome.tif", "p.tif"}
    with tifffile.TiffFile(tmp_path / "p.tif") as file:
        assert (file.is_imagej, file.is_ome, file.series[0].axes) == (True, False, "TYX")
    predicted(two_channels, image, "-o", tmp_path / "p.ome.tif")
    with tifffile.TiffFile(tmp_path / "p.ome.tif") as file:
        assert (file.is_ome, file.series[0].axes) == (True, "TYX")
        np.testing.assert_array_equal(file.asarray(), expected_map(pixels, two_channels))


def test_results_keep_what_labels_meant_in_training_and_are_evaluated_by_it(tmp_path):
    """Pictures of several types and sizes, labels named and typed as they like."""
    model = make_model(tmp_path / "model", label_map="0=cell,255=background")
    folder = tmp_path / "in"
    folder.mkdir()
    tifffile.imwrite(folder / "a.ome.tif", grey(2), ome=True, metadata={"axes": "ZYX"})
    Image.fromarray(grey(shape=(30, 33))).save(folder / "b.png")
    out = tmp_path / "out"
    lines = predicted(model, folder, "-o", out, "--smallest-object", 5)
    assert lines[-1] == f"  unet evaluate LABELS {out} --label-map 0=cell,255=background"
    (tmp_path / "labels").mkdir()
    maps = [read_picture(out / f"{name}-probability.tif").pixels[:, 0] for name in ("a", "b")]
    a, b = (np.where(grey > np.median(grey), 0, 255).astype(np.uint8) for grey in maps)
    tifffile.imwrite(tmp_path / "labels/a_mask.tif", a)
    Image.fromarray(b[0]).save(tmp_path / "labels/b.png")
    result = unet("evaluate", tmp_path / "labels", out, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["label_map"] == "0=cell,255=background"
    assert [(row["image"], row["slices"]) for row in found["images"]] == [("a", 2), ("b", 1)]
    meaning = ("--label-map", "0=cell,255=background")
    words = ("evaluate", tmp_path / "labels/b.png", out / "b-probability.tif", "--json", *meaning)
    for name, values in json.loads(unet(*words).stdout).items():
        assert found["images"][1]["metrics"][name].items() >= values.items()


def test_folder_of_all_kinds_and_sizes(tmp_path):
    """Each is as it is alone; results are named after it, in its type where that holds them."""
    model = make_model(tmp_path / "model", 3)
    folder = tmp_path / "Bilder von Jürgen"
    folder.mkdir()
    small, large = (np.moveaxis(grey(3, shape=shape), 0, -1) for shape in ((30, 33), (50, 41)))
    Image.fromarray(small).save(folder / "b ä.png")
    Image.fromarray(large).save(folder / "c.JPG", format="JPEG")
    tifffile.imwrite(folder / "a.tif", small, photometric="rgb")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").touch()
    lines = predicted(model, folder, "-o", tmp_path / "out", "--smallest-object", 5)
    assert [line.split("  ")[0] for line in lines[:3]] == ["a.tif", "b ä.png", "c.JPG"]
    assert "of 3 images the probability, mask, instances" in lines[3]
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {n for n in names if "mask" in n} == {"a-mask.tif", "b ä-mask.png", "c-mask.png"}
    assert {n for n in names if "-prob" in n} == {f"{n}-probability.tif" for n in ("a", "b ä", "c")}
    assert len(names) == 3 * 5 + 1
    for file in ("a.tif", "b ä.png", "c.JPG"):
        pixels = read_picture(folder / file).pixels
        name = file.split(".")[0]
        found = read_picture(tmp_path / f"out/{name}-probability.tif").pixels[:, 0]
        np.testing.assert_array_equal(found, expected_map(pixels, model))
        with open(tmp_path / f"out/{name}-measurements.csv") as table:
            assert "mean_red,min_red,max_red,std_red,mean_green" in table.readline()
    with open(tmp_path / "out/summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a.tif", "b ä.png", "c.JPG"]
    assert [(row["height_px"], row["width_px"]) for row in rows] == [("30", "33")] * 2 + [
        ("50", "41")
    ]
    (line,) = refusal("predict", model, folder, "-o", tmp_path / "p.tif", *PLAIN)
    assert line == (
        f"error: {folder}/c.JPG: 50 x 41 px, but a.tif before it is 30 x 33: into one TIFF file go "
        "images of one size, give the name of a folder"
    )


def test_the_model_says_how_cells_are_cut_out_unless_the_user_does(tmp_path):
    said = {"threshold": 0.45, "smallest_object": 7, "fill_holes": False, "border": 4}
    model = make_model(tmp_path / "model", postprocessing=said, channels=["actin"])
    tifffile.imwrite(tmp_path / "a.tif", grey())
    words = (model, tmp_path / "a.tif", "-o", tmp_path / "p.tif")
    (probability,) = expected_map(grey(1, 1), model)

    def found(*options):
        predicted(*words, "--segmentation", tmp_path / "cells.tif", *options)
        return read_picture(tmp_path / "cells.tif").pixels[0, 0]

    np.testing.assert_array_equal(found(), instances(probability, **said))
    for option, value in (("threshold", 0.6), ("smallest_object", 0), ("border", 0)):
        changed = instances(probability, **said | {option: value})
        assert not np.array_equal(changed, instances(probability, **said))
        np.testing.assert_array_equal(found(f"--{option.replace('_', '-')}", value), changed)
    filled = instances(probability, **said | {"fill_holes": True})
    np.testing.assert_array_equal(found("--fill-holes"), filled)
    assert (filled > 0).sum() > (instances(probability, **said) > 0).sum()
    older = load_predictor(make_model(tmp_path / "older"), **LOADING)
    assert older.postprocessing == {
        "threshold": 0.5,
        "smallest_object": 500,
        "fill_holes": True,
        "border": 0,
    }


def test_image_is_rescaled_to_the_model_and_the_result_back(tmp_path):
    pixels = grey(1, 1, shape=(121, 180), dtype=np.uint16)
    small = rescaled(to_unit_range(pixels, ""), 0.5)
    assert small.shape[2:] == (60, 90)
    predictor = load_predictor(make_model(tmp_path / "model"), **LOADING).predictor
    coarse = predict_probability(normalise(small, "slice")[0], predictor)
    expected = restored(coarse, (121, 180))
    threshold = float(np.median(expected))

    said = {"smallest_object": 8, "border": 2, "threshold": threshold, "fill_holes": False}
    model = make_model(tmp_path / "model", pixel_size_um=0.5, postprocessing=said)
    metadata = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels[0, 0], ome=True, metadata=metadata)
    predicted(model, tmp_path / "a.ome.tif", "-o", tmp_path / "out")
    found = read_picture(tmp_path / "out/a-probability.tif")
    assert (found.pixel_size, found.shape) == (0.25, (121, 180))
    np.testing.assert_allclose(found.pixels[0, 0], expected, atol=1e-6)
    # The model's 8 px and 2 px are 32 px and 4 px of half the size.
    written = read_picture(tmp_path / "out/a-instances.ome.tif").pixels[0, 0]
    by = {
        (n, b): instances(found.pixels[0, 0], threshold=threshold, smallest_object=n, border=b)
        for n in (8, 16, 32)
        for b in (1, 2, 4)
    }
    assert all((by[32, 4] != cells).any() for key, cells in by.items() if key != (32, 4))
    np.testing.assert_array_equal(written, by[32, 4])

    words = (model, tmp_path / "a.ome.tif", "-o", tmp_path / "p.tif")
    predicted(*words, "--pixel-size", 0.5)
    found = read_picture(tmp_path / "p.tif")
    assert found.pixel_size == 0.5
    np.testing.assert_array_equal(found.pixels[:, 0], expected_map(pixels, model))


def test_pixel_size_that_a_model_needs_is_asked_for(tmp_path):
    model = make_model(tmp_path / "model", pixel_size_um=0.5)
    tifffile.imwrite(tmp_path / "a.tif", grey())
    words = ("predict", model, tmp_path / "a.tif", "-o", tmp_path / "p.tif", *PLAIN)
    (line,) = refusal(*words)
    assert line == (
        f"error: {tmp_path}/a.tif: the file does not say the size of its pixels, and the model is "
        "for 0.5 um: give --pixel-size UM"
    )
    (line,) = refusal(*words, "--pixel-size", 50)
    assert "pixels of 50 um, and the model is for 0.5 um, which is more than 10 times" in line
    by_chunks = ("predict", model, tmp_path / "a.tif", "-o", tmp_path / "p.zarr")
    (line,) = refusal(*by_chunks)
    assert "the file does not say the size of its pixels" in line
    (line,) = refusal(*by_chunks, "--pixel-size", 0.25)
    assert "chunk by chunk nothing is rescaled, give OUT.tif or the name of a folder" in line
    assert not (tmp_path / "p.zarr").exists()
    done = unet(*by_chunks, "--pixel-size", 0.5, *PLAIN)
    assert done.exit_code == 0, done.output


def test_numbers_of_channels_that_do_not_fit_are_said(model, two_channels, tmp_path):
    Image.fromarray(np.moveaxis(grey(3), 0, -1)).save(tmp_path / "rgb.png")
    out = ("-o", tmp_path / "p.tif", *PLAIN)
    (line,) = refusal("predict", model, tmp_path / "rgb.png", *out)
    assert line == f"error: {tmp_path}/rgb.png: 3 channels, and the model takes 1"
    Image.fromarray(grey()).convert("RGB").save(tmp_path / "same.png")
    (line,) = refusal("predict", model, tmp_path / "same.png", *out)
    assert line.endswith("takes 1: they are all the same, save the image as grey values")
    tifffile.imwrite(tmp_path / "pages.tif", grey(2), photometric="minisblack")
    (line,) = refusal("predict", two_channels, tmp_path / "pages.tif", *out)
    assert "pages.tif: 1 channel, and the model takes 2: its 2 pages are taken for slices" in line


def test_floats_of_any_range_unless_the_model_must_know_white(model, tmp_path):
    pixels = grey(1, 1, dtype=np.float32) * 1e3 - 5e4
    tifffile.imwrite(tmp_path / "a.tif", pixels[0, 0])
    predicted(model, tmp_path / "a.tif", "-o", tmp_path / "p.tif")
    found = read_picture(tmp_path / "p.tif").pixels[:, 0]
    np.testing.assert_allclose(found, expected_map(grey(1, 1), model), atol=1e-5)
    unit = make_model(tmp_path / "unit", training={"normalisation": "unit"})
    (line,) = refusal("predict", unit, tmp_path / "a.tif", "-o", tmp_path / "q.tif", *PLAIN)
    assert "a.tif: float values from -50000 to 199000, expected 0 to 1" in line


def damaged(folder, name):
    """Make one file that cannot be predicted, beside two that can."""
    for good in ("a.tif", "z.tif"):
        tifffile.imwrite(folder / good, grey())
    path = folder / name
    if name == "empty.tif":
        path.touch()
    elif name == "text.tif":
        path.write_text("no image")
    elif name == "nan.tif":
        tifffile.imwrite(path, np.full(SHAPE, np.nan, np.float32))
    elif name == "cut.png":
        Image.fromarray(grey()).save(path)
        path.write_bytes(path.read_bytes()[:900])
    elif name == "alpha.png":
        Image.fromarray(grey()).convert("LA").save(path)
    elif name == "palette.png":
        Image.fromarray(np.moveaxis(grey(3), 0, -1)).quantize(9).save(path)
    return path


@pytest.mark.parametrize("out", ["p.tif", "results"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.tif", "an empty file (0 bytes), expected an image"),
        ("text.tif", "its name says TIFF, but it is no TIFF file"),
        ("nan.tif", "2640 values are NaN or infinite, the first at Y 0, X 0"),
        ("cut.png", "damaged or truncated PNG file"),
        ("alpha.png", "an alpha channel"),
        ("palette.png", "a palette"),
    ],
)
def test_one_bad_file_is_one_line_and_nothing_is_written(model, tmp_path, name, words, out):
    (tmp_path / "in").mkdir()
    path = damaged(tmp_path / "in", name)
    before = files_of(tmp_path)
    (line,) = refusal("predict", model, tmp_path / "in", "-o", tmp_path / out, *PLAIN)
    assert line.startswith(f"error: {path}: {words}")
    assert files_of(tmp_path) == before
    assert not (tmp_path / out).exists()


def test_every_bad_file_is_a_line(model, tmp_path):
    (tmp_path / "in").mkdir()
    bad = [damaged(tmp_path / "in", name).name for name in ("alpha.png", "empty.tif", "nan.tif")]
    lines = refusal("predict", model, tmp_path / "in", "-o", tmp_path / "results", *PLAIN)
    assert [line.split(": ")[1].rpartition("/")[2] for line in lines] == bad


def test_names_that_do_not_fit(model, tmp_path):
    (tmp_path / "in").mkdir()
    words = ("predict", model, tmp_path / "in", "-o")
    (line,) = refusal(*words, tmp_path / "p.tif")
    assert line == f"error: {tmp_path}/in: no image in this folder (TIFF, PNG, JPEG or OME-Zarr)"
    tifffile.imwrite(tmp_path / "in/a.tif", grey())
    (line,) = refusal(*words, tmp_path / "p.png")
    assert "p.png: a name of type .png, need OUT.tif (probability), OUT.zarr" in line
    (line,) = refusal(*words, tmp_path / "in/../in")
    assert line.endswith("the folder of the images, take another one for the results")
    (line,) = refusal(*words, tmp_path / "out", "--segmentation", tmp_path / "c.tif")
    assert line.startswith("error: --segmentation is for OUT.tif; the folder ")
    Image.fromarray(grey()).save(tmp_path / "in/a.png")
    (line,) = refusal(*words, tmp_path / "out")
    assert line == f"error: {tmp_path}/in/a.tif: results would have the names of those of a.png"
    (line,) = refusal("predict", model, tmp_path / "none.tif", "-o", tmp_path / "p.tif", *PLAIN)
    assert line == f"error: {tmp_path}/none.tif: no such file"
    (line,) = refusal("predict", tmp_path / "in/a.tif", tmp_path / "in/a.tif", "-o", "p.tif")
    assert "a.tif: a file of type .tif, expected a folder of `unet train` or a model" in line
    (line,) = refusal(*words, tmp_path / "p.zarr", "--threshold", 0.4)
    assert line.startswith("error: --threshold is for TIFF files")
    assert {p.name for p in tmp_path.iterdir()} == {"in", "model"}


def test_model_file_is_as_good_as_its_folder(model, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", grey())
    predicted(model / "model.safetensors", tmp_path / "a.tif", "-o", tmp_path / "p.tif")
    found = read_picture(tmp_path / "p.tif").pixels[:, 0]
    np.testing.assert_array_equal(found, expected_map(grey(1, 1), model))


@pytest.mark.parametrize("out", ["p.tif", "results"])
def test_folder_that_cannot_be_written_to_is_said_before_any_work(
    model, tmp_path, monkeypatch, out
):
    def refuse(*arguments, **named):
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/.x")

    tifffile.imwrite(tmp_path / "a.tif", grey())
    monkeypatch.setattr("tempfile.mkdtemp", refuse)  # root may write anywhere
    monkeypatch.setattr(
        "unetcore.picture_prediction.predict_probability", lambda *_, **__: pytest.fail("worked")
    )
    (line,) = refusal("predict", model, tmp_path / "a.tif", "-o", tmp_path / "ro" / out, *PLAIN)
    folder = tmp_path / "ro" / (out if out == "results" else "")
    assert line == f"error: {folder}: permission denied"


def test_what_was_there_is_replaced_only_by_a_whole_file(model, tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", grey())
    words = (model, tmp_path / "a.tif", "-o", tmp_path / "out")
    predicted(*words)
    before = files_of(tmp_path / "out")

    def fail(path, *arguments, **named):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("unetcore.data.tiff_picture.tifffile.imwrite", fail)
    (line,) = refusal("predict", *words, *PLAIN)
    assert line.endswith("no space left on device")
    assert files_of(tmp_path / "out") == before


def test_zarr_in_and_out(model, tmp_path):
    zarr = pytest.importorskip("zarr")
    pixels = grey(2, 1)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", shape=pixels.shape, dtype="uint8", chunks=pixels.shape)[...] = pixels
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zcyx"]
    scale = [{"type": "scale", "scale": [2, 1, 0.5, 0.5]}]
    image = {"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}
    image["datasets"][0]["coordinateTransformations"] = scale
    group.attrs["multiscales"] = [image]
    predicted(model, tmp_path / "a.zarr", "-o", tmp_path / "out", "--smallest-object", 3)
    cells = read_picture(tmp_path / "out/a-instances.zarr")
    assert (cells.axes, cells.pixel_size, cells.z_spacing) == ("ZYX", 0.5, 2.0)
    probability = read_picture(tmp_path / "out/a-probability.tif")
    assert (probability.pixel_size, probability.z_spacing) == (0.5, 2.0)
    np.testing.assert_array_equal(probability.pixels[:, 0], expected_map(pixels, model))


def test_an_image_is_not_replaced_by_its_result(model, tmp_path):
    image = tmp_path / "a.tif"
    tifffile.imwrite(image, np.zeros((30, 33), np.uint8))
    before = image.read_bytes()
    (line,) = refusal("predict", model, image, "-o", image, *PLAIN)
    assert line == f"error: {image}: is the image itself, take another name for the result"
    words = ("predict", model, image, "-o", tmp_path / "p.tif")
    (line,) = refusal(*words, "--segmentation", tmp_path / "p.tif", *PLAIN)
    assert "is the probability already" in line
    assert image.read_bytes() == before
    assert not (tmp_path / "p.tif").exists()


def test_results_do_not_go_among_the_images(model, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", grey())
    before = sorted(tmp_path.iterdir())
    (line,) = refusal("predict", model, tmp_path / "in.tif", "-o", tmp_path)
    assert "the folder of the images, take another one for the results" in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "says"),
    [("cells.jpg", "need NAME.tif"), ("cells.png", "a PNG holds one image, not 2")],
)
def test_a_name_that_cannot_hold_cells_is_refused_before_any_work(model, tmp_path, name, says):
    tifffile.imwrite(tmp_path / "in.tif", grey(2), photometric="minisblack")
    words = ("predict", model, tmp_path / "in.tif", "-o", tmp_path / "p.tif")
    (line,) = refusal(*words, "--segmentation", tmp_path / name)
    assert says in line
    assert not (tmp_path / "p.tif").exists()


def test_cells_that_somebody_corrected_are_not_left_beside_new_ones(model, tmp_path):
    """Of a PNG the cells are one as well; those that Fiji saved are a TIFF."""
    Image.fromarray(grey()).save(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    corrected = tmp_path / "out/a-instances.tif"
    tifffile.imwrite(corrected, grey())
    before = corrected.read_bytes()
    words = ("predict", model, tmp_path / "a.png", "-o", tmp_path / "out", *PLAIN)
    (line,) = refusal(*words)
    assert "a-instances.tif: cells of " in line
    assert "another type than it will get (.png): move it away" in line
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [before]
    corrected.rename(tmp_path / "moved.tif")
    assert unet(*words).exit_code == 0


def test_a_file_of_results_does_not_go_among_the_images(model, tmp_path):
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in/a.tif", grey())
    words = ("predict", model, tmp_path / "in", "-o")
    (line,) = refusal(*words, tmp_path / "in/p.tif")
    assert line.endswith("p.tif: in the folder of the images, take another place")
    (line,) = refusal(*words, tmp_path / "p.tif", "--segmentation", tmp_path / "in/c.tif")
    assert line.endswith("c.tif: in the folder of the images, take another place")
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.tif"]
    for _ in range(2):  # the results are not taken for images
        assert unet(*words, tmp_path / "in/results", *PLAIN).exit_code == 0
    assert (tmp_path / "in/results/a-mask.tif").is_file()


def test_the_page_that_is_named_shows_the_cells_that_were_cut_out(model, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", grey())
    words = ("predict", model, tmp_path / "a.tif", *PLAIN, "--border", 3, "--no-fill-holes")
    for out in (tmp_path / "out", tmp_path / "p.tif"):
        lines = unet(*words, "-o", out).stdout.splitlines()
        (line,) = [line for line in lines if " view " in line]
        assert line.endswith("--border 3 --no-fill-holes")


def test_a_folder_that_does_not_permit_is_one_line(model, tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", grey())

    def refused(folder):
        raise PermissionError(errno.EPERM, "Operation not permitted", str(folder))

    monkeypatch.setattr("unetcore.cli_predict.check_writable", refused)
    (line,) = refusal("predict", model, tmp_path / "a.tif", "-o", tmp_path / "out")
    assert line == f"error: {tmp_path}/out: operation not permitted"
