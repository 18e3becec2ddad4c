"""People's own images on the command line, from a folder to a trained network."""

import csv
import json
import shlex

import numpy as np
import pytest
import yaml
from test_annotated import halves, noise, pair
from test_cli import refusal, small_recipe, unet

from unetcore.checkpoint import load_model
from unetcore.data.io import write_stack
from unetcore.data.phantom_em import draw_sections
from unetcore.runs import Validation

__all__ = ["small_recipe"]  # a fixture


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Folder of five images of different sizes, in which membranes are marked."""
    monkeypatch.chdir(tmp_path)
    images, labels = draw_sections(np.random.default_rng(0), 5, 96)
    for k in range(5):
        height = 80 + 3 * k
        marked = (255 * (labels[k, :height] == 0)).astype(np.uint8)
        pair(tmp_path / "Schnitte 1 (ä)", f"Bild {k}", images[k, :height], marked)
    return tmp_path / "Schnitte 1 (ä)"


def next_command(result):
    """Words of the command that a call ends with."""
    words = shlex.split(result.stdout.splitlines()[-1])
    assert words[0] == "unet", result.output
    return words[1:]


def test_three_commands_make_a_model_and_each_says_the_next(folder, small_recipe):
    found = unet("new", folder)
    assert found.exit_code == 0, found.output
    assert (
        "a mask, 0=cell,255=background (what else is marked looks like membranes)" in found.stdout
    )
    looked = unet(*next_command(found))
    assert looked.exit_code == 0, looked.output
    trained = unet(*next_command(looked), "--steps", 3, "--width", 2)
    assert trained.exit_code == 0, trained.output
    words = next_command(trained)
    assert words[0] == "predict"
    _, description = load_model(folder.parent / "run/model.safetensors")
    assert description["label_map"] == "0=cell,255=background"
    assert description["training_images"] == [5, 1, 92, 96]
    assert set(description["postprocessing"]) >= {"threshold", "smallest_object"}
    assert description["threshold_chosen_on"] == "training images"


def test_what_was_written_can_be_edited(folder):
    unet("new", folder)
    with open(folder / "samples.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "id": "Bild 0", "image": "images/Bild 0.tif", "labels": "labels/Bild 0.tif",
        "split": "train",
    }  # fmt: skip
    text = (folder / "samples.csv").read_text().replace("Bild 4.tif,train", "Bild 4.tif,test")
    (folder / "samples.csv").write_text(text)
    entry = yaml.safe_load((folder / "dataset.yaml").read_text())
    entry["datasets"]["schnitte-1-a"]["label_map"] = {0: "ignore", 255: "cell"}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(entry))
    line, *_ = refusal("validate", folder / "dataset.yaml")
    assert "every pixel is cell, none background" in line
    result = unet("validate", folder / "dataset.yaml", "--label-map", "0=cell,255=background")
    assert "5 images, 1 held out" in result.stdout


def test_images_of_split_test_are_held_out(folder, small_recipe):
    unet("new", folder)
    text = (folder / "samples.csv").read_text().replace("Bild 0.tif,train", "Bild 0.tif,test")
    (folder / "samples.csv").write_text(text)
    words = ("train", folder / "dataset.yaml", "-o", "run", "--steps", 2, "--width", 2)
    (line,) = refusal(*words, "--held-out", 1)
    assert "the sample sheet holds out 1: say one of the two" in line
    result = unet(*words)
    assert result.exit_code == 0, result.output
    _, description = load_model(folder.parent / "run/model.safetensors")
    assert description["training_images"][0] == 4
    assert description["held_out"] == 1
    assert description["threshold_chosen_on"] == "training images"


def test_held_out_cells_are_cut_out_as_the_model_says(tmp_path, monkeypatch, small_recipe):
    """Of cells that are smaller than those of the release all would be left out."""
    rows, columns = np.mgrid[:80, :80]
    labels = np.where((rows % 16 < 9) & (columns % 16 < 9), 1 + rows // 16 * 5 + columns // 16, 0)
    for k in range(3):
        image = 150 * (labels > 0) + np.random.default_rng(k).integers(0, 90, labels.shape)
        write_stack(tmp_path / f"d/images/{k}.tif", image[None].astype(np.uint8))
        write_stack(tmp_path / f"d/labels/{k}.tif", labels[None].astype(np.uint16))
    monkeypatch.chdir(tmp_path)
    words = ("train", "d", "-o", "run", "--steps", 2, "--width", 2, "--held-out", 1)
    seen = []

    def watching(*stacks, **settings):
        seen.append(settings["postprocessing"])
        return Validation(*stacks, **settings)

    monkeypatch.setattr("unetcore.runs.Validation", watching)
    result = unet(*words)
    assert result.exit_code == 0, result.output
    _, description = load_model("run/model.safetensors")
    smallest = description["postprocessing"]["smallest_object"]
    assert 0 < smallest < 81
    assert [settings["smallest_object"] for settings in seen] == [smallest]


@pytest.mark.parametrize("name", ["a: b", "my data/1", "Zellen", ""])
def test_a_name_that_would_break_the_file_is_refused(folder, name):
    (line,) = refusal("new", folder, "--name", name)
    assert "need small letters, digits and hyphens, as in " in line
    assert not (folder / "dataset.yaml").exists()


def test_new_wants_a_folder(folder):
    (line,) = refusal("new", folder / "images/Bild 0.tif")
    assert line.endswith("a file, need the folder of images and labels")


def test_an_earlier_description_is_not_replaced(folder):
    unet("new", folder)
    before = (folder / "dataset.yaml").read_text()
    (line,) = refusal("new", folder, "--name", "other")
    assert line.endswith("samples.csv: is there already; --force replaces it")
    assert (folder / "dataset.yaml").read_text() == before
    assert unet("new", folder, "--name", "other", "--force").exit_code == 0
    assert "other:" in (folder / "dataset.yaml").read_text()


def test_options_are_given_on(folder):
    result = unet("validate", folder, "--label-map", "0=cell,255=background", "--trust-pairs")
    words = next_command(result)
    assert words == [
        "train", str(folder), "-o", "run", "--label-map", "0=cell,255=background", "--trust-pairs",
    ]  # fmt: skip


def test_labels_beside_an_entry_are_refused(folder):
    unet("new", folder)
    (line,) = refusal("validate", folder / "dataset.yaml", folder / "labels")
    assert line.endswith("dataset.yaml says where the labels are")


def test_new_writes_nothing_where_files_cannot_be_used(folder):
    pair(folder, "Bild 9", noise(20, 30), halves(20, 31))
    (folder / "images/Bild 1.tif").write_bytes(b"")
    before = sorted(folder.rglob("*"))
    first, second = refusal("new", folder)
    assert "Bild 1.tif" in first
    assert "labels of 20 x 31 px" in second
    assert sorted(folder.rglob("*")) == before


def test_a_picture_that_cannot_be_written_is_one_line(folder):
    (line,) = refusal("validate", folder, "--picture", folder / "absent/sheet.png")
    assert line.startswith("error: ")
    assert "absent" in line


def test_what_was_described_holds_for_the_folder_and_its_sheet_and_where_it_is_moved(folder):
    unet("new", folder)
    moved = folder.rename(folder.parent / "moved")
    for path in (moved, moved / "samples.csv", moved / "dataset.yaml"):
        result = unet("validate", path)
        assert "label map   0=cell,255=background" in result.stdout, path
    assert "Read as" in unet("validate", moved).stdout


def test_a_picture_does_not_replace_an_image(folder):
    (line,) = refusal("validate", folder, "--picture", folder / "sheet.tif")
    assert line.endswith("sheet.tif: need a name like NAME.png")


def test_images_that_are_too_small_are_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pair(tmp_path / "small", "a", noise(20, 30), halves())
    for words in (("validate",), ("train", "-o", "run")):
        (line,) = refusal(words[0], tmp_path / "small", *words[1:])
        assert line == "error: a: no image is more than 20 x 30 px, need 64 a side"


def test_every_verb_says_as_json_what_it_made(folder, small_recipe):
    """And nothing else: a program reads it."""

    def said(*words):
        result = unet(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    assert said("new", folder)["label_map"] == "0=cell,255=background"
    assert said("weights", folder / "labels/Bild 0.tif", "-o", "w.tif")["labels_are"] == "mask"
    said("train", folder, "-o", "run", "--steps", 2, "--width", 2)
    assert said("export", "run", "-o", "card.md")["made_by"].startswith("unetcore ")
    image = folder / "images/Bild 0.tif"
    said("predict", "run", image, "-o", "p.tif")
    assert said("view", image, "p.tif", "-o", "p.html")["slices"] == 1
