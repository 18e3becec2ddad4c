"""`unet evaluate` of people's own images: folders of results, masks of cells, wrong polarity."""

import csv
import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from roifile import ROI_TYPE, ImagejRoi, roiwrite
from test_cli import refusal, unet

from unetcore.data.io import write_stack
from unetcore.data.phantom_em import draw_sections
from unetcore.data.stacks import Stack
from unetcore.evaluate import OF_CELLS, OF_MEMBRANES, evaluate
from unetcore.instances import instances

SIZES = {"a": (64, 64), "B": (50, 70)}
FITTING = {"smallest_object": 0, "threshold": 0.5}


def mask_of(size, seed=0):
    """Cells of a section, 0 and 255, one of whose sides may be cut."""
    _, labels = draw_sections(np.random.default_rng(seed), 1, 80)
    return labels[0, : size[0], : size[1]]


def map_of(mask, seed=0):
    """Probability that follows a mask, with noise and a bias of its own."""
    noise = np.random.default_rng(seed).normal(0.25 * seed, 0.2, mask.shape)
    return np.clip(0.2 + 0.6 * (mask > 0) + noise, 0, 1).astype(np.float32)


def write_results(folder, maps, label_map=None):
    """Write a folder as `unet predict` does, of (N, H, W) maps by name."""
    for name, probability in maps.items():
        write_stack(folder / f"{name}-probability.tif", probability)
        cells = np.stack([instances(page, **FITTING) for page in probability])
        write_stack(folder / f"{name}-instances.tif", cells)
    rows = "".join(f'{name}.tif,"{label_map or ""}"\n' for name in maps)
    (folder / "summary.csv").write_text(f"image,label_map\n{rows}")
    return folder


@pytest.fixture
def masks():
    return {name: mask_of(size, k) for k, (name, size) in enumerate(SIZES.items())}


@pytest.fixture
def maps(masks):
    return {name: map_of(mask, k)[None] for k, (name, mask) in enumerate(masks.items())}


@pytest.fixture
def folder(tmp_path, masks, maps):
    """Folder with `results` and `labels` of two images of different sizes."""
    write_results(tmp_path / "results", maps)
    (tmp_path / "labels").mkdir()
    write_stack(tmp_path / "labels/a.tif", masks["a"][None])
    Image.fromarray(masks["B"]).save(tmp_path / "labels/b_labels.png")
    return tmp_path


def parts(mask):
    return instances(mask > 0, **FITTING)[None]


def alone(mask, probability, names=OF_MEMBRANES + OF_CELLS):
    cells = np.stack([instances(page, **FITTING) for page in probability])
    return evaluate(names, parts(mask), probability, segmentation=cells)


def measured(*words):
    result = unet("evaluate", *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_image_of_a_folder_is_evaluated_and_all_at_one_threshold(folder, masks, maps):
    found = measured(folder / "labels", folder / "results")
    assert found["labels_are"] == "mask"
    assert [row["image"] for row in found["images"]] == ["B", "a"]
    expected = {name: alone(masks[name], maps[name]) for name in masks}
    for row in found["images"]:
        assert (row["height_px"], row["width_px"]) == SIZES[row["image"]]
        for name, values in expected[row["image"]].items():
            assert row["metrics"][name].items() >= values.items()
    for name in OF_MEMBRANES:
        curves = [values[name]["values"] for values in expected.values()]
        means = np.mean(curves, axis=0)
        best = max(means) if name.startswith("v_") else min(means)
        assert found["all"][name]["value"] == pytest.approx(best)
        threshold = found["all"][name]["threshold"]
        assert means[found["all"][name]["thresholds"].index(threshold)] == pytest.approx(best)
        own = np.mean([values[name]["value"] for values in expected.values()])
        assert found["all"][name]["mean_of_best"] == pytest.approx(own)
        at_one = [row["metrics"][name]["at_common"] for row in found["images"]]
        assert np.mean(at_one) == pytest.approx(best)
    rand = found["all"]["rand_error"]  # thresholds of the two differ, so one for both costs
    assert rand["value"] > rand["mean_of_best"]
    for name in OF_CELLS:
        values = [values[name]["value"] for values in expected.values()]
        assert found["all"][name] == {"value": pytest.approx(np.mean(values))}


def test_table_for_people_and_for_programs(folder):
    words = (folder / "labels", folder / "results")
    result = unet("evaluate", *words, "-o", folder / "table.csv")
    assert result.exit_code == 0, result.output
    found = measured(*words)
    lines = result.stdout.splitlines()
    assert lines[0] == "Labels: mask, 0 is background, all else cell"
    (title,) = [k for k, line in enumerate(lines) if line.startswith("image")]
    rows = lines[title + 1 : title + 5]
    starts = ("B ", "a ", "all, each at its best ", "all, at one threshold ")
    assert [row.startswith(start) for row, start in zip(rows, starts, strict=True)] == [True] * 4
    assert "50 x 70" in rows[0]
    value = found["images"][0]["metrics"]["v_rand"]
    assert f"{value['value']:.4f} ({value['threshold']:.1f})" in rows[0]
    assert f"{found['all']['v_rand']['mean_of_best']:.4f} " in rows[2]
    value = found["all"]["v_rand"]
    assert f"{value['value']:.4f} ({value['threshold']:.1f})" in rows[3]
    with open(folder / "table.csv", newline="") as file:
        first, _, last = csv.DictReader(file)
    assert float(first["v_rand_common_threshold"]) == pytest.approx(value["threshold"])
    assert (first["image"], first["slices"], last["image"]) == ("B", "1", "all")
    assert float(last["rand_error"]) == pytest.approx(
        found["all"]["rand_error"]["mean_of_best"], rel=1e-5
    )
    assert float(last["rand_error_at_common"]) == pytest.approx(
        found["all"]["rand_error"]["value"], rel=1e-5
    )


def test_threads_change_nothing(folder):
    words = (folder / "labels", folder / "results")
    assert measured(*words) == measured(*words, "--threads", 3)


def invert(folder, masks):
    """Mark membranes in all labels."""
    (folder / "labels/b_labels.png").unlink()
    for name, mask in masks.items():
        write_stack(folder / f"labels/{name}.tif", 255 - mask[None])


def test_labels_mean_what_those_of_the_training_meant(folder, masks, maps):
    expected = measured(folder / "labels", folder / "results")["all"]
    invert(folder, masks)
    write_results(folder / "results", maps, "0=cell,255=background")
    result = unet("evaluate", folder / "labels", folder / "results")
    assert result.stdout.startswith("Labels: mask, 0=cell,255=background, as in the training\n")
    assert result.stderr == ""
    assert measured(folder / "labels", folder / "results")["all"] == expected
    (folder / "results/summary.csv").write_text(
        "\ufeffimage;label_map\na.tif;0=cell,255=background\n", encoding="utf-8"
    )  # as a spreadsheet saves it
    assert measured(folder / "labels", folder / "results")["all"] == expected
    # What is said on the command line goes first.
    wrong = "0=background,255=cell"
    found = measured(folder / "labels", folder / "results", "--label-map", wrong)
    assert found["label_map"] == wrong
    assert found["all"] != expected


def test_labels_that_are_instances_are_not_read_as_a_mask_of_the_training(folder, masks, maps):
    write_results(folder / "results", maps, "0=cell,255=background")
    (folder / "labels/b_labels.png").unlink()
    for name, mask in masks.items():
        write_stack(folder / f"labels/{name}.tif", parts(mask))
    found = measured(folder / "labels", folder / "results")
    assert (found["labels_are"], found["label_map"]) == ("instances", "")
    assert tuple(found["all"]) == OF_CELLS
    expected = [alone(masks[name], maps[name], OF_CELLS)["seg"]["value"] for name in masks]
    assert found["all"]["seg"]["value"] == pytest.approx(np.mean(expected))
    table = unet("evaluate", folder / "labels", folder / "results").stdout
    assert "\nall  " in table
    assert "threshold" not in table


def test_values_that_the_training_did_not_know_are_refused(folder, masks, maps):
    write_results(folder / "results", maps, "0=cell,1=background")
    first, second = refusal("evaluate", folder / "labels", folder / "results")
    assert first == (
        f"error: {folder}/labels/b_labels.png: value 255 is not in the label map "
        "0=cell,1=background of the training: say by --label-map what values mean here"
    )
    assert "labels/a.tif: value 255" in second
    (folder / "results/summary.csv").write_text("image,label_map\na.tif,membranes\n")
    (line,) = refusal("evaluate", folder / "labels", folder / "results")
    assert "summary.csv: label map 'membranes': need VALUE=MEANING" in line


def test_a_dataset_says_which_images_and_what_labels_mean(folder, masks, maps):
    invert(folder, masks)
    for name, mask in masks.items():
        image = np.where(mask > 0, 180, 60).astype(np.uint8)
        write_stack(folder / f"images/{name}.tif", image[None])
    result = unet("new", folder, "--label-map", "0=cell,255=background")
    assert result.exit_code == 0, result.output
    for labels in (folder / "dataset.yaml", folder, folder / "samples.csv"):
        found = measured(labels, folder / "results")
        assert found["label_map"] == "0=cell,255=background"
        assert [row["image"] for row in found["images"]] == ["B", "a"]
    sheet = (folder / "samples.csv").read_text()
    (folder / "samples.csv").write_text(sheet.replace("a.tif,train", "a.tif,test"))
    found = measured(folder / "dataset.yaml", folder / "results")
    assert [row["image"] for row in found["images"]] == ["a"]
    assert found["all"]["v_info"]["value"] == pytest.approx(
        alone(masks["a"], maps["a"])["v_info"]["value"]
    )
    (folder / "results/a-probability.tif").unlink()
    (line,) = refusal("evaluate", folder / "dataset.yaml", folder / "results")
    assert line == f"error: {folder}/images/a.tif: no a-probability.tif in {folder}/results"


def test_regions_of_fiji_are_cells(folder):
    (folder / "labels/b_labels.png").unlink()
    (folder / "labels/a.tif").unlink()
    corners = np.array([[10, 10], [40, 10], [40, 30], [10, 30]])
    for name in ("a", "b"):
        region = ImagejRoi.frompoints(corners, name="1")
        region.roitype = ROI_TYPE.POLYGON
        roiwrite(folder / f"labels/RoiSet_{name}.zip", [region], mode="w")
    cells = np.zeros((1, *SIZES["a"]), np.uint16)
    cells[0, 10:30, 10:30] = 7
    write_stack(folder / "results/a-instances.tif", cells)
    found = measured(folder / "labels", folder / "results")
    assert found["labels_are"] == "instances"
    assert found["images"][1]["metrics"]["seg"]["value"] == pytest.approx(2 / 3, abs=0.02)


def test_one_file_of_labels_with_a_folder_of_results(folder, masks, maps):
    found = measured(folder / "labels/a.tif", folder / "results")
    assert [row["image"] for row in found["images"]] == ["a"]


def test_names_of_images_and_labels_may_say_what_they_are(tmp_path, masks, maps):
    write_results(tmp_path / "results", {"image_1": maps["a"], "x": maps["B"]})
    for name, mask in (("image_1_mask", "a"), ("image_1", "a"), ("x-seg", "B")):
        write_stack(tmp_path / f"labels/{name}.tif", masks[mask][None])
    found = measured(tmp_path / "labels", tmp_path / "results")
    files = [row["labels"].rpartition("/")[2] for row in found["images"]]
    assert files == ["image_1_mask.tif", "x-seg.tif"]


def test_slices_and_images_without_a_cell_are_left_out(tmp_path, masks):
    mask = masks["a"]
    probability = map_of(np.stack([mask, mask, mask]), 1)
    write_results(tmp_path / "results", {"a": probability, "b": probability[:1]})
    write_stack(tmp_path / "labels/a.tif", np.stack([0 * mask, mask, mask]))
    write_stack(tmp_path / "labels/b.tif", 0 * mask[None])
    found = measured(tmp_path / "labels", tmp_path / "results")
    a, b = found["images"]
    assert a["slices_without_cells"] == [0]
    assert b["metrics"] is None
    error = a["metrics"]["rand_error"]
    places = [*error["splits"]["largest"], *error["mergers"]["largest"]]
    assert places
    assert {place["z"] for place in places} <= {1, 2}
    both = alone(mask, probability[1:2]), alone(mask, probability[2:])
    expected = np.mean([one["v_rand"]["values"] for one in both], axis=0).max()
    assert found["all"]["v_rand"]["value"] == pytest.approx(expected)
    lines = unet("evaluate", tmp_path / "labels", tmp_path / "results").stdout.splitlines()
    assert any(line.endswith("1 of 3 slices show no cell") for line in lines)
    assert any(line.startswith("b ") and line.endswith("no cell labelled") for line in lines)
    (line,) = refusal("evaluate", tmp_path / "labels/b.tif", tmp_path / "results")
    assert line.endswith("labels/b.tif: no cell is labelled in 1 image")


def test_what_is_ignored_counts_nowhere_in_a_folder(folder, masks, maps):
    labels = masks["a"].copy()
    labels[:30] = 7
    write_stack(folder / "labels/a.tif", labels[None])
    words = ("--label-map", "0=background,7=ignore,255=cell")
    (row,) = measured(folder / "labels/a.tif", folder / "results", *words)["images"]
    expected = alone(masks["a"][30:], maps["a"][:, 30:])
    for name in ("rand_error", "pixel_error", "seg", "iou"):
        assert row["metrics"][name]["value"] == pytest.approx(expected[name]["value"])


def test_folders_of_splits_are_a_sheet(folder, masks, maps):
    for split, name in (("train", "a"), ("test", "B")):
        image = np.where(masks[name] > 0, 180, 60).astype(np.uint8)
        write_stack(folder / f"data/{split}/images/{name}.tif", image[None])
        write_stack(folder / f"data/{split}/masks/{name}.tif", masks[name][None])
    found = measured(folder / "data", folder / "results")
    assert [row["image"] for row in found["images"]] == ["B"]


def test_labels_below_0_may_be_ignored(folder, masks, maps):
    labels = (masks["a"] > 0).astype(np.int16)
    labels[:30] = -1
    tifffile.imwrite(folder / "labels/a.tif", labels, photometric="minisblack")
    (line,) = refusal("evaluate", folder / "labels/a.tif", folder / "results")
    assert "labels/a.tif: label -1: need 0 for background" in line
    words = ("--label-map", "-1=ignore")
    (row,) = measured(folder / "labels/a.tif", folder / "results", *words)["images"]
    expected = alone(masks["a"][30:], maps["a"][:, 30:])
    assert row["metrics"]["rand_error"]["value"] == pytest.approx(expected["rand_error"]["value"])


def problem(folder, *words):
    lines = refusal("evaluate", folder / "labels", folder / "results", *words)
    assert all(line.startswith("error: ") for line in lines)
    return [line.removeprefix("error: ") for line in lines]


def test_files_without_a_partner_are_one_line_each(folder, masks):
    write_stack(folder / "labels/c.tif", masks["a"][None])
    (folder / "labels/a.tif").unlink()
    first, second = problem(folder)
    assert first == f"{folder}/labels/c.tif: no result of this name in {folder}/results"
    assert second == (
        f"{folder}/results/a-probability.tif: no labels of this name in {folder}/labels"
    )
    (folder / "labels/b_labels.png").unlink()
    (line,) = problem(folder)
    assert line.startswith(f"{folder}/labels: no labels have the name of a result in ")
    assert "sample sheet (.csv)" in line
    (folder / "labels/c.tif").unlink()
    (line,) = problem(folder)
    assert line.startswith(f"{folder}/labels: no labels in this folder")


def test_results_that_are_incomplete_or_of_other_sizes_are_one_line_each(folder, masks):
    (folder / "results/B-instances.tif").unlink()
    write_stack(folder / "labels/a.tif", masks["a"][None, :40])
    first, second = problem(folder)
    assert first == f"{folder}/results/B-probability.tif: no B-instances beside it"
    assert second == (
        f"{folder}/labels/a.tif: labels of 40 x 64 px for an image of 64 x 64 px, "
        f"{folder}/results/a-probability.tif"
    )
    for suffix in ("tif", "png"):
        Image.fromarray(masks["B"]).save(folder / f"results/B-instances.{suffix}")
    (line,) = problem(folder)
    assert line.endswith("B-instances.tif: means the same image as B-instances.png; delete one")


@pytest.mark.parametrize("option", ["--segmentation", "--unscaled", "--fill-missing"])
def test_options_of_two_files_are_refused_with_a_folder(folder, option):
    (line,) = problem(folder, option)
    assert line == f"{option} is for two files; {folder}/results is a folder of results"


def test_a_folder_without_results_and_a_table_of_no_folder_are_one_line(folder):
    for labels in (folder / "labels", folder / "samples.csv"):
        (line,) = refusal("evaluate", labels, folder)
        assert line.startswith(f"error: {folder}: holds no results (NAME-probability.tif, ")
    (line,) = problem(folder, "-o", folder / "table.txt")
    assert line == f"--out {folder}/table.txt: a table is written, need a name like NAME.csv"
    words = (folder / "labels/a.tif", folder / "results/a-probability.tif")
    (line,) = refusal("evaluate", *words, "-o", folder / "table.csv")
    assert "--out is for a folder of results" in line
    (line,) = refusal("evaluate", *words, "--labels-are", "mask")
    assert "--labels-are is for --segmentation" in line


def test_two_folders_of_plain_maps_are_two_stacks(tmp_path, masks):
    labels, maps = np.stack([masks["a"], masks["a"].T]), []
    for z in range(2):
        maps.append(map_of(labels[z], z))
        write_stack(tmp_path / f"labels/{z}.tif", labels[z][None])
        write_stack(tmp_path / f"maps/{z}-probability.tif", maps[z][None])
    expected = evaluate(OF_MEMBRANES, labels, np.stack(maps))
    assert measured(tmp_path / "labels", tmp_path / "maps") == expected


def test_labels_of_pictures_in_a_folder_are_a_stack(tmp_path, masks):
    (tmp_path / "labels").mkdir()
    for z in range(2):
        Image.fromarray(masks["a"]).save(tmp_path / f"labels/{z}.png")
    maps = np.stack([map_of(masks["a"], z) for z in range(2)])
    write_stack(tmp_path / "p.tif", maps)
    expected = evaluate(OF_MEMBRANES, np.stack([masks["a"]] * 2), maps)
    assert measured(tmp_path / "labels", tmp_path / "p.tif") == expected


def two_cells(value=255):
    """Mask of two cells; the left one's parts touch by a corner."""
    mask = np.zeros((1, 8, 12), np.uint8)
    mask[0, :4, :4] = mask[0, 4:, 4:6] = mask[0, :, 9:] = value
    return mask


def test_cells_of_a_mask_are_its_parts_on_both_sides(tmp_path):
    found = np.where(np.arange(12) > 7, two_cells(), 0)  # the right cell alone
    write_stack(tmp_path / "mask.tif", two_cells())
    write_stack(tmp_path / "marked.tif", 255 - two_cells())
    write_stack(tmp_path / "found.tif", found)
    Image.fromarray(found[0] // 255 * 9).save(tmp_path / "found.png")
    for labels, words in (("mask", ()), ("marked", ("--label-map", "0=cell,255=background"))):
        for name in ("found.tif", "found.png"):
            files = (tmp_path / f"{labels}.tif", tmp_path / name)
            result = unet("evaluate", *files, "--segmentation", "--json", *words)
            assert result.exit_code == 0, result.output
            assert json.loads(result.stdout)["seg"]["value"] == pytest.approx(0.5)
            said = result.stderr.splitlines()
            guessed = files[:] if labels == "mask" else files[1:]
            assert [line.partition(": ")[0] for line in said] == list(map(str, guessed))
            assert all("its parts that hang together" in line for line in said)
    files = (tmp_path / "mask.tif", tmp_path / "found.tif", "--segmentation", "--json")
    as_one = unet("evaluate", *files, "--labels-are", "instances")
    assert json.loads(as_one.stdout)["seg"]["value"] == 0  # of one cell less than half is found
    assert unet("--quiet", "evaluate", *files).stderr == ""


def test_what_labels_are_said_to_be_and_are_not_is_refused(tmp_path):
    cells = two_cells(1)
    cells[..., 9:] *= 2
    write_stack(tmp_path / "cells.tif", cells)
    words = ("evaluate", tmp_path / "cells.tif", tmp_path / "cells.tif", "--segmentation")
    (line,) = refusal(*words, "--labels-are", "mask")
    assert "cells.tif, slice 0: a mask of the values 0, 1, 2: need 0 and one other" in line
    (line,) = refusal(*words, "--labels-are", "instances", "--label-map", "0=background,1=cell")
    assert "in instances every number is a cell" in line
    assert unet(*words).stderr == ""  # ids are left as they are
    Image.fromarray(cells[0]).save(tmp_path / "cells.png")
    words = ("evaluate", tmp_path / "cells.png", tmp_path / "cells.png", "--segmentation")
    (line,) = refusal(*words, "--labels-are", "mask")
    assert "cells.png: a mask of the values 0, 1, 2: need 0 and one other" in line


def test_cells_of_a_mask_end_where_nothing_is_known(tmp_path):
    mask = two_cells()
    mask[0, :, 10] = 7
    write_stack(tmp_path / "mask.tif", mask)
    write_stack(tmp_path / "found.tif", two_cells())
    words = ("--segmentation", "--label-map", "0=background,7=ignore,255=cell", "--json")
    result = unet("evaluate", tmp_path / "mask.tif", tmp_path / "found.tif", *words)
    assert json.loads(result.stdout)["seg"]["value"] == 1


@pytest.fixture
def marked(tmp_path, masks, maps):
    """Folder with labels that mark membranes, and a map of cells."""
    write_stack(tmp_path / "labels.tif", 255 - masks["a"][None])
    write_stack(tmp_path / "map.tif", maps["a"])
    write_stack(tmp_path / "image.tif", masks["a"][None])
    return tmp_path


def test_labels_that_mark_membranes_are_noticed(marked):
    files = (marked / "labels.tif", marked / "map.tif")
    result = unet("evaluate", *files, "--json")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"warning: {files[0]}: the probability is lower in cells (mean 0.")
    assert line.endswith("give --label-map 0=cell,255=background")
    meaning = ("--label-map", "0=cell,255=background")
    right = unet("evaluate", *files, "--json", *meaning)
    assert right.stderr == ""
    same = unet("evaluate", *files, "--json", "--label-map", "0=background,255=cell")
    assert same.stdout == result.stdout
    assert same.stderr == result.stderr
    page = unet(
        "view", marked / "image.tif", files[1], "--labels", files[0], "-o", marked / "v.html"
    )
    assert page.exit_code == 0
    assert page.stderr == result.stderr
    page = unet("view", marked / "image.tif", files[1], "--labels", files[0], *meaning,
                "-o", marked / "v.html")  # fmt: skip
    assert page.stderr == ""


def test_what_is_ignored_stays_so_in_what_is_advised(marked, masks, maps):
    labels = 255 - masks["a"][None]
    labels[0, :9] = 3
    write_stack(marked / "labels.tif", labels)
    result = unet("evaluate", marked / "labels.tif", marked / "map.tif", "--ignore-label", 3)
    assert result.stderr.endswith("give --label-map 0=cell,3=ignore,255=background\n")


def test_a_map_that_tells_nothing_is_not_remarked_on(marked, masks):
    """The probability is lower by 0.08 where the labels are marked, as by an untrained network."""
    probability = np.where(masks["a"][None] > 0, 0.54, 0.46).astype(np.float32)
    write_stack(marked / "map.tif", probability)
    assert unet("evaluate", marked / "labels.tif", marked / "map.tif").stderr == ""


def test_labels_of_a_folder_that_mark_membranes_are_one_line(folder, masks):
    invert(folder, masks)
    result = unet("evaluate", folder / "labels", folder / "results")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"warning: {folder}/labels/B.tif and 1 more: the probability is lower")
    assert line.endswith("give --label-map 0=cell,255=background")


def test_slices_of_labels_are_read_once_for_what_is_known_and_what_is_not(marked, monkeypatch):
    """As often as without a map; what is ignored is counted in a pass of its own."""
    reads = []
    read = Stack.__getitem__
    monkeypatch.setattr(
        Stack, "__getitem__", lambda stack, z: reads.append(stack.path.name) or read(stack, z)
    )
    counts = []
    for words in ((), ("--label-map", "0=cell,255=background"), ("--ignore-label", "3")):
        reads.clear()
        unet("evaluate", marked / "labels.tif", marked / "map.tif", *words)
        counts.append((reads.count("labels.tif"), reads.count("map.tif")))
    assert counts[1] == counts[0]
    assert counts[2][0] <= counts[0][0] + 1
    assert counts[2][1] == counts[0][1]


def test_ignored_numbers_are_those_of_an_array(marked, masks, maps):
    labels = 255 - masks["a"][None]
    labels[0, :9] = 3
    tifffile.imwrite(marked / "labels.tif", labels, photometric="minisblack")
    words = ("--label-map", "0=cell,3=ignore,255=background")
    ignored = labels == 3
    expected = evaluate(OF_MEMBRANES, (labels == 0) * 1, maps["a"], ignored=ignored)
    assert measured(marked / "labels.tif", marked / "map.tif", *words) == expected


def test_labels_without_background_are_refused_and_say_why(folder, maps):
    """Masks of 1 and 2, of which nobody said that 1 is background."""
    write_stack(folder / "p.tif", maps["a"])
    labels = np.where(mask_of(SIZES["a"]) > 0, 2, 1).astype(np.uint8)
    write_stack(folder / "one-two.tif", labels[None])
    (line,) = refusal("evaluate", folder / "one-two.tif", folder / "p.tif")
    assert "one-two.tif: every pixel is cell, expected background and cells: say by" in line
    words = (folder / "one-two.tif", folder / "p.tif", "--label-map", "1=background,2=cell")
    assert measured(*words)["pixel_error"]["value"] > 0
    cells = folder / "results/a-instances.tif"
    told = unet("evaluate", folder / "one-two.tif", cells, "--segmentation")
    assert "one-two.tif: no pixel of the first image is background (0)" in told.stderr


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ("labels", "labels/a.tif"),
        ("labels", "results/summary.csv"),
        ("labels", "results/B-measurements.csv"),
        ("samples.csv", "samples.csv"),
        ("dataset.yaml", "samples.csv"),
        (".", "samples.csv"),
    ],
)
def test_the_table_replaces_nothing_that_is_read(folder, masks, labels, name):
    for image, mask in masks.items():
        grey = np.where(mask > 0, 180, 60).astype(np.uint8)
        write_stack(folder / f"images/{image}.tif", grey[None])
    assert unet("new", folder).exit_code == 0
    (folder / "results/B-measurements.csv").write_text("image\n")
    before = (folder / name).read_bytes()
    (line,) = refusal("evaluate", folder / labels, folder / "results", "-o", folder / name)
    assert ("take another name" in line) or ("need a name like NAME.csv" in line)
    assert (folder / name).read_bytes() == before


def test_regions_by_the_number_of_an_image_with_channels_lie_on_their_slice(folder, masks):
    """ImageJ counts the images of each channel: image 3 of 2 channels is of slice 2."""
    maps = {"a": np.stack([map_of(masks["a"], k) for k in range(3)])}
    write_results(folder / "results", maps)
    rows = "image,axes,channels,label_map\na.tif,ZCYX,2,\n"
    (folder / "results/summary.csv").write_text(rows)
    for path in folder.glob("results/B-*"):
        path.unlink()
    region = ImagejRoi.frompoints([[10, 10], [40, 10], [40, 40], [10, 40]])
    region.position = 3
    (folder / "rois").mkdir()
    roiwrite(folder / "rois/a.zip", [region])
    found = measured(folder / "rois", folder / "results")
    assert found["images"][0]["slices_without_cells"] == [0, 2]


def test_one_file_of_labels_in_zarr_is_one_file(folder, masks):
    zarr = pytest.importorskip("zarr")
    mask = masks["a"]
    array = zarr.create_array(folder / "a.zarr", shape=mask.shape, dtype="u1", chunks=mask.shape)
    array[...] = mask
    assert [row["image"] for row in measured(folder / "a.zarr", folder / "results")["images"]] == [
        "a"
    ]


def test_where_all_is_ignored_that_is_said(folder, maps):
    write_stack(folder / "p.tif", maps["a"])
    words = (folder / "labels/a.tif", folder / "p.tif", "--label-map", "0=ignore,255=ignore")
    (line,) = refusal("evaluate", *words)
    assert line.endswith("labels/a.tif: every pixel is ignored")


def test_folders_of_several_types_are_read_whole(folder, masks, maps):
    for part, stacks in (("maps", maps), ("masks", masks)):
        (folder / part).mkdir()
        one = stacks["a"].reshape(-1, 64, 64)[0]
        tifffile.imwrite(folder / f"{part}/1.tif", one)
        grey = (one * 255).round().astype(np.uint8) if part == "maps" else one
        Image.fromarray(grey).save(folder / f"{part}/2.png")
        tifffile.imwrite(folder / f"{part}/3.tif", one)
    (line,) = refusal("evaluate", folder / "masks", folder / "labels/a.tif")
    assert "3 label pages for the 1 images" in line


def test_damaged_summaries_and_hidden_maps_are_no_bug(folder):
    (folder / "results/summary.csv").write_text("axes,channels\nZCYX,2\n")
    assert measured(folder / "labels", folder / "results")["images"]
    (folder / "mac").mkdir()
    (folder / "mac/summary.csv").write_text("image\na.tif\n")
    (folder / "mac/._a-probability.tif").write_bytes(b"x")
    (line,) = refusal("evaluate", folder / "labels", folder / "mac")
    assert "holds no results" in line


def test_regions_that_lie_by_number_are_told_of(folder, maps):
    write_stack(folder / "p.tif", np.concatenate([maps["a"]] * 2))
    region = ImagejRoi.frompoints([[10, 10], [40, 10], [40, 40], [10, 40]])
    region.position = 2
    roiwrite(folder / "r.zip", [region])
    told = unet("evaluate", folder / "r.zip", folder / "p.tif").stderr
    assert "r.zip: regions lie on images by their number; if the images had channels" in told
