"""Volumes in the workflow: many jobs make what one makes, and a broken run goes on."""

import json
import os
import re

import numpy as np
import pytest
import torch
import yaml
import zarr
from test_cli import unet
from test_export import DESCRIPTION
from test_stacks import make_zarr
from test_workflow import copy_workflow, snakemake
from test_workflow_resources import planned

from unetcore.checkpoint import save_model
from unetcore.data.io import write_stack
from unetcore.data.pictures import read_picture
from unetcore.export import export_model
from unetcore.model import UNet, initialise

IMAGE = "results/volumes/section/probability.zarr"
ARGUMENTS = ("volumes", "--configfile", "volumes.yaml", "--cores", "2")
SECTION = {"image": "section.tif", "model": "model.safetensors", "labels": "labels.tif"}


def new_workflow(folder, width=2, **changes):
    folder.mkdir()
    copy_workflow(folder)
    rng = np.random.default_rng(0)
    write_stack(folder / "section.tif", rng.integers(0, 255, (2, 250, 210), np.uint8))
    write_stack(
        folder / "labels.tif",
        np.kron(rng.integers(0, 2, (2, 25, 21)), np.ones((10, 10))).astype(np.uint8),
    )
    network = UNet(width=width)
    initialise(network, torch.Generator().manual_seed(0))
    save_model(folder / "model.safetensors", network, {"training": {"normalisation": "slice"}})
    volumes = {"chunk": 64, "parts": 3, "images": {"section": SECTION | changes}}
    (folder / "volumes.yaml").write_text(yaml.safe_dump({"volumes": volumes}))
    return folder


def in_channels(folder):
    """Turn a new workflow's image into OME-Zarr of two channels, and its model into a package."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (2, 2, 250, 210), np.uint8)
    make_zarr(folder / "section.zarr", pixels, "zcyx", "0.4", chunks=(1, 2, 64, 64))
    network = UNet(in_channels=2, width=2)
    initialise(network, torch.Generator().manual_seed(0))
    description = DESCRIPTION | {"pixel_size_um": 2.0}
    export_model(network.eval(), description, folder / "model.zip")


def run(folder, *more):
    result = snakemake(folder, *ARGUMENTS, *more)
    assert result.returncode == 0, result.stdout[-4000:]
    return result.stdout


def chunks(folder):
    root = folder / IMAGE / "0"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def scattered(tmp_path_factory):
    """Workflow whose volume three jobs have predicted."""
    folder = new_workflow(tmp_path_factory.mktemp("scattered") / "workflow")
    run(folder)
    return folder


@pytest.mark.slow
def test_many_jobs_make_the_bytes_of_a_single_one(tmp_path, scattered):
    single = new_workflow(tmp_path / "workflow")
    assert "1-of-1" in run(single, "--set-scatter", "volume=1")
    assert len(chunks(single)) == 2 * 4 * 4 + 2  # and .zarray, .zattrs
    assert chunks(single) == chunks(scattered)
    n_predicted = [json.loads(p.read_text())["n_predicted"] for p in parts_of(scattered)]
    assert sorted(n_predicted) == [10, 11, 11]


def parts_of(folder):
    return (folder / "results/volumes/section/parts").glob("*.json")


@pytest.mark.slow
def test_records_say_what_was_made_and_how_good_it_is(scattered):
    record = json.loads((scattered / "results/volumes/section/probability.json").read_text())
    assert record["image"]["shape"] == [2, 250, 210]
    assert record["levels"] == 1
    metrics = json.loads((scattered / "results/volumes/section/metrics.json").read_text())
    assert 0 < metrics["metrics"]["pixel_error"]["value"] < 1
    assert metrics["provenance"]["model"] == record["model"]
    assert zarr.open_group(scattered / IMAGE, mode="r").attrs["unetcore"]["chunk"] == 64


@pytest.mark.slow
def test_a_second_run_does_nothing(scattered):
    assert "Nothing to be done" in run(scattered, "-n")


@pytest.mark.slow
def test_channels_a_package_and_a_pixel_size_give_what_the_command_line_gives(tmp_path):
    folder = new_workflow(tmp_path / "workflow", image="section.zarr", model="model.zip")
    in_channels(folder)
    result = snakemake(folder, *ARGUMENTS)
    assert result.returncode != 0
    # Its pixels are 1.5 x 2 um, which is no size of a square.
    assert "section.zarr: the file does not say the size of its pixels" in result.stdout
    assert "give --pixel-size UM (in the workflow pixel_size_um)" in result.stdout
    assert "Traceback" not in result.stdout
    settings = yaml.safe_load((folder / "volumes.yaml").read_text())
    settings["volumes"]["images"]["section"]["pixel_size_um"] = 2
    (folder / "volumes.yaml").write_text(yaml.safe_dump(settings))
    run(folder)
    assert json.loads((folder / "results/volumes/section/metrics.json").read_text())
    words = ("--pixel-size", 2, "--chunk", 64, "-o", tmp_path / "p.zarr")
    done = unet("predict", folder / "model.zip", folder / "section.zarr", *words)
    assert done.exit_code == 0, done.output
    found, expected = (read_picture(path) for path in (folder / IMAGE, tmp_path / "p.zarr"))
    assert (found.axes, found.pixel_size) == ("ZYX", 2.0)
    np.testing.assert_allclose(found.pixels, expected.pixels, rtol=0, atol=2e-5)


@pytest.mark.slow
def test_more_jobs_find_finished_chunks_and_predict_none(scattered, tmp_path):
    before = {p: p.stat().st_ino for p in (scattered / IMAGE).rglob("*") if p.is_file()}
    run(scattered, "--set-scatter", "volume=5")
    found = [json.loads(p.read_text())["n_predicted"] for p in parts_of(scattered)]
    assert sorted(found) == [0, 0, 0, 0, 0, 10, 11, 11]
    assert all(path.stat().st_ino == inode for path, inode in before.items())


@pytest.mark.slow
def test_a_failed_job_keeps_its_chunks_and_the_next_run_makes_the_others(tmp_path, scattered):
    folder = new_workflow(tmp_path / "workflow")
    run(folder, "--until", "start_volume")
    blocked = folder / IMAGE / "0/1/2/1"  # a folder where the file of a chunk belongs
    blocked.mkdir(parents=True)
    result = snakemake(folder, *ARGUMENTS, "--retries", "0", "--keep-going")
    assert result.returncode != 0
    done = [path for path in chunks(folder) if not path.startswith(".")]
    assert 20 < len(done) < 32
    blocked.rmdir()
    before = {p: (folder / IMAGE / "0" / p).stat().st_ino for p in done}
    run(folder)
    assert chunks(folder) == chunks(scattered)
    assert all((folder / IMAGE / "0" / p).stat().st_ino == inode for p, inode in before.items())


@pytest.mark.slow
def test_another_model_makes_the_volume_anew(tmp_path):
    folder = new_workflow(tmp_path / "workflow", labels=None)
    run(folder)
    before = chunks(folder)
    network = UNet(width=2)
    initialise(network, torch.Generator().manual_seed(1))
    save_model(folder / "model.safetensors", network, {"training": {"normalisation": "slice"}})
    said = run(folder)
    assert "it is made anew" in said
    after = chunks(folder)
    assert after.keys() == before.keys()
    assert after["0/0/0"] != before["0/0/0"]


def test_a_volume_asks_for_the_training_behind_its_model(tmp_path):
    model = "results/runs/demo/fold-official/seed-0/model.safetensors"
    image = "results/data/phantom-em/images.tif"
    folder = new_workflow(tmp_path / "workflow", model=model, image=image)
    result = snakemake(folder, *ARGUMENTS, "-n")
    assert result.returncode == 0, result.stdout[-3000:]
    counted = dict(re.findall(r"^(\w+) +(\d+)$", result.stdout, re.MULTILINE))
    assert (counted["train"], counted["predict_volume"], counted["finish_volume"]) == (
        "1",
        "3",
        "1",
    )


def test_what_computes_on_a_gpu_asks_for_one(tmp_path):
    folder = new_workflow(tmp_path / "workflow")
    asked = planned(folder, *ARGUMENTS, "--config", "hardware=gpu", "gpu_request=gres")
    with_gpu = {rule for rule, resources in asked if resources.get("gres") == "gpu:1"}
    assert with_gpu == {"start_volume", "predict_volume"}
    assert {rule for rule, _ in asked} > {"finish_volume", "evaluate_volume"}


def test_an_absent_image_is_named(tmp_path):
    folder = new_workflow(tmp_path / "workflow", image=os.fspath(tmp_path / "none.tif"))
    result = snakemake(folder, *ARGUMENTS, "-n")
    assert result.returncode != 0
    assert "none.tif" in result.stdout
    assert "Traceback" not in result.stdout


def test_a_name_that_is_a_number_is_one_line(tmp_path):
    folder = new_workflow(tmp_path / "workflow")
    (folder / "volumes.yaml").write_text(yaml.safe_dump({"volumes": {"images": {1: SECTION}}}))
    result = snakemake(folder, *ARGUMENTS, "-n")
    assert result.returncode == 2
    assert "volumes.images: 1 is no text: put it in quotes" in result.stdout


@pytest.mark.slow
def test_a_changed_image_is_predicted_anew(tmp_path):
    folder = new_workflow(tmp_path / "workflow", labels=None)
    run(folder)
    before = chunks(folder)
    write_stack(folder / "section.tif", np.full((2, 250, 210), 9, np.uint8))
    assert "it is made anew" in run(folder)
    assert chunks(folder)["0/0/0"] != before["0/0/0"]


@pytest.mark.slow
def test_a_chunk_that_somebody_deleted_comes_back_as_the_message_says(tmp_path):
    folder = new_workflow(tmp_path / "workflow", labels=None)
    run(folder)
    before = chunks(folder)
    (folder / IMAGE / "0/1/0/2").unlink()
    (folder / "results/volumes/section/probability.json").unlink()
    result = snakemake(folder, *ARGUMENTS)
    assert result.returncode != 0
    assert "1 chunks are not there: add --forcerun predict_volume" in result.stdout
    run(folder, "--forcerun", "predict_volume")
    assert chunks(folder) == before


@pytest.mark.slow
def test_an_image_that_cannot_be_read_is_one_line_and_no_job_follows(tmp_path):
    folder = new_workflow(tmp_path / "workflow", image="broken.zarr")
    zarr.save_array(folder / "broken.zarr", np.ones((300, 300), np.uint8))
    next(
        p for p in (folder / "broken.zarr").rglob("*") if p.is_file() and p.name != "zarr.json"
    ).unlink()
    result = snakemake(folder, *ARGUMENTS)
    assert result.returncode != 0
    assert "broken.zarr: 1 of 1 chunks are missing" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (folder / IMAGE).exists()
