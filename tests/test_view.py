"""The page to look at predictions, without a browser: what it holds, and what is refused."""

import base64
import json
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_stacks import make_zarr
from typer.testing import CliRunner

from unetcore import cli
from unetcore.data.io import write_stack
from unetcore.data.ome_zarr import write_image
from unetcore.data.phantom_em import draw_sections
from unetcore.data.pictures import read_picture, write_like
from unetcore.data.png_jpeg import write_png
from unetcore.data.stacks import Scale
from unetcore.errors import InputError
from unetcore.evaluate import OF_MEMBRANES, evaluate
from unetcore.view import LEVELS, write_view
from unetcore.view.pixels import (
    BELOW,
    IGNORED,
    RIGHT,
    as_grey,
    contrast,
    levels,
    mean_of_blocks,
    middle_of_blocks,
    outlines,
    packed,
    two_bytes,
)

ROOT = Path(__file__).resolve().parents[1]


def data_of(path):
    """What a page holds, as its program reads it."""
    found = re.search(r'id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    return json.loads(found[1])


def unpacked(text, *shape):
    """What `packed` packed, undone step by step."""
    differences = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(shape)
    return np.cumsum(differences, axis=-1, dtype=np.uint8)


@pytest.fixture(scope="module")
def stack():
    """Four sections with labels and a noisy probability."""
    rng = np.random.default_rng(0)
    images, labels = draw_sections(rng, 4, 80)
    noise = rng.normal(0, 0.15, labels.shape)
    probability = (np.where(labels > 0, 0.75, 0.25) + noise).clip(0, 1).astype(np.float32)
    probability[:, 40:43] = 0.05  # splits the cells that it crosses
    return images, labels, probability


def test_levels_are_the_map_at_every_threshold_of_the_page():
    rng = np.random.default_rng(0)
    exact = np.arange(256, dtype=np.float32) / np.float32(255)  # maps of 8 bits hit thresholds
    p = np.concatenate([rng.random(20000, np.float32), exact, np.float32(np.arange(201) / 200)])
    found = levels(p)
    for k in range(LEVELS + 1):
        np.testing.assert_array_equal(found > k, p > k / LEVELS)


def test_outlines_lie_between_pixels_of_different_labels_and_end_at_what_is_ignored():
    labels = np.array([[1, 1, 2], [1, 0, 2]])
    assert outlines(labels).tolist() == [[0, RIGHT + BELOW, 0], [RIGHT, RIGHT, 0]]
    ignored = np.array([[False, False, True], [False, False, True]])
    assert outlines(labels, ignored).tolist() == [[0, BELOW, IGNORED], [RIGHT, 0, IGNORED]]


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2, 5, 4)])
def test_packed_planes_come_back(shape):
    planes = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(unpacked(packed(planes), *shape), planes)


def test_two_bytes_hold_large_ids():
    ids = np.array([[0, 255, 256, 65535]], np.uint16)
    low, high = two_bytes(ids).astype(int)
    assert (low + 256 * high).tolist() == ids.tolist()


def test_contrast_is_of_all_slices_and_by_channel():
    images = [np.full((2, 10, 10), value, np.uint16) for value in (100, 300)]
    images[0][1], images[1][1] = 7, 7  # a channel of one value is no error
    ranges = contrast(images)
    assert ranges == [(100, 300), (7, 7)]
    assert (
        as_grey(images[0] + np.uint16(100), ranges)[0].tolist() == np.full((10, 10), 128).tolist()
    )


def test_reduction_takes_means_and_the_label_in_the_middle():
    image = np.arange(20, dtype=np.uint8).reshape(4, 5)
    assert mean_of_blocks(image, 2).tolist() == [[3, 5], [13, 15]]  # the last column is left out
    assert middle_of_blocks(image, 2).tolist() == [[6, 8], [16, 18]]
    assert mean_of_blocks(image, 1) is image


def test_page_holds_every_slice_and_what_was_measured(stack, tmp_path):
    images, labels, probability = stack
    metrics = evaluate(OF_MEMBRANES, labels, probability)
    page = tmp_path / "folder/view.html"
    shown = write_view(page, images, probability, labels=labels, metrics=metrics, threshold=0.4)
    assert (shown.pages, shown.n_slices, shown.factor) == ((0, 1, 2, 3), 4, 1)
    assert shown.n_bytes == page.stat().st_size
    data = data_of(page)
    assert (data["width"], data["height"], data["threshold"]) == (80, 80, 0.4)
    for z, found in enumerate(data["slices"]):
        np.testing.assert_array_equal(
            unpacked(found["level"], 80, 80) > 80, probability[z] > np.float32(0.4)
        )
    assert [curve["name"] for curve in data["curves"]] == list(OF_MEMBRANES)
    for curve in data["curves"]:
        for key in ("value", "threshold", "thresholds", "values"):
            assert curve[key] == metrics[curve["name"]][key]
    assert set(data["places"]) == {"warping_error", "rand_error"}
    for name, found in data["places"].items():
        for kind in ("splits", "mergers"):
            assert found[kind]["n"] == metrics[name][kind]["n"]
            assert len(found[kind]["shown"]) == len(metrics[name][kind]["largest"])


def test_places_of_slices_that_are_not_shown_are_left_out_and_the_others_stay_in_place(
    stack, tmp_path
):
    images, labels, probability = stack
    metrics = evaluate(["warping_error"], labels, probability)
    page = tmp_path / "view.html"
    write_view(page, images, probability, metrics=metrics, pages=[3, 1], max_side=40)
    data = data_of(page)
    assert (data["width"], data["factor"], data["nSlices"]) == (40, 2, 4)
    assert [found["z"] for found in data["slices"]] == [3, 1]
    for kind in ("splits", "mergers"):
        places = [p for p in metrics["warping_error"][kind]["largest"] if p["z"] in (1, 3)]
        assert places, kind
        assert data["places"]["warping_error"][kind]["shown"] == [
            {
                "slice": [3, 1].index(p["z"]),
                "points": [[p["y"] / 2, p["x"] / 2]],
                "pixels": p["pixels"],
            }
            for p in places
        ]


def test_slices_are_spread_evenly_where_the_file_would_be_too_large(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 128, 128), dtype=np.uint8)  # noise cannot be compressed
    probability = np.zeros(images.shape, np.float32)
    page = tmp_path / "view.html"
    whole = write_view(page, images, probability)
    assert whole.pages == tuple(range(10))
    some = write_view(page, images, probability, max_bytes=whole.n_bytes - 90_000)
    assert some.n_bytes <= whole.n_bytes - 90_000
    assert 4 <= len(some.pages) < 10
    assert set(np.diff(some.pages)) <= {1, 2}
    assert data_of(page)["nWanted"] == 10
    assert write_view(page, images, probability, max_bytes=1).pages == (0,)


def test_colour_is_of_the_first_three_channels_and_two_channels_are_grey(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1, 4, 20, 30), dtype=np.uint8)
    probability = np.zeros((1, 20, 30), np.float32)
    page = tmp_path / "view.html"
    for n_channels, n_shown in ((4, 3), (3, 3), (2, 1), (1, 1)):
        write_view(page, images[:, :n_channels], probability)
        shown = unpacked(data_of(page)["slices"][0]["image"], n_shown, 20, 30)
        assert np.corrcoef(shown[-1].ravel(), images[0, n_shown - 1].ravel())[0, 1] > 0.99


def test_titles_and_names_cannot_break_out_of_the_page(tmp_path):
    page = tmp_path / "view.html"
    evil = "</script><b>&{{data}}"
    write_view(
        page, np.zeros((1, 9, 9)), np.zeros((1, 9, 9)), title=evil, names=[evil], remark=evil
    )
    text = page.read_text("utf-8")
    assert "<b>" not in text
    assert text.count("</script>") == 2
    assert data_of(page)["slices"][0]["name"] == evil


def test_page_asks_for_nothing_by_itself(stack, tmp_path):
    page = tmp_path / "view.html"
    write_view(page, stack[0], stack[2])
    text = page.read_text("utf-8")
    assert "default-src 'none'" in text
    assert (
        re.findall(r"(?:src|href)=|@import|url\(|fetch\(|https?://(?!www\.w3\.org/2000/svg)", text)
        == []
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": np.zeros((1, 9, 8), int)}, r"labels \(1, 9, 8\) and probability \(1, 9, 9\)"),
        ({"pages": [1]}, r"slices \[1\], counted from 0: the stack has 1"),
        ({"pages": []}, r"slices \[\]"),
        ({"segmentation": np.full((1, 9, 9), 70000)}, "id 70000, need at most 65535"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        write_view(tmp_path / "view.html", np.zeros((1, 9, 9)), np.zeros((1, 9, 9)), **change)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_wheel_holds_the_files_that_the_browser_runs(tmp_path):
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, tmp_path)
    shutil.copytree(ROOT / "unetcore", tmp_path / "unetcore")
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", "dist"], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    there = set(zipfile.ZipFile(wheel).namelist())
    files = [p for p in (ROOT / "unetcore/view").iterdir() if p.suffix in (".html", ".css", ".js")]
    assert len(files) == 7
    assert {f"unetcore/view/{path.name}" for path in files} <= there


@pytest.fixture
def files(stack, tmp_path, monkeypatch):
    """Folder with the stack as files, which is also the working directory."""
    for name, array in zip(("images", "labels", "probability"), stack, strict=True):
        write_stack(tmp_path / f"{name}.tif", array)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def view(*words):
    result = CliRunner().invoke(cli.app, ["view", *words, "-o", "view.html"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_command_writes_a_page_with_metrics_of_all_slices(files, stack):
    result = view("images.tif", "probability.tif", "--labels", "labels.tif", "--slices", "2-3")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("view.html: 2 slices, 0.")
    data = data_of(files / "view.html")
    assert [found["z"] for found in data["slices"]] == [1, 2]
    measured = evaluate(OF_MEMBRANES, stack[1], stack[2])
    assert [c["values"] for c in data["curves"]] == [measured[n]["values"] for n in OF_MEMBRANES]


def test_command_takes_cells_and_says_their_scores(files):
    cells = np.where(np.indices((4, 80, 80))[2] < 40, 1, 2).astype(np.uint16)
    cells[..., 38:42] = 0
    write_stack(files / "cells.tif", cells)
    view("images.tif", "probability.tif", "--segmentation", "cells.tif", "--labels", "cells.tif")
    data = data_of(files / "view.html")
    assert [score["value"] for score in data["scores"]] == [1, 1]
    low, high = unpacked(data["slices"][0]["cells"], 2, 80, 80)
    np.testing.assert_array_equal(low, cells[0])
    assert not high.any()


def test_command_takes_what_predict_takes_and_knows_the_size_of_pixels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    write_png(Path("colour.png"), rng.integers(0, 256, (80, 70, 3), dtype=np.uint8), 0.25)
    probability = rng.random((1, 80, 70), np.float32)
    like = replace(read_picture(Path("colour.png")), kind="imagej")
    write_like(Path("map.tif"), probability, like)
    write_png(Path("labels.png"), np.where(probability[0] > 0.5, 2, 1).astype(np.uint8), None)
    meaning = "1=background,2=cell"
    result = view("colour.png", "map.tif", "--labels", "labels.png", "--label-map", meaning)
    assert result.exit_code == 0, result.output
    data = data_of(tmp_path / "view.html")
    assert data["pixelSize"] == pytest.approx(0.25, rel=1e-3)
    assert unpacked(data["slices"][0]["image"], 3, 80, 70).shape == (3, 80, 70)
    pixel_error = next(c for c in data["curves"] if c["name"] == "pixel_error")
    assert pixel_error["value"] == 0  # at 0.5 the map is the labels


def test_command_takes_a_folder_of_pictures_and_hatches_what_is_ignored(files, stack):
    images, labels, probability = stack
    for folder in ("pictures", "known"):
        (files / folder).mkdir()
    for z in range(4):
        write_png(files / f"pictures/{z}.png", images[z], None)
        page = labels[z].copy()
        page[:30, :20] = 7
        write_png(files / f"known/{z}.png", page, None)
    result = view("pictures", "probability.tif", "--labels", "known", "--ignore-label", "7")
    assert result.exit_code == 0, result.output
    data = data_of(files / "view.html")
    bits = unpacked(data["slices"][3]["reference"], 80, 80)
    assert ((bits & IGNORED) > 0).sum() == 600
    ignored = np.zeros(labels.shape, bool)
    ignored[:, :30, :20] = True
    expected = evaluate(["pixel_error"], labels * ~ignored, probability, ignored=ignored)
    found = next(c for c in data["curves"] if c["name"] == "pixel_error")
    assert found["values"] == expected["pixel_error"]["values"]


def test_command_reads_ome_zarr_where_it_is_shown(files, stack):
    scale = Scale((1.0, 0.5, 0.5), "micrometer")
    write_image(files / "images.zarr", stack[0], "zyx", scale)
    write_image(files / "map.zarr", stack[2], "zyx", scale)
    result = view("images.zarr", "map.zarr", "--slices", "4")
    assert result.exit_code == 0, result.output
    data = data_of(files / "view.html")
    assert data["pixelSize"] == 0.5
    np.testing.assert_array_equal(
        unpacked(data["slices"][0]["level"], 80, 80) > 100, stack[2][3] > np.float32(0.5)
    )


def test_command_reads_channels_where_they_are_shown(files, stack, monkeypatch):
    colours = np.stack([stack[0], stack[0] // 2, 255 - stack[0]], axis=1)
    make_zarr(files / "images.zarr", colours, "zcyx", "0.4", chunks=(1, 1, 40, 40))
    write_image(files / "map.zarr", stack[2], "zyx", Scale())
    with monkeypatch.context() as patch:
        patch.setattr("unetcore.view.reading.read_pictures", lambda path: pytest.fail("as one"))
        result = view("images.zarr", "map.zarr", "--slices", "4")
    assert result.exit_code == 0, result.output
    (shown,) = data_of(files / "view.html")["slices"]
    planes = unpacked(shown["image"], 3, 80, 80).astype(int)
    np.testing.assert_allclose(planes[0], 255 - planes[2], atol=1)
    result = view("images.zarr", "images.zarr")
    assert result.stderr == "error: images.zarr: 3 channels, expected one\n"


def test_labels_that_cannot_be_measured_still_give_a_page_that_says_so(files, stack):
    labels = stack[1].copy()
    labels[2] = 0
    write_stack(files / "empty.tif", labels)
    result = view("images.tif", "probability.tif", "--labels", "empty.tif")
    assert result.exit_code == 0
    assert result.stderr.startswith("no metrics: empty.tif, slice 2")
    data = data_of(files / "view.html")
    assert data["curves"] == []
    assert data["remark"].startswith("There are no metrics: empty.tif, slice 2")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["none.tif", "probability.tif"], "none.tif: no such file"),
        (
            ["images.tif", "images.tif", "--slices", "3-9"],
            "one number, within 1 and 4",
        ),
        (["images.tif", "images.tif", "--slices", "two"], "--slices two: need FIRST-LAST"),
        (["images.tif", "images.tif", "--slices", "0"], "--slices 0: need FIRST-LAST"),
        (
            ["few.tif", "probability.tif"],
            "few.tif: 1 x 80 x 80 (slices, height, width), ",
        ),
        (["nan.tif", "probability.tif"], "nan.tif: 1 value"),
        (["images.tif", "large.tif"], "large.tif: float values from 0 to 2"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_page(files, stack, words, line):
    write_stack(files / "few.tif", stack[0][:1])
    bad = np.zeros((4, 80, 80), np.float32)
    bad[0, 0, 0] = np.nan
    write_stack(files / "nan.tif", bad)
    bad[0, 0, 0] = 2
    write_stack(files / "large.tif", bad)
    result = view(*words)
    assert result.exit_code == 2
    (said,) = result.stderr.splitlines()
    assert line in said
    assert not (files / "view.html").exists()
