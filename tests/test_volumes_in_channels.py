"""Images of several channels, larger than memory: chunks are what the whole picture would get."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr_models.v04.image import ImageAttrs
from test_cli import refusal, unet
from test_stacks import make_zarr
from test_volumes import PREDICT_SLIDE, content, make_model

from unetcore.data.intensity import normalise
from unetcore.data.io import grey_values
from unetcore.data.ome_zarr import open_image
from unetcore.data.pictures import read_picture
from unetcore.data.stacks import open_stack
from unetcore.errors import InputError
from unetcore.volumes import (
    GreyImage,
    Request,
    go_on,
    grey_statistics,
    plan_volume,
    predict_part,
    start,
)
from unetcore.volumes.plan import window_side
from unetcore.volumes.run import load_weights

SIDES = {"T": 2, "Z": 3, "C": 3, "S": 3, "Y": 150, "X": 210}
GREY, RGB = {"photometric": "minisblack"}, {"photometric": "rgb"}
IN_STRIPS = {"compression": "zlib", "rowsperstrip": 32}
TIFFS = {
    "CYX": {"ome": True, **GREY},
    "ZCYX": {"imagej": True, **IN_STRIPS},
    "TZCYX": {"imagej": True},
    "YXS": {**RGB, **IN_STRIPS},
    "SYX": {**RGB, "planarconfig": "separate"},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models of three channels, by name."""
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "plain.safetensors", in_channels=3, width=4)
    make_model(folder / "unit.safetensors", "unit", in_channels=3, width=16)
    make_model(folder / "normalised.safetensors", in_channels=3, width=4, normalised=True)
    return folder


def drawn(axes, dtype=np.uint8):
    """Blots of 10 px with some noise; each channel has a brightness of its own."""
    rng = np.random.default_rng(0)
    sides = [SIDES[a] for a in axes]
    coarse = rng.integers(0, 150, [n // 10 if a in "YX" else n for n, a in zip(sides, axes)])  # noqa: B905
    for k, letter in enumerate(axes):
        if letter in "YX":
            coarse = coarse.repeat(10, k)
        elif letter in "CS":
            coarse = coarse + np.arange(3).reshape([3 if j == k else 1 for j in range(len(axes))])
    return (coarse + rng.integers(0, 50, sides)).astype(dtype)


def write_zarr(path, axes, dtype=np.uint8):
    chunks = [64 if axis in "yx" else 1 for axis in axes]
    make_zarr(path, drawn(axes.upper(), dtype), axes, "0.4", chunks=chunks)


def write(folder, axes):
    """Write an image as TIFF file, or as OME-Zarr where its axes are in small letters."""
    if axes.islower():
        write_zarr(folder / "image.zarr", axes)
        return folder / "image.zarr"
    tifffile.imwrite(folder / "image.tif", drawn(axes), metadata={"axes": axes}, **TIFFS[axes])
    return folder / "image.tif"


PLAIN = ("--precision", "float32", "--device", "cpu")
ZARRS = ("cyx", "yxc", "zcyx", "tczyx")


@pytest.mark.parametrize("axes", [*TIFFS, *ZARRS])
def test_chunks_and_whole_pictures_hold_the_same_probabilities(models, tmp_path, axes):
    image = write(tmp_path, axes)
    words = ("predict", models / "plain.safetensors", image, *PLAIN)
    for out, more in (("p.zarr", ("--chunk", 64)), ("p.tif", ())):
        done = unet(*words, "-o", tmp_path / out, *more)
        assert done.exit_code == 0, done.output
    whole, chunks = (read_picture(tmp_path / out) for out in ("p.tif", "p.zarr"))
    assert chunks.axes == whole.axes == "".join(a for a in "TZYX" if a in axes.upper())
    assert (chunks.shape, chunks.pixel_size) == (whole.shape, whole.pixel_size)
    np.testing.assert_allclose(chunks.pixels, whole.pixels, rtol=0, atol=2e-5)
    assert whole.pixels.std() > 0.01
    attributes = zarr.open_group(tmp_path / "p.zarr", mode="r").attrs.asdict()
    ImageAttrs.model_validate(attributes)


ONE_THREAD = """
import sys
from pathlib import Path
import numpy as np
import torch
import zarr
from unetcore.data.io import to_unit_range
from unetcore.data.pictures import read_picture
from unetcore.predict import predict_probability
from unetcore.volumes import Request, predict_part, start
torch.set_num_threads(1)
image, model, out = map(Path, sys.argv[1:])
prediction = start(Request(image, model, out, "cpu"), side=256, precision="float32")
assert prediction.plan.tiles.tile == (260, 260), prediction.plan
predict_part(prediction)
(grey,) = to_unit_range(read_picture(image).pixels, "image")
whole = predict_probability(grey, prediction.predictor, tile=260)
np.testing.assert_array_equal(zarr.open_array(out / "0", mode="r")[:], whole)
"""


def test_chunks_of_large_tiles_equal_the_whole_image_bit_for_bit(models, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (3, 600, 530), np.uint8)
    tifffile.imwrite(tmp_path / "i.tif", image, imagej=True, metadata={"axes": "CYX"})
    words = (tmp_path / "i.tif", models / "unit.safetensors", tmp_path / "p.zarr")
    done = subprocess.run([sys.executable, "-c", ONE_THREAD, *words], stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("model", ["plain", "normalised"])
def test_parts_make_the_bytes_of_a_single_job(models, tmp_path, model):
    image = write(tmp_path, "ZCYX")

    def request(name):
        return Request(image, models / f"{model}.safetensors", tmp_path / name, "cpu")

    one = start(request("one.zarr"), side=64, precision="float32")
    assert predict_part(one) == 3 * 3 * 4
    start(request("many.zarr"), side=64, precision="float32")
    assert sum(predict_part(go_on(request("many.zarr")), k, 4) for k in (3, 1, 4, 2)) == 36
    assert content(one.target) == content(open_image(tmp_path / "many.zarr"))


@pytest.mark.parametrize(
    ("dtype", "factor", "shift"),
    [
        ("uint8", 1, 0),
        ("uint16", 200, 0),
        ("int16", 100, -9000),
        ("int32", 5000, 100_000),
        ("float16", 0.01, -1),
        ("float32", 1e30, 0),
        ("float32", 1e-4, 3),
        ("float64", 1e-9, 2e-7),
        ("float64", 1e60, -1e61),
    ],
)
def test_statistics_are_those_of_each_channel(tmp_path, monkeypatch, dtype, factor, shift):
    monkeypatch.setattr("unetcore.volumes.grey.BAND", 5000)
    pixels = (drawn("ZCYX", np.float64) * factor * [[[[1]], [[0.5]], [[0.1]]]] + shift).astype(
        dtype
    )
    make_zarr(tmp_path / "i.zarr", pixels, "zcyx", "0.4", chunks=(1, 3, 64, 64))
    stack = open_stack(tmp_path / "i.zarr", in_channels=True)
    statistics = json.loads(json.dumps(grey_statistics(stack, "slice")))
    for z in range(3):
        seen = normalise(grey_values(pixels[z], "slice", "image")[None], "slice")[0]
        window = GreyImage(stack, z, statistics)[..., slice(3, 120), slice(10, 210)]
        np.testing.assert_allclose(window, seen[:, 3:120, 10:210], atol=1e-3, rtol=1e-5)
        assert (window.dtype, window.shape) == (np.float32, (3, 117, 200))


def test_a_blank_channel_is_zero(tmp_path):
    pixels = drawn("CYX", np.float32)
    pixels[1] = 7.25
    make_zarr(tmp_path / "i.zarr", pixels, "cyx", "0.4", chunks=(1, 64, 64))
    stack = open_stack(tmp_path / "i.zarr", in_channels=True)
    image = GreyImage(stack, 0, grey_statistics(stack, "slice"))
    window = image[..., slice(0, 150), slice(0, 210)]
    assert (window[1] == 0).all()
    assert window[0].std() > 0.9


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "1 values are NaN or infinite"), (1e200, "values up to 1e.200, which are too large")],
)
def test_numbers_without_statistics_are_refused(models, tmp_path, value, words):
    pixels = drawn("CYX", np.float64)
    pixels[2, 70, 80] = value
    make_zarr(tmp_path / "i.zarr", pixels, "cyx", "0.4", chunks=(1, 64, 64))
    wanted = Request(tmp_path / "i.zarr", models / "plain.safetensors", tmp_path / "p.zarr", "cpu")
    with pytest.raises(InputError, match=rf"i\.zarr, image 0: {words}"):
        start(wanted)
    assert not (tmp_path / "p.zarr").exists()


def test_other_channels_than_the_model_takes_are_one_line(models, tmp_path):
    tifffile.imwrite(tmp_path / "grey.tif", np.zeros((40, 50), np.uint8))
    tifffile.imwrite(tmp_path / "pages.tif", np.zeros((3, 40, 50), np.uint8), **GREY)
    model, out = models / "plain.safetensors", tmp_path / "p.zarr"
    (line,) = refusal("predict", model, tmp_path / "grey.tif", "-o", out)
    assert line == f"error: {tmp_path}/grey.tif: 1 channel, and the model takes 3"
    (line,) = refusal("predict", model, tmp_path / "pages.tif", "-o", out)
    assert "pages.tif: 1 channel, and the model takes 3: its 3 pages are taken for slices" in line
    assert not out.exists()


def test_what_more_channels_take_is_planned(tmp_path):
    plans = []
    for n in (1, 3):
        image, model = tmp_path / f"{n}.tif", tmp_path / f"{n}.safetensors"
        metadata = {"axes": "CYX"}  # not compressed: no block is kept
        tifffile.imwrite(image, np.zeros((n, 500, 500), np.uint8), imagej=True, metadata=metadata)
        make_model(model, in_channels=n, width=4)
        stack = open_stack(image, in_channels=True)
        predictor, _ = load_weights(model, precision="float32", device="cpu")
        plans.append(plan_volume(stack, predictor, side=512))
    window = window_side(plans[1].tiles)
    # Windows of two channels more: as floats that are read, gathered, and given to the network.
    assert plans[1].on_host - plans[0].on_host > 2 * 3 * 4 * window**2


def write_slide(path, kind, side):
    """Write an image of 3 channels and of so many px a side, stored in one of four ways."""
    blocks = np.random.default_rng(0).integers(0, 255, (side // 64, side // 64, 3), np.uint8)
    pixels = blocks.repeat(64, 0).repeat(64, 1)  # (H, W, C)
    planes = np.moveaxis(pixels, -1, 0)
    strips = {"compression": "zlib", "rowsperstrip": 64}
    if kind == "RGB strips":
        tifffile.imwrite(path, pixels, **strips, **RGB)
    elif kind == "strips of planes":
        tifffile.imwrite(path, planes, ome=True, metadata={"axes": "CYX"}, **strips, **GREY)
    elif kind == "chunks of colours":
        make_zarr(path, pixels, "yxc", "0.4", chunks=(512, 512, 3))
    else:
        make_zarr(path, planes, "cyx", "0.4", chunks=(1, 4096, 4096))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory by /proc")
@pytest.mark.parametrize(
    ("kind", "side", "memory"),
    [
        ("RGB strips", 8192, 400),
        ("strips of planes", 4096, 400),
        ("chunks of colours", 4096, 400),
        ("large chunks of planes", 6144, 700),  # of 17 MB each, and 3 of them a block
    ],
)
def test_a_slide_in_channels_takes_the_memory_that_was_foretold(tmp_path, kind, side, memory):
    write_slide(tmp_path / "slide", kind, side)
    normalised = kind == "chunks of colours"
    make_model(tmp_path / "m.safetensors", in_channels=3, width=8, normalised=normalised)
    code = PREDICT_SLIDE.replace("memory=400_000_000", f"memory={memory}_000_000")
    names = (tmp_path / name for name in ("slide", "m.safetensors", "p.zarr"))
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    foretold, peak = json.loads(done.stdout)
    assert peak < 1.5e9
    assert peak < 1.1 * foretold
    assert foretold < 1.5 * peak
    corner = zarr.open_group(tmp_path / "p.zarr", mode="r")["0"][-700:, -700:]
    assert np.isfinite(corner).all()
    assert corner.std() > 0
