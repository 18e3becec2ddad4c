"""A data set of one's own in the workflow: from a folder to the table of a cross-validation."""

import csv
import json

import numpy as np
import pytest
import tifffile
import yaml
from test_annotated import pair
from test_cli import unet
from test_workflow import copy_workflow, snakemake

from unetcore.checkpoint import load_model
from unetcore.data.frames import read_frames
from unetcore.data.io import read_images, read_labels, write_stack
from unetcore.data.label_map import LabelMap
from unetcore.data.phantom_cells import draw_sequence
from unetcore.data.phantom_em import draw_sections
from unetcore.labels import IGNORED
from unetcore.metrics import rand_error

SMALL = {
    "network": {"width": 2},
    "training": {"steps": 3, "warmup_steps": 1, "output_tile": 20, "validate_every": 2},
    "augmentation": {"displacement_std": 2},
}


def membranes(folder):
    """Four images of two sizes, in which membranes are marked bright, and a corner is unknown."""
    images, labels = draw_sections(np.random.default_rng(0), 4, 80)
    for k in range(4):
        marked = np.where(labels[k] > 0, 0, 255).astype(np.uint8)
        marked[:20, :30] = 7
        height = 80 - 12 * (k % 2)
        pair(folder, f"Schnitt {k}", images[k, :height], marked[:height])
    return folder


def described(folder, name="own", **overlay):
    """Workflow in a folder with a data set that `unet new` has described."""
    copy_workflow(folder)
    (folder / "small.yaml").write_text(yaml.safe_dump({"experiments": {name: SMALL | overlay}}))
    return folder


def run(folder, *more, target="own"):
    files = ("--configfile", "data/dataset.yaml", "small.yaml")
    return snakemake(folder, target, "--cores", "2", *files, *more)


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """Workflow that has cross-validated on membranes."""
    folder = tmp_path_factory.mktemp("own") / "workflow"
    folder.mkdir()
    membranes(folder / "data")
    described_by = unet("new", folder / "data", "--name", "own", "--ignore-label", 7)
    assert described_by.exit_code == 0, described_by.output
    described(folder, folds=["1"])
    result = run(folder)
    assert result.returncode == 0, result.stdout[-5000:]
    return folder


@pytest.mark.slow
def test_the_table_compares_the_network_with_the_best_threshold(workflow):
    with open(workflow / "results/tables/own.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    methods = {row["method"] for row in rows}
    assert methods == {"best-threshold", "u-net-fast"}
    assert {row["n"] for row in rows} == {"1"}
    text = (workflow / "results/tables/own.md").read_text()
    assert "# data\n" in text
    assert "cross-validation on the 4 labelled training slices, 4 contiguous blocks" in text
    assert "These are images of your own" in text


@pytest.mark.slow
def test_the_canonical_form_is_mirrored_and_ignored_where_there_is_no_image(workflow):
    frames = read_frames(workflow / "results/data/own/frames.csv")
    assert [frame.id for frame in frames] == [f"Schnitt {k}" for k in range(4)]
    images = read_images(workflow / "results/data/own/images.tif")
    labels = read_labels(workflow / "results/data/own/labels.tif")
    assert images.shape == labels.shape == (4, 80, 80)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images[1, 68:], images[1, 55:67][::-1])
    assert (labels[1, 68:] == IGNORED).all()
    assert (labels[0, :20, :30] == IGNORED).all()
    assert set(np.unique(labels)) == {0, 1, IGNORED}


@pytest.mark.slow
def test_its_models_say_what_unet_predict_must_know(workflow):
    model = workflow / "results/runs/own/fold-1/seed-0/model.safetensors"
    _, description = load_model(model)
    entry = yaml.safe_load((workflow / "data/dataset.yaml").read_text())["experiments"]["own"]
    assert description["postprocessing"] == entry["postprocessing"]
    meanings = LabelMap.parse(description["label_map"]).meanings
    assert meanings == {7: "ignore", 0: "cell", 255: "background"}
    assert description["pixel_size_um"] is None


@pytest.mark.slow
def test_what_is_ignored_weighs_nothing_and_is_not_scored(workflow):
    labels = read_labels(workflow / "results/data/own/labels.tif")
    weights = read_images(workflow / "results/targets/own/weights.tif")
    np.testing.assert_array_equal(weights == 0, labels == IGNORED)
    folder = workflow / "results/predictions/own/fold-1/seed-0/u-net-fast"
    scored = json.loads((folder / "metrics.json").read_text())["metrics"]["rand_error"]
    probability = read_images(folder / "probability.tif")
    known = labels[1:2] != IGNORED
    expected = rand_error(np.where(known, labels[1:2], 0), probability * known)
    np.testing.assert_allclose(scored["values"], expected.values)


@pytest.mark.slow
def test_a_second_run_does_nothing_and_a_new_label_makes_everything_new(workflow):
    assert "Nothing to be done" in run(workflow, "-n").stdout
    label = workflow / "data/labels/Schnitt 2.tif"
    before = label.read_bytes()
    tifffile.imwrite(label, tifffile.imread(label)[:, ::-1])
    said = run(workflow, "-n").stdout
    label.write_bytes(before)
    assert "canonical_samples          1" in said
    assert "train                      1" in said


@pytest.mark.slow
def test_cells_in_several_channels_and_stacks_go_the_same_way(tmp_path):
    """Two stacks of two slices with two channels; each is tested by the other."""
    movie, cells = draw_sequence(np.random.default_rng(1), 4, 96)
    for k in range(2):
        image = np.stack([movie[2 * k : 2 * k + 2], 255 - movie[2 * k : 2 * k + 2] // 2], axis=1)
        (tmp_path / "data").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / f"data/s{k}.tif", image, imagej=True, metadata={"axes": "ZCYX"})
        write_stack(tmp_path / f"data/s{k}_labels.tif", cells[2 * k : 2 * k + 2])
    assert unet("new", tmp_path / "data", "--name", "own").exit_code == 0
    described(tmp_path, folds=["01"], postprocessing={"smallest_object": 0})
    result = run(tmp_path)
    assert result.returncode == 0, result.stdout[-5000:]
    text = (tmp_path / "results/tables/own.md").read_text()
    assert (
        "labelled training frames (4 in all), trained on one sequence and tested on the oth" in text
    )
    assert read_images(tmp_path / "results/data/own/images.tif").shape == (8, 96, 96)
    with open(tmp_path / "results/tables/own.csv", newline="") as file:
        metrics = {row["metric"] for row in csv.DictReader(file)}
    assert metrics == {"seg", "iou"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"samples": "absent.csv"}, "datasets.own.samples: absent.csv: no such file"),
        ({"labels_are": "outlines"}, "datasets.own.labels_are: 'outlines' is not one of"),
        ({"label_map": {0: "cel"}}, "datasets.own.label_map.0: 'cel' is not one of"),
        ({"pixel_size_um": 0}, "datasets.own.pixel_size_um: 0 is less than or equal to"),
        ({"colour": 1}, "datasets.own: unknown key 'colour'"),
        (
            {"allow_empty": True},
            "datasets.own.allow_empty: true; the metrics of masks are undefined",
        ),
    ],
)
def test_an_entry_that_breaks_a_rule_is_one_line(tmp_path, change, says):
    refused(tmp_path, change, says)


def test_a_sheet_whose_files_are_not_there_is_one_line(tmp_path):
    refused(
        tmp_path,
        {},
        "line 3: ",
        "labels/Schnitt 1.tif: no such file",
        remove="labels/Schnitt 1.tif",
    )


def refused(folder, change, *says, remove=None):
    """A run that must end before any job, with one line."""
    membranes(folder / "data")
    assert unet("new", folder / "data", "--name", "own", "--ignore-label", 7).exit_code == 0
    described(folder)
    config = yaml.safe_load((folder / "data/dataset.yaml").read_text())
    config["datasets"]["own"] |= change
    (folder / "data/dataset.yaml").write_text(yaml.safe_dump(config))
    if remove:
        (folder / "data" / remove).unlink()
    result = run(folder)
    assert result.returncode == 2, result.stdout[-3000:]
    last = result.stdout.splitlines()[-1]
    assert last.startswith("configuration: ")
    for words in says:
        assert words in last
    assert "Traceback" not in result.stdout
    assert not (folder / "results").exists()


@pytest.mark.slow
def test_a_file_that_cannot_be_used_fails_in_one_line_and_leaves_nothing(tmp_path):
    membranes(tmp_path / "data")
    assert unet("new", tmp_path / "data", "--name", "own", "--ignore-label", 7).exit_code == 0
    described(tmp_path)
    (tmp_path / "data/images/Schnitt 1.tif").write_bytes(b"")
    result = run(tmp_path, target="results/data/own/frames.csv")
    assert result.returncode == 1
    log = (tmp_path / "logs/canonical/own.log").read_text().splitlines()
    assert len(log) == 1
    assert "Schnitt 1.tif" in log[0]
    assert list((tmp_path / "results").rglob("*.tif")) == []
