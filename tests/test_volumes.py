"""Images larger than memory: chunks are what the whole image would get, whoever computes them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import tifffile
import torch
import zarr

from unetcore.checkpoint import save_model
from unetcore.data.intensity import normalise
from unetcore.data.io import to_unit_range, write_stack
from unetcore.data.ome_zarr import Chunk, open_image
from unetcore.data.stacks import open_stack
from unetcore.errors import InputError, Interrupted
from unetcore.geometry import DEPTH
from unetcore.model import UNet, initialise
from unetcore.predict import predict_probability
from unetcore.volumes import (
    GreyImage,
    Request,
    go_on,
    grey_statistics,
    part_of,
    plan_volume,
    predict_part,
    start,
)
from unetcore.volumes.plan import KERNELS

MEGABYTE = 1_000_000


def make_model(path, normalisation="slice", **settings):
    network = UNet(**settings)
    initialise(network, torch.Generator().manual_seed(0))
    save_model(path, network.eval(), {"training": {"normalisation": normalisation}})
    return network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`images.tif`, (2, 300, 420) uint8 in compressed strips, and models of two kinds."""
    folder = tmp_path_factory.mktemp("volume")
    rng = np.random.default_rng(0)
    images = np.kron(rng.integers(0, 200, (2, 30, 42)), np.ones((1, 10, 10))).astype(np.uint8)
    images += rng.integers(0, 55, images.shape, np.uint8)
    tifffile.imwrite(
        folder / "images.tif", images, photometric="minisblack", compression="zlib", rowsperstrip=32
    )
    make_model(folder / "plain.safetensors", width=4)
    make_model(folder / "normalised.safetensors", width=4, normalised=True)
    return folder


def request(folder, out, model="plain"):
    return Request(folder / "images.tif", folder / f"{model}.safetensors", out, "cpu")


def started(folder, out, model="plain", **how):
    return start(request(folder, out, model), **{"side": 128, "precision": "float32"} | how)


def content(image):
    """Bytes of every chunk by its name."""
    files = sorted((image.path / "0").rglob("*"))
    return {
        str(f.relative_to(image.path)): f.read_bytes()
        for f in files
        if f.name[0] != "." and f.is_file()
    }


@pytest.mark.parametrize("model", ["plain", "normalised"])
def test_chunks_are_what_the_whole_image_gets(folder, tmp_path, model):
    prediction = started(folder, tmp_path / "p.zarr", model)
    assert prediction.plan.n_chunks == 2 * 3 * 4
    predict_part(prediction)
    stored = zarr.open_array(tmp_path / "p.zarr/0", mode="r")[:]
    images = to_unit_range(tifffile.imread(folder / "images.tif"), "images")
    for z, image in enumerate(normalise(images, "slice")):
        whole = predict_probability(image, prediction.predictor)
        np.testing.assert_allclose(stored[z], whole, rtol=0, atol=2e-5)


def test_chunks_of_large_tiles_equal_the_whole_image_bit_for_bit(tmp_path):
    grey = np.random.default_rng(0).random((1, 600, 530), np.float32)
    write_stack(tmp_path / "images.tif", grey)
    make_model(tmp_path / "m.safetensors", "unit", width=16)
    wanted = Request(
        tmp_path / "images.tif", tmp_path / "m.safetensors", tmp_path / "p.zarr", "cpu"
    )
    prediction = start(wanted, side=256, precision="float32")
    assert prediction.plan.tiles.tile == (260, 260)
    predict_part(prediction)
    whole = predict_probability(grey[0], prediction.predictor, tile=260)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "p.zarr/0", mode="r")[:], whole)


@pytest.mark.parametrize("model", ["plain", "normalised"])
def test_parts_make_the_bytes_of_a_single_job(folder, tmp_path, model):
    one = started(folder, tmp_path / "one.zarr", model)
    assert predict_part(one) == 24
    wanted = request(folder, tmp_path / "many.zarr", model)
    start(wanted, side=128, precision="float32")
    n_predicted = [predict_part(go_on(wanted), k, 5) for k in (4, 1, 5, 2, 3)]
    assert sum(n_predicted) == 24
    assert min(n_predicted) > 0
    assert content(one.target) == content(open_image(tmp_path / "many.zarr"))


def test_tiles_of_the_first_process_are_those_of_all(folder, tmp_path):
    wanted = request(folder, tmp_path / "p.zarr")
    first = start(wanted, side=256, memory=KERNELS + 9 * MEGABYTE, precision="float32")
    roomy = plan_volume(first.stack, first.predictor, side=256)
    assert first.plan.tiles.tile < roomy.tiles.tile
    assert go_on(wanted).plan.tiles.tile == first.plan.tiles.tile


def test_finished_chunks_are_not_made_again(folder, tmp_path):
    prediction = started(folder, tmp_path / "p.zarr")
    predict_part(prediction, 1, 2)
    before = {p: p.stat().st_ino for p in (tmp_path / "p.zarr/0").rglob("*") if p.is_file()}
    seen = []
    n_predicted = predict_part(
        started(folder, tmp_path / "p.zarr"), report=lambda *n: seen.append(n)
    )
    assert n_predicted == 12
    assert seen == [(k + 1, 24) for k in range(24)]
    assert all(path.stat().st_ino == inode for path, inode in before.items())


def test_a_signal_stops_between_two_chunks(folder, tmp_path):
    prediction = started(folder, tmp_path / "p.zarr")

    def ask_to_stop(done, total):
        if done == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"p\.zarr: stopped after 5 of 24 chunks") as stop:
        predict_part(prediction, report=ask_to_stop)
    assert stop.value.exit_code == 143
    assert len(prediction.target.missing()) == 19


PREDICT = """
import sys
from pathlib import Path
import torch
from unetcore.volumes import Request, predict_part, start
torch.set_num_threads(1)  # with another number, a convolution may add up in another order
images, model, out = map(Path, sys.argv[1:])
prediction = start(Request(images, model, out, "cpu"), side=128, precision="float32")
predict_part(prediction, report=lambda done, total: print(done, flush=True))
"""


def test_killed_in_the_middle_and_called_again(folder, tmp_path):
    call = [sys.executable, "-c", PREDICT, folder / "images.tif", folder / "plain.safetensors"]
    with subprocess.Popen(
        [*call, tmp_path / "p.zarr"], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if int(line) == 3:
                process.kill()
    killed = open_image(tmp_path / "p.zarr")
    assert 0 < len(killed.missing()) <= 21
    n_left = len(killed.missing())
    assert predict_part(started(folder, tmp_path / "p.zarr")) == n_left
    one = started(folder, tmp_path / "one.zarr")
    predict_part(one)
    assert content(killed) == content(one.target)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_statistics_are_those_of_the_whole_image(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("unetcore.volumes.grey.BAND", 1000)
    rng = np.random.default_rng(0)
    grey = rng.random((2, 70, 90), np.float32) * [[[0.01]], [[1]]] + [[[0.9]], [[0]]]
    scale = 1 if kind == "float32" else np.iinfo(kind).max
    write_stack(tmp_path / "images.tif", (grey * scale).astype(kind))
    stack = open_stack(tmp_path / "images.tif", in_channels=True)
    pixels = np.stack(list(stack))[:, 0]
    expected = normalise(to_unit_range(pixels, "images"), "slice")
    statistics = grey_statistics(stack, "slice")
    for z in range(2):
        image = GreyImage(stack, z, statistics)
        window = image[..., slice(3, 60), slice(10, 90)]
        np.testing.assert_allclose(window[0], expected[z, 3:60, 10:90], atol=2e-4)
        assert window.dtype == np.float32
    assert grey_statistics(stack, "unit") is None
    unit = GreyImage(stack, 1, None)[..., slice(0, 70), slice(0, 90)]
    np.testing.assert_array_equal(unit, to_unit_range(stack[1], "images"))


def test_statistics_of_whole_numbers_are_exact(tmp_path):
    values = np.array([[[65535, 65535, 65534]]], np.uint16)  # squares that float32 cannot hold
    write_stack(tmp_path / "images.tif", values)
    (found,) = grey_statistics(open_stack(tmp_path / "images.tif", in_channels=True), "slice")
    assert found["mean"] == [(3 * 65535 - 1) / 3 / 65535]
    assert found["std"] == [pytest.approx(np.sqrt(2 / 9) / 65535, rel=1e-12)]


def test_parts_share_all_chunks_and_none_twice():
    chunks = list(range(11))
    for n in (1, 2, 3, 11, 15):
        parts = [part_of(chunks, k, n) for k in range(1, n + 1)]
        assert list(chain.from_iterable(parts)) == chunks
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    with pytest.raises(InputError, match="part 4 of 3: parts are counted from 1 to 3"):
        part_of(chunks, 4, 3)


def test_another_model_image_or_setting_is_refused_by_name(folder, tmp_path):
    started(folder, tmp_path / "p.zarr")
    with pytest.raises(InputError, match=r'p\.zarr: of another prediction \(model "'):
        started(folder, tmp_path / "p.zarr", "normalised")
    with pytest.raises(InputError, match="chunk 128, now 256"):
        started(folder, tmp_path / "p.zarr", side=256)
    with pytest.raises(InputError, match='model "'):
        go_on(request(folder, tmp_path / "p.zarr", "normalised"))
    write_stack(tmp_path / "images.tif", np.zeros((2, 300, 421), np.uint8))
    other = replace(request(folder, tmp_path / "p.zarr"), image=tmp_path / "images.tif")
    with pytest.raises(InputError, match=r"image.shape \[2, 300, 420\], now \[2, 300, 421\]"):
        go_on(other)


def copied(folder, tmp_path):
    """Request for a copy of the images that a test may change."""
    shutil.copy(folder / "images.tif", tmp_path)
    return replace(request(folder, tmp_path / "p.zarr"), image=tmp_path / "images.tif")


def test_an_image_that_was_changed_is_not_gone_on_with(folder, tmp_path):
    wanted = copied(folder, tmp_path)
    start(wanted)
    write_stack(wanted.image, np.ones((2, 300, 420), np.uint8))  # of the same name, size and type
    with pytest.raises(InputError, match=r'image\.version "'):
        start(wanted)


def test_a_process_that_lost_the_race_with_other_settings_is_refused(folder, tmp_path, monkeypatch):
    def slow_statistics(stack, normalisation):
        monkeypatch.undo()
        started(folder, tmp_path / "p.zarr", "normalised")  # the other one is faster
        return grey_statistics(stack, normalisation)

    monkeypatch.setattr("unetcore.volumes.prediction.grey_statistics", slow_statistics)
    with pytest.raises(InputError, match='of another prediction \\(model "'):
        started(folder, tmp_path / "p.zarr")


def test_a_job_of_before_writes_nothing_into_what_was_made_anew(folder, tmp_path):
    old = started(folder, tmp_path / "p.zarr")
    new = started(folder, tmp_path / "p.zarr", "normalised", start_anew=True)
    with pytest.raises(InputError, match="another process has made it anew; this one stops"):
        predict_part(old)
    assert len(new.target.missing()) == 24


def test_a_chunk_of_the_image_that_vanished_after_the_start_is_not_filled(folder, tmp_path):
    image = tmp_path / "image.zarr"
    zarr.save_array(image, np.ones((300, 300), np.uint8), zarr_format=2)
    wanted = replace(request(folder, tmp_path / "p.zarr"), image=image)
    start(wanted, side=128)
    next(image.glob("0*")).unlink()
    with pytest.raises(InputError, match=r"image\.zarr: \d of \d chunks are missing"):
        predict_part(go_on(wanted))


def test_a_value_that_is_no_number_leaves_nothing_behind(folder, tmp_path):
    grey = np.ones((2, 300, 420), np.float32)
    grey[1, 2, 3] = np.nan
    tifffile.imwrite(tmp_path / "images.tif", grey, photometric="minisblack")
    broken = replace(request(folder, tmp_path / "p.zarr"), image=tmp_path / "images.tif")
    with pytest.raises(InputError, match=r"images\.tif, image 1: 1 values are NaN"):
        start(broken)
    assert not (tmp_path / "p.zarr").exists()


@pytest.mark.parametrize("rows", [1, 2, 32])
def test_strips_that_neighbouring_chunks_share_are_decoded_once(folder, tmp_path, rows):
    wanted = copied(folder, tmp_path)
    images = tifffile.imread(wanted.image)
    strips = {"compression": "zlib", "rowsperstrip": rows}
    tifffile.imwrite(wanted.image, images, photometric="minisblack", **strips)
    prediction = start(wanted, side=128, precision="float32")
    (part,), n_decoded = prediction.stack._parts, Counter()
    read = part.read
    part.read = lambda page, *place: (
        n_decoded.update([(page, *map(str, place))]) or read(page, *place)
    )
    row = [chunk for chunk in prediction.target.chunks() if (chunk.z, chunk.row) == (0, 1)]
    assert len(row) == 4
    prediction.run(row)
    assert set(n_decoded.values()) == {1}


def test_models_that_cannot_be_used_are_refused_before_anything_is_made(folder, tmp_path):
    def refusal(description=None, **settings):
        network = UNet(width=2, **settings)
        save_model(tmp_path / "m.safetensors", network, description or {})
        with pytest.raises(InputError, match=r"m\.safetensors: ") as error:
            start(replace(request(folder, tmp_path / "p.zarr"), model=tmp_path / "m.safetensors"))
        assert not (tmp_path / "p.zarr").exists()
        return str(error.value)

    assert "does not say how grey values were normalised" in refusal()
    assert "a network of 1 class(es), need at least 2" in refusal(n_classes=1)


def test_a_cap_that_statistics_would_break_is_refused(folder, tmp_path):
    make_model(tmp_path / "wide.safetensors", width=64, normalised=True)
    wide = replace(request(folder, tmp_path / "p.zarr"), model=tmp_path / "wide.safetensors")
    with pytest.raises(InputError, match="memory of 400 MB: chunks of 128 px take"):
        start(wide, side=128, memory=400 * MEGABYTE)


def test_the_workflow_makes_a_prediction_of_other_settings_anew(folder, tmp_path):
    predict_part(started(folder, tmp_path / "p.zarr"), 1, 2)
    again = started(folder, tmp_path / "p.zarr", start_anew=True)
    assert len(again.target.missing()) == 12
    anew = started(folder, tmp_path / "p.zarr", "normalised", start_anew=True)
    assert len(anew.target.missing()) == 24


@pytest.mark.parametrize("side", [0, 8, 100])
def test_chunks_off_the_pooling_grid_are_refused(folder, tmp_path, side):
    with pytest.raises(InputError, match=f"chunks of {side} px: need a multiple of 16 px"):
        started(folder, tmp_path / "p.zarr", side=side)


def test_memory_that_no_tile_fits_is_refused(folder, tmp_path):
    said = r"memory of 10 MB: chunks of 128 px take (\d+) MB beside their tiles"
    with pytest.raises(InputError, match=said) as error:
        started(folder, tmp_path / "p.zarr", memory=10 * MEGABYTE)
    beside = int(re.search(said, str(error.value))[1])
    with pytest.raises(InputError, match="the smallest tile needs"):
        started(folder, tmp_path / "p.zarr", memory=(beside + 1) * MEGABYTE)


def test_more_memory_than_is_free_is_refused_before_the_first_chunk(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("unetcore.volumes.plan.available_memory", lambda device: 5 * MEGABYTE)
    with pytest.raises(InputError, match=r"\d+ MB are needed and 5 MB are free: allow less"):
        started(folder, tmp_path / "p.zarr")
    assert not (tmp_path / "p.zarr").exists()


def test_a_network_that_is_not_finite_stops_and_names_the_place(folder, tmp_path):
    prediction = started(folder, tmp_path / "p.zarr")
    with torch.no_grad():
        next(prediction.predictor.network.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="row=128, column=256"):
        prediction.run([Chunk(0, 1, 2)])
    assert not prediction.target.is_written(Chunk(0, 1, 2))


def test_numbers_that_are_no_grey_values_are_refused(folder, tmp_path):
    make_model(tmp_path / "unit.safetensors", "unit", width=2)
    unit = replace(request(folder, tmp_path / "p.zarr"), model=tmp_path / "unit.safetensors")
    zarr.save_array(tmp_path / "whole.zarr", np.ones((20, 30), np.int32))
    with pytest.raises(InputError, match="values of type int32, expected one of uint8"):
        start(replace(unit, image=tmp_path / "whole.zarr"))
    zarr.save_array(tmp_path / "complex.zarr", np.ones((20, 30), np.complex64))
    for wanted in (unit, request(folder, tmp_path / "p.zarr")):
        with pytest.raises(InputError, match="values of type complex64, expected real numbers"):
            start(replace(wanted, image=tmp_path / "complex.zarr"))
    assert not (tmp_path / "p.zarr").exists()


def test_small_image_is_one_chunk_of_whole_phases(folder, tmp_path):
    write_stack(tmp_path / "images.tif", np.zeros((1, 50, 30), np.uint8))
    small = replace(request(folder, tmp_path / "p.zarr"), image=tmp_path / "images.tif")
    prediction = start(small)
    assert (prediction.target.side, prediction.plan.n_chunks) == (64, 1)
    assert prediction.target.side % 2**DEPTH == 0
    assert predict_part(prediction) == 1


PREDICT_SLIDE = """
import json, sys
from pathlib import Path
from unetcore.free_memory import resident_memory
from unetcore.memory import keep_freed_memory
from unetcore.volumes import Request, predict_part, start

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

keep_freed_memory()
images, model, out = map(Path, sys.argv[1:])
prediction = start(Request(images, model, out, "cpu"), memory=400_000_000)
foretold = resident_memory() + prediction.plan.on_host
predict_part(prediction)
prediction.target.finish()
print(json.dumps([foretold, peak()]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory by /proc")
@pytest.mark.parametrize(
    ("kind", "side"),
    [("strips", 16384), ("one strip", 4096), ("zarr", 4096), ("large chunks", 6144)],
)
def test_a_slide_takes_the_memory_that_was_foretold(tmp_path, kind, side):
    blocks = np.random.default_rng(0).integers(0, 255, (side // 64, side // 64), np.uint8)
    slide = np.kron(blocks, np.ones((64, 64), np.uint8))
    if "strip" not in kind:
        chunks = (512, 512) if kind == "zarr" else (4096, 4096)
        stored = zarr.create_array(tmp_path / "slide", shape=slide.shape, chunks=chunks, dtype="u1")
        stored[:] = slide
    else:
        strips = {"compression": "zlib", "rowsperstrip": 64 if kind == "strips" else side}
        tifffile.imwrite(tmp_path / "slide", slide, photometric="minisblack", **strips)
    make_model(tmp_path / "m.safetensors", width=8, normalised=kind == "zarr")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PREDICT_SLIDE,
            *(tmp_path / n for n in ("slide", "m.safetensors", "p.zarr")),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    foretold, peak = json.loads(done.stdout)
    assert peak < 1.5e9
    assert peak < 1.1 * foretold
    assert foretold < 1.5 * peak
    stored = zarr.open_group(tmp_path / "p.zarr", mode="r")
    assert stored["0"].shape == (side, side)
    corner = stored["0"][-700:, -700:]
    assert np.isfinite(corner).all()
    assert corner.std() > 0
