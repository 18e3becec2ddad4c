"""A data set of one's own as an entry of the configuration."""

import numpy as np
import pytest
import tifffile
import yaml
from test_annotated import halves, noise, pair

from unetcore.data.annotated import read_pairs
from unetcore.data.entry import (
    DataSettings,
    Entry,
    Numbers,
    entry_text,
    name_of,
    read_entry,
)
from unetcore.data.guess import guess_settings
from unetcore.data.label_map import LabelMap
from unetcore.data.phantom_em import draw_sections
from unetcore.data.samples import Sample, find_samples
from unetcore.errors import InputError

NUMBERS = Numbers(width=16, steps=2500, output_tile=388, smallest_object=12)
GOOD = {
    "title": "Cells: \"ours\" & 'theirs', µm",
    "samples": "a b/samples.csv",
    "labels_are": "mask",
    "label_map": {0: "cell", 255: "background"},
    "pixel_size_um": 0.5,
}


def write(folder, entry):
    path = folder / "dataset.yaml"
    path.write_text(yaml.safe_dump({"datasets": entry}, allow_unicode=True), "utf-8")
    return path


def test_what_is_written_is_read(tmp_path):
    entry = read_entry(write(tmp_path, {"cells": GOOD}))
    assert entry.settings.label_map.meanings == GOOD["label_map"]
    path = tmp_path / "again.yaml"
    samples = [Sample(name, path, path) for name in "abc"]
    path.write_text(entry_text(entry, path, samples, 3, NUMBERS), "utf-8")
    assert read_entry(path) == entry
    experiment = yaml.safe_load(path.read_text())["experiments"]["cells"]
    assert experiment["split"] == {"blocks": 3}
    assert experiment["folds"] == ["0", "1", "2"]
    assert "rand_error" in experiment["evaluation"]["metrics"]


@pytest.mark.parametrize(
    ("splits", "n_slices", "split", "folds"),
    [
        (["train"] * 9, 9, {"blocks": 5}, ["0", "1", "2", "3", "4"]),
        (["train"] * 2, 20, {"by": "sequence"}, ["00", "01"]),
        (["train"], 20, {"blocks": 5}, ["0", "1", "2", "3", "4"]),
        (["train", "test"], 1, {"by": "sequence"}, ["official"]),
    ],
)
def test_folds_keep_together_what_looks_alike(tmp_path, splits, n_slices, split, folds):
    entry = Entry("cells", "Cells", tmp_path / "s.csv", DataSettings("instances"))
    samples = [Sample(f"s{k}", tmp_path, tmp_path, name) for k, name in enumerate(splits)]
    text = entry_text(entry, tmp_path / "x.yaml", samples, n_slices, NUMBERS)
    experiment = yaml.safe_load(text)["experiments"]["cells"]
    assert (experiment["split"], experiment["folds"]) == (split, folds)
    assert experiment["evaluation"]["metrics"] == ["seg", "iou"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "datasets.cells: unknown key 'colour'"),
        ({"samples": None, "title": ...}, "datasets.cells: key 'title' is missing"),
        ({"label_map": {"x": "cell"}}, "datasets.cells: label map: value 'x': need a whole number"),
        ({"label_map": [0, 1]}, "datasets.cells.label_map: expected VALUE: MEANING"),
        ({"label_map": {0: "nothing"}}, "0 means 'nothing': need one of"),
        ({"labels_are": "outlines"}, "labels of kind 'outlines'"),
        ({"pixel_size_um": -1}, "pixel_size_um -1: need a number above 0"),
        ({"pixel_size_um": "small"}, "datasets.cells: "),
    ],
)
def test_entries_that_break_a_rule_are_one_line(tmp_path, change, message):
    entry = {key: value for key, value in (GOOD | change).items() if value is not ...}
    with pytest.raises(InputError) as caught:
        read_entry(write(tmp_path, {"cells": entry}))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "dataset.yaml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "not a YAML file"),
        ("datasets: {}", "0 entries below datasets, expected one"),
        ("datasets: {a: {}, b: {}}", "2 entries below datasets, expected one"),
        ("- 1", "0 entries below datasets"),
        ("datasets: {a: 3}", "datasets.a: expected keys and values"),
    ],
)
def test_files_that_hold_no_data_set_are_refused(tmp_path, content, message):
    (tmp_path / "d.yaml").write_text(content)
    with pytest.raises(InputError, match=message):
        read_entry(tmp_path / "d.yaml")
    with pytest.raises(InputError, match="no such file"):
        read_entry(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Meine Zellen (Müller)", "meine-zellen-muller"),
        ("2015_U-Net", "2015-u-net"),
        ("ß", "my-images"),
    ],
)
def test_names_are_those_that_experiments_may_have(tmp_path, name, expected):
    assert name_of(tmp_path / name) == expected


def guessed(folder, **given):
    return guess_settings(read_pairs(find_samples(folder)), DataSettings(**given))


@pytest.mark.parametrize(("membrane", "cell"), [(0, 255), (255, 0), (0, 1), (3, 1)])
def test_membranes_are_told_from_cells(tmp_path, membrane, cell):
    images, labels = draw_sections(np.random.default_rng(5), 2, 160)
    for k in range(2):
        marked = np.where(labels[k] > 0, cell, membrane).astype(np.uint8)
        pair(tmp_path, str(k), images[k], marked)
    settings = guessed(tmp_path)
    assert settings.labels_are == "mask"
    assert settings.label_map.meanings == {cell: "cell", membrane: "background"}


def test_what_was_given_is_not_guessed(tmp_path):
    pair(tmp_path, "a", noise(20, 30), halves())
    given = LabelMap({0: "cell", 255: "background"})
    assert guessed(tmp_path, label_map=given).label_map == given
    found = guessed(tmp_path, label_map=LabelMap({9: "ignore"}))
    assert found.label_map.meanings == {9: "ignore", 0: "background", 255: "cell"}
    assert guessed(tmp_path, labels_are="instances").label_map.meanings == {}


def test_classes_are_not_taken_for_cells(tmp_path):
    classes = np.kron(np.random.default_rng(0).integers(0, 3, (8, 8)), np.ones((4, 4)))
    pair(tmp_path, "a", noise(32, 32), classes.astype(np.uint8))
    with pytest.raises(InputError, match=r"the values 0, 1, 2: say what they mean, as in"):
        guessed(tmp_path)
    assert guessed(tmp_path, labels_are="instances").labels_are == "instances"


def test_a_few_cells_are_instances(tmp_path):
    cells = halves(value=1)
    cells[:, -3:] = 2
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 30))
    tifffile.imwrite(tmp_path / "a_labels.tif", cells)
    assert guessed(tmp_path).labels_are == "instances"
