"""Real images as a new user has them: odd sizes, membranes marked in white, a folder per kind."""

import csv
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from test_bioimageio import TESTED, run
from test_cli import unet
from test_workflow import copy_workflow, snakemake

from unetcore.baseline import best_threshold
from unetcore.data.io import read_images

pytestmark = [
    pytest.mark.slow,
    pytest.mark.realdata,
    pytest.mark.skipif(
        not os.environ.get("UNET_DATA_MIRROR"), reason="UNET_DATA_MIRROR names no archives"
    ),
]

ARCHIVE = "ISBI-2012-challenge.zip"
TRAINED, NEW = (0, 4, 8, 12, 16), (24, 27)  # slices
QUICK = ("--steps", "160", "--width", "8")


def slices(name):
    """Slices of a stack in the official archive."""
    with zipfile.ZipFile(Path(os.environ["UNET_DATA_MIRROR"]) / ARCHIVE) as archive:
        (member,) = [n for n in archive.namelist() if n.endswith(name) and "__MACOSX" not in n]
        return tifffile.imread(io.BytesIO(archive.read(member)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with five labelled crops, and two more to be predicted."""
    folder = tmp_path_factory.mktemp("real")
    volume, labels = slices("train-volume.tif"), slices("train-labels.tif")
    for number, z in enumerate((*TRAINED, *NEW)):
        crop = (z, slice(100, 401 + number), slice(90, 367))
        into = folder / ("cells" if z in TRAINED else "new")
        for kind, page in (("images", volume[crop]), ("labels", 255 - labels[crop])):
            (into / kind).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(into / kind / f"Schnitt {z}.tif", page)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    """Folder of what three commands and a fourth have made of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (
            ("new", "cells"),
            ("validate", "cells/dataset.yaml"),
            ("train", "cells/dataset.yaml", "-o", "run", *QUICK),
            ("predict", "run", "new/images", "-o", "results"),
        ):
            result = unet(*words)
            assert result.exit_code == 0, result.output
    return folder / "results"


def test_membranes_were_noticed(results, folder):
    entry = yaml.safe_load((folder / "cells/dataset.yaml").read_text())["datasets"]["cells"]
    assert entry["label_map"] == {0: "cell", 255: "background"}


@pytest.mark.parametrize("z", NEW)
def test_the_network_is_clearly_better_than_the_best_threshold(results, folder, tmp_path, z):
    """Rand error on images of slices that were not trained on; the threshold is chosen on them."""
    labels = folder / f"new/labels/Schnitt {z}.tif"
    found = results / f"Schnitt {z}-probability.tif"
    grey = read_images(folder / f"new/images/Schnitt {z}.tif").astype(np.float32) / 255
    reference = (tifffile.imread(labels)[None] == 0).astype(np.uint8)
    threshold = best_threshold(grey, reference, cells=False, either_way=True)
    tifffile.imwrite(tmp_path / "t.tif", threshold.probability(grey))
    errors = {}
    for name, path in (("network", found), ("threshold", tmp_path / "t.tif")):
        words = ("evaluate", labels, path, "--label-map", "0=cell,255=background", "--json")
        errors[name] = json.loads(unet(*words).stdout)["rand_error"]["value"]
    assert errors["network"] < 0.7 * errors["threshold"], errors


def test_the_package_is_accepted_by_bioimageio(results, folder, tmp_path):
    package = folder / "network.zip"
    result = unet("export", folder / "run", "-o", package, "--licence", "CC0-1.0")
    assert result.exit_code == 0, result.output
    ((status, details),) = json.loads(run(TESTED, package, folder=tmp_path)).values()
    assert status == "passed", details


def test_the_workflow_cross_validates_on_the_same_folder(results, folder, tmp_path):
    copy_workflow(tmp_path)
    small = {
        "folds": ["1"],
        "network": {"width": 4},
        "training": {"steps": 60, "warmup_steps": 10, "output_tile": 196, "validate_every": 0},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({"experiments": {"cells": small}}))
    files = ("--configfile", str(folder / "cells/dataset.yaml"), "small.yaml")
    table = "results/tables/cells.csv"
    result = snakemake(tmp_path, table, "--cores", "2", *files)
    assert result.returncode == 0, result.stdout[-4000:]
    with open(tmp_path / table, newline="") as file:
        pixel = {
            row["method"]: float(row["value"])
            for row in csv.DictReader(file)
            if row["metric"] == "pixel_error"
        }
    assert pixel["u-net-fast"] < 0.9 * pixel["best-threshold"]
