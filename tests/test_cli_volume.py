"""`unet predict` into OME-Zarr: parts, continuing, and options that do not go with it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import torch
import zarr
from ome_zarr_models.v04.image import ImageAttrs
from test_cli import refusal, unet
from test_export import DESCRIPTION, make_network

from unetcore.checkpoint import save_model
from unetcore.data.io import read_probability, write_stack
from unetcore.data.pictures import read_picture
from unetcore.data.stacks import Scale, open_stack
from unetcore.export import export_model
from unetcore.model import UNet, initialise


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`images.tif`, two of 200 x 150 px, and `run`, as `unet train` leaves it."""
    folder = tmp_path_factory.mktemp("volume")
    images = np.random.default_rng(0).integers(0, 255, (2, 200, 150), np.uint8)
    write_stack(folder / "images.tif", images)
    network = UNet(width=2)
    initialise(network, torch.Generator().manual_seed(0))
    (folder / "run").mkdir()
    description = {"training": {"normalisation": "slice"}}
    save_model(folder / "run/model.safetensors", network.eval(), description)
    return folder


def predict(folder, out, *words):
    return unet("predict", folder / "run", folder / "images.tif", "-o", out, *words)


def test_zarr_and_tiff_hold_the_same_probabilities(folder, tmp_path):
    said = predict(folder, tmp_path / "p.zarr", "--chunk", 64, "--precision", "float32")
    assert said.exit_code == 0, said.output
    assert "p.zarr: 24 chunks predicted of 24, complete" in said.stdout
    assert "memory: about" in said.stderr
    predict(folder, tmp_path / "p.tif", "--precision", "float32")
    np.testing.assert_allclose(
        read_probability(tmp_path / "p.zarr"), read_probability(tmp_path / "p.tif"), atol=2e-5
    )


def test_parts_and_the_call_that_finds_nothing_left(folder, tmp_path):
    out = tmp_path / "p.zarr"
    first = predict(folder, out, "--chunk", 64, "--part", "2/3")
    assert "8 chunks predicted of 24, 16 are missing" in first.stdout
    assert "16 chunks predicted of 24, complete" in predict(folder, out, "--chunk", 64).stdout
    assert "0 chunks predicted of 24, complete" in predict(folder, out, "--chunk", 64).stdout


def test_prediction_in_zarr_is_evaluated_like_one_in_tiff(folder, tmp_path):
    labels = np.zeros((2, 200, 150), np.uint8)
    labels[:, 20:90, 20:90] = labels[:, 100:190, 30:140] = 255
    write_stack(tmp_path / "labels.tif", labels)
    predict(folder, tmp_path / "p.zarr", "--chunk", 64)
    tifffile.imwrite(
        tmp_path / "p.tif", read_probability(tmp_path / "p.zarr"), photometric="minisblack"
    )
    of_zarr = unet("evaluate", tmp_path / "labels.tif", tmp_path / "p.zarr", "--json")
    of_tiff = unet("evaluate", tmp_path / "labels.tif", tmp_path / "p.tif", "--json")
    assert of_zarr.exit_code == 0
    assert of_zarr.stdout == of_tiff.stdout


def test_prediction_with_a_hole_is_not_evaluated(folder, tmp_path):
    predict(folder, tmp_path / "p.zarr", "--chunk", 64, "--part", "1/2")
    (line,) = refusal("evaluate", folder / "images.tif", tmp_path / "p.zarr")
    assert "p.zarr: 12 of 24 chunks are missing, the first is 1/0/0" in line


def test_labels_without_chunks_of_background_are_evaluated_where_the_user_says_so(folder, tmp_path):
    predict(folder, tmp_path / "p.zarr", "--chunk", 64)
    labels = np.zeros((2, 200, 150), np.uint8)
    labels[:, 20:90, 20:60] = 1
    zarr.create_array(tmp_path / "l.zarr", data=labels, chunks=(1, 100, 75))
    words = ("evaluate", tmp_path / "l.zarr", tmp_path / "p.zarr")
    (line,) = refusal(*words)
    assert "l.zarr: 6 of 8 chunks are missing" in line
    write_stack(tmp_path / "l.tif", labels)
    expected = unet("evaluate", tmp_path / "l.tif", tmp_path / "p.zarr").stdout
    assert unet(*words, "--fill-missing").stdout == expected


@pytest.mark.parametrize(
    ("out", "words", "complaint"),
    [
        ("p.zarr", ["--averaging", "d4"], "--averaging is for TIFF files"),
        ("p.zarr", ["--tile", 68], "--tile is for TIFF files"),
        ("p.zarr", ["--segmentation", "c.tif"], "--segmentation is for TIFF files"),
        ("p.zarr", ["--threshold", 0.5], "--threshold is for TIFF files"),
        ("p.zarr", ["--part", "0/3"], "--part '0/3': need K/N"),
        ("p.zarr", ["--part", "4/3"], "part 4 of 3"),
        ("p.zarr", ["--chunk", 100], "chunks of 100 px: need a multiple of 16 px"),
        ("p.zarr", ["--memory", 5], "memory of 5 MB"),
        ("p.tif", ["--part", "1/3"], "--part is for what is predicted by chunks"),
        ("p.tif", ["--chunk", 64], "--chunk is for what is predicted by chunks"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(folder, tmp_path, out, words, complaint):
    *_, line = refusal(
        "predict", folder / "run", folder / "images.tif", "-o", tmp_path / out, *words
    )
    assert line.startswith("error: ")
    assert complaint in line


def test_missing_chunks_are_filled_where_the_user_says_so(folder, tmp_path):
    image = zarr.create_array(
        tmp_path / "i.zarr", shape=(64, 128), chunks=(64, 64), dtype="u1", fill_value=9
    )
    image[:, :64] = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    words = ("predict", folder / "run", tmp_path / "i.zarr", "-o", tmp_path / "p.zarr")
    (line,) = refusal(*words)
    assert "i.zarr: 1 of 2 chunks are missing, the first is 0/1" in line
    assert "1 chunk predicted of 1, complete" in unet(*words, "--fill-missing").stdout


def test_a_disk_that_cannot_be_written_is_one_line(folder, tmp_path):
    (tmp_path / "file").touch()
    *_, line = refusal(
        "predict", folder / "run", folder / "images.tif", "-o", tmp_path / "file/p.zarr"
    )
    assert line.startswith(f"error: {tmp_path}/file: ")


def test_json_says_what_was_made_and_nothing_else(folder, tmp_path):
    out = tmp_path / "p.zarr"
    words = ("--chunk", 64, "--json")
    made = {
        "out": str(out),
        "axes": "ZYX",
        "shape": [2, 200, 150],
        "resolutions": 1,
        "chunk": 64,
        "chunks": 24,
    }
    first = predict(folder, out, *words, "--part", "2/3")
    assert json.loads(first.stdout) == made | {"predicted": 8, "missing": 16}
    assert json.loads(predict(folder, out, *words).stdout) == made | {"predicted": 16, "missing": 0}


def test_the_next_commands_are_said_and_work(folder, tmp_path):
    out = tmp_path / "p.zarr"
    first = predict(folder, out, "--chunk", 64, "--part", "1/2").stdout.splitlines()
    assert first[1:] == [
        "",
        "The others are for other jobs, or for the same command without --part.",
    ]
    *_, view, evaluate = predict(folder, out, "--chunk", 64).stdout.splitlines()
    assert view == (
        f"  unet view {folder}/images.tif {out} -o {tmp_path}/p.html --threshold 0.5 "
        "--smallest-object 500"
    )
    assert evaluate == f"  unet evaluate LABELS.tif {out}"
    labels = np.zeros((2, 200, 150), np.uint8)
    labels[:, 20:90, 20:90] = 255
    write_stack(tmp_path / "labels.tif", labels)
    for line in (view, evaluate.replace("LABELS.tif", str(tmp_path / "labels.tif"))):
        done = unet(*line.split()[1:])
        assert done.exit_code == 0, done.output
    assert (tmp_path / "p.html").stat().st_size > 10_000


HEADS = {
    "network.zip": None,
    "valid.pt": "valid",
    "valid.onnx": "valid",
    "padded.pt": "padded",
    "padded.onnx": "padded",
}


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """`i.tif`, three channels of 150 x 210 px, and networks in all forms, in two folders."""
    folder = tmp_path_factory.mktemp("forms")
    pixels = np.random.default_rng(0).integers(0, 255, (3, 150, 210), np.uint8)
    tifffile.imwrite(folder / "i.tif", pixels, imagej=True, metadata={"axes": "CYX"})
    description = {key: value for key, value in DESCRIPTION.items() if key != "pixel_size_um"}
    for kind in ("plain", "normalised"):
        network = make_network(in_channels=3, normalised=kind == "normalised")
        save_model(folder / kind / "run/model.safetensors", network, description)
        for name, head in HEADS.items():
            export_model(network, description, folder / kind / name, head=head)
    return folder


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("plain", "run"),
        ("plain", "network.zip"),
        ("plain", "valid.pt"),
        ("plain", "valid.onnx"),
        ("plain", "padded.pt"),
        ("plain", "padded.onnx"),
        ("normalised", "network.zip"),
    ],
)
def test_models_of_any_form_that_takes_tiles(forms, tmp_path, kind, name):
    words = ("predict", forms / kind / name, forms / "i.tif", "--device", "cpu")
    if name in ("run", "network.zip"):
        words += ("--precision", "float32")
    for part in ("2/2", "1/2"):
        done = unet(*words, "-o", tmp_path / "p.zarr", "--chunk", 64, "--part", part)
        assert done.exit_code == 0, done.output
    assert unet(*words, "-o", tmp_path / "one.zarr", "--chunk", 64).exit_code == 0
    for chunk in (tmp_path / "one.zarr/0").rglob("[0-9]"):
        if chunk.is_file():
            other = tmp_path / "p.zarr" / chunk.relative_to(tmp_path / "one.zarr")
            assert chunk.read_bytes() == other.read_bytes()
    assert unet(*words, "-o", tmp_path / "p.tif").exit_code == 0
    found, whole = (read_probability(tmp_path / out) for out in ("p.zarr", "p.tif"))
    np.testing.assert_allclose(found, whole, rtol=0, atol=2e-5)
    assert whole.std() > 0.05


@pytest.mark.parametrize("name", [name for name in HEADS if name != "network.zip"])
def test_graphs_whose_chunks_would_not_fit_together_are_refused(forms, tmp_path, name):
    path = forms / "normalised" / name
    (line,) = refusal("predict", path, forms / "i.tif", "-o", tmp_path / "p.zarr")
    assert line == (
        f"error: {path}: a fixed graph that takes the statistics of its maps from each tile, so "
        "chunks would not fit together: give the folder of the training, a .safetensors or a .zip"
    )
    assert not (tmp_path / "p.zarr").exists()


def test_an_unfinished_training_is_named(folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text("{}")
    words = ("predict", tmp_path / "run", folder / "images.tif", "-o", tmp_path / "p.zarr")
    (line,) = refusal(*words)
    assert "the training is unfinished, repeat its `unet train` command" in line


@pytest.mark.parametrize("name", ["a.png", "a.JPG"])
def test_pictures_that_are_decoded_as_a_whole_are_refused(folder, tmp_path, name):
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(folder / "images.tif", images)
    (images / name).touch()
    for path in (images / name, images):
        words = ("predict", folder / "run", path, "-o", tmp_path / "p.zarr")
        (line,) = refusal(*words)
        assert line.startswith(f"error: {images / name}: chunk by chunk TIFF and OME-Zarr are read")
        assert "give OUT.tif or the name of a folder" in line


@pytest.mark.parametrize(
    ("more", "voxel"),
    [((), (2.0, 0.25, 0.25)), (("--pixel-size", 0.5), (2.0, 0.5, 0.5))],
)
def test_sizes_of_a_tiff_file_are_those_of_the_result(folder, tmp_path, more, voxel):
    tifffile.imwrite(
        tmp_path / "i.tif", np.arange(2 * 3 * 40 * 50, dtype=np.uint8).reshape(2, 3, 40, 50),
        imagej=True, resolution=(4, 4), metadata={"axes": "TZYX", "unit": "um", "spacing": 2},
    )  # fmt: skip
    words = ("predict", folder / "run", tmp_path / "i.tif", "-o", tmp_path / "p.zarr")
    assert unet(*words, *more).exit_code == 0
    *_, line = refusal(*words, "--pixel-size", 0.75)
    assert "p.zarr: of another prediction (voxel" in line
    stack = open_stack(tmp_path / "p.zarr")
    assert (stack.axes, stack.sides) == ("TZYX", (2, 3, 40, 50))
    assert stack.scale == Scale(voxel, "micrometer")
    attributes = zarr.open_group(tmp_path / "p.zarr", mode="r").attrs.asdict()
    (image,) = ImageAttrs.model_validate(attributes).multiscales
    assert [(axis.name, axis.type) for axis in image.axes] == [
        ("t", "time"), *((axis, "space") for axis in "zyx")
    ]  # fmt: skip
    assert image.datasets[0].coordinateTransformations[0].scale == [1.0, *voxel]
    picture, stacked = read_picture(tmp_path / "p.zarr"), np.stack(list(stack))
    np.testing.assert_array_equal(picture.pixels[:, 0], stacked)


EVALUATE = """
import json, sys
from pathlib import Path
from unetcore.data.io import open_labels, open_probability
from unetcore.evaluate import evaluate

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

labels, probability = map(Path, sys.argv[1:])
names = ["pixel_error"]
evaluate(names, open_labels(labels, [0]), open_probability(probability, [0]))
before = peak()
values = evaluate(names, open_labels(labels), open_probability(probability))
print(json.dumps([values["pixel_error"]["value"], peak() - before]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory by /proc")
def test_metrics_of_a_stack_take_the_memory_of_a_slice(tmp_path):
    n, side = 60, 1024  # 250 MB of probabilities
    labels = zarr.create_array(
        tmp_path / "labels.zarr", shape=(n, side, side), chunks=(1, side, side), dtype="u1"
    )
    probability = zarr.create_array(
        tmp_path / "p.zarr", shape=(n, side, side), chunks=(1, 512, 512), dtype="f4"
    )
    for z in range(n):
        labels[z, : side // 2] = 1
        labels[z, side // 2 :] = 2
        labels[z, :16] = 0  # of 1024 rows, wrong at every threshold
        probability[z] = np.float32(1 - z / 1000)
    call = [sys.executable, "-c", EVALUATE, tmp_path / "labels.zarr", tmp_path / "p.zarr"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    value, grown = json.loads(done.stdout)
    assert value == pytest.approx(
        1 - 2 * 1008 / (1008 + 1024)
    )  # 1 - F, all white against all but 16
    assert grown < 80e6  # of 300 MB
