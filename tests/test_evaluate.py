"""Metrics by name: the right function with the right arguments, as JSON, and the words for it."""

import dataclasses
import json

import evaluate as script
import numpy as np
import pytest

from unetcore import metrics
from unetcore.data.frames import Frame, write_frames
from unetcore.data.io import write_stack
from unetcore.errors import InputError
from unetcore.evaluate import OF_CELLS, OF_MEMBRANES, evaluate, measured_on


@pytest.fixture(scope="module")
def membranes():
    """Two slices of three cells, and a probability map with noise and one hole in a membrane."""
    labels = np.full((2, 20, 31), 255, np.uint8)
    labels[:, :, [10, 20]] = 0
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, labels.shape)
    probability = np.where(labels > 0, 0.7, 0.3) + noise
    probability[0, 8:12, 10] = 0.95
    return labels, probability.clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("name", OF_MEMBRANES)
def test_metrics_of_membranes_are_those_of_their_functions(membranes, name):
    labels, probability = membranes
    found = evaluate([name], labels, probability)
    expected = dataclasses.asdict(getattr(metrics, name)(labels, probability))
    assert list(found) == [name]
    places = {"splits", "mergers"} & set(expected)
    assert set(found[name]) == {"value", "threshold", "thresholds", "values"} | places
    for key in set(found[name]) - places:
        np.testing.assert_array_equal(found[name][key], expected[key])
    for kind in places:
        assert found[name][kind]["n"] == expected[kind]["n"]
    assert json.loads(json.dumps(found)) == found  # plain values


@pytest.mark.parametrize("names", [OF_MEMBRANES, ["v_info"], ["v_info", "pixel_error", "v_rand"]])
def test_metrics_together_equal_those_alone_on_any_number_of_threads(membranes, names):
    together = evaluate(names, *membranes, threads=2)
    assert together == {name: evaluate([name], *membranes)[name] for name in names}


def test_scores_that_need_thinning_share_it(membranes, monkeypatch):
    asked = []
    thinned_scores = metrics.thinned_scores

    def counted(*pair, names, **named):
        asked.append(list(names))
        return thinned_scores(*pair, names=names, **named)

    monkeypatch.setattr(metrics, "thinned_scores", counted)
    evaluate(OF_MEMBRANES, *membranes)
    assert asked == [["v_rand", "v_info"]]


def test_places_of_errors_are_named():
    """Two cells of 9 px run together: 2 x 9 x 9 pairs are wrong; the wall of 3 px has to stay."""
    labels = np.array([[[1, 1, 1, 0, 1, 1, 1]] * 3])
    found = evaluate(["warping_error", "rand_error"], labels, np.ones(labels.shape))
    nothing = {"n": 0, "largest": [], "left_out": 0}
    place = {"z": 0, "y": 1, "x": 3, "pixels": 3}
    assert found["warping_error"]["mergers"] == {"n": 1, "largest": [place], "left_out": 0}
    parts = [{"y": 0, "x": 0, "pixels": 9}, {"y": 0, "x": 4, "pixels": 9}]
    place = {"z": 0, "parts": parts, "n_parts": 2, "pixels": 18, "pairs": 162}
    assert found["rand_error"]["mergers"] == {"n": 1, "largest": [place], "left_out": 0}
    assert found["warping_error"]["splits"] == found["rand_error"]["splits"] == nothing


def test_places_are_capped_and_the_rest_is_counted():
    """Fifty cells, each cut in two."""
    labels = np.zeros((1, 100, 9), np.uint8)
    labels[:, 1::2, 1:8] = 1
    probability = labels * 1.0
    probability[:, :, 4] = 0
    for result in evaluate(["warping_error", "rand_error"], labels, probability).values():
        splits = result["splits"]
        assert (splits["n"], len(splits["largest"]), splits["left_out"]) == (50, 20, 30)


def test_refusals_name_the_file():
    def named(shape, value):
        pair = np.zeros((1, 3, 3)), np.full(shape, value)
        return map(metrics.Slices, pair, ("gold.tif", "p.tif"))

    with pytest.raises(InputError, match=r"^gold\.tif, slice 0: no white pixel"):
        evaluate(["v_rand"], *named((1, 3, 3), 0.5))
    with pytest.raises(InputError, match=r"^p\.tif, slice 0: 3.0 at y = 0"):
        evaluate(["pixel_error"], *named((1, 3, 3), 3.0))
    with pytest.raises(InputError, match=r"^gold\.tif \(1, 3, 3\) and p\.tif \(1, 3, 4\): the"):
        evaluate(["pixel_error"], *named((1, 3, 4), 0.5))
    reference, cells = named((1, 3, 3), -1)
    with pytest.raises(InputError, match=r"^p\.tif, slice 0: -1 at y = 0"):
        evaluate(["seg"], reference, None, segmentation=cells)


class OnDisk:
    """A stack that gives only single slices, and has no length, as an array in a file."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, z):
        assert isinstance(z, int), f"{z!r} is not one slice"
        return self._array[z]


@pytest.mark.parametrize("kind", [OnDisk, np.ndarray.tolist, "zarr"])
def test_stacks_are_what_the_metrics_take(membranes, kind):
    if kind == "zarr":
        kind = pytest.importorskip("zarr", reason="Zarr is not installed").array
    names = ["pixel_error", "seg", "iou"]
    labels, probability = membranes
    cells = (probability > 0.5).astype(np.uint16)
    complete = [False, True]
    expected = evaluate(names, labels, probability, segmentation=cells, complete=complete)
    pair = kind(labels), kind(probability)
    assert evaluate(names, *pair, segmentation=kind(cells), complete=complete) == expected


def test_complete_is_one_bool_per_frame_and_asked_for_by_iou_alone(membranes):
    labels, _ = membranes
    named = {"segmentation": labels, "complete": [True]}
    with pytest.raises(InputError, match=r"^complete, bool of shape .* the 2 frames"):
        evaluate(["iou"], labels, None, **named)
    assert evaluate(["seg"], labels, None, **named) == {"seg": {"value": 1}}


def test_names_are_checked_before_anything_is_computed(membranes, monkeypatch):
    monkeypatch.setattr(metrics, "pixel_error", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(InputError, match="metric 'dice'"):
        evaluate(["pixel_error", "dice"], *membranes)
    with pytest.raises(InputError, match="metric 'seg' compares cells"):
        evaluate(["pixel_error", "seg"], *membranes)


def test_every_metric_gets_the_threads(membranes, monkeypatch):
    given = []

    def recording(metric):
        def recorded(*pair, threads, **named):
            given.append(threads)
            return metric(*pair, **named)

        return recorded

    for name in ("warping_error", "rand_error", "pixel_error", "thinned_scores"):
        monkeypatch.setattr(metrics, name, recording(getattr(metrics, name)))
    evaluate(OF_MEMBRANES, *membranes, threads=3)
    assert given == [3, 3, 3, 3]


def test_metrics_come_in_the_order_asked_for(membranes):
    names = ["rand_error", "pixel_error"]
    assert list(evaluate(names, *membranes)) == names
    assert evaluate([], *membranes) == {}


def test_metrics_of_cells_compare_reference_and_segmentation():
    # Of a cell of 4 px two are found, and 1 px more: IoU 2/5. SEG counts a cell only if more than
    # half of it is found, here the second one: 3 of 4 px, (0 + 3/4) / 2.
    labels = np.array([[[1, 1, 1, 1, 0, 0, 2, 2, 2, 2]]])
    segmentation = np.array([[[0, 0, 5, 5, 5, 0, 7, 7, 7, 0]]], np.uint16)
    found = evaluate(OF_CELLS, labels, np.zeros(labels.shape), segmentation=segmentation)
    assert found["seg"] == {"value": 0.375}
    assert found["iou"] == {"value": pytest.approx(5 / 9)}
    swapped = evaluate(["seg"], segmentation, np.zeros(labels.shape), segmentation=labels)
    assert swapped["seg"] == {"value": pytest.approx((2 / 5 + 3 / 4) / 2)}
    assert json.loads(json.dumps(found)) == found


def test_iou_leaves_out_frames_of_which_only_some_cells_are_labelled():
    # Two frames, two cells found in each; in the second only one of them is labelled.
    cells = np.array([[1, 1, 0, 2, 2]])
    labels = np.stack([cells, np.where(cells == 1, 1, 0)])
    segmentation = np.stack([cells, cells]).astype(np.uint16)
    nothing = np.zeros(labels.shape)
    partial = {"segmentation": segmentation, "complete": [True, False]}
    assert evaluate(["iou"], labels, nothing, **partial)["iou"]["value"] == 1
    whole = evaluate(["iou"], labels, nothing, segmentation=segmentation)["iou"]["value"]
    assert whole == pytest.approx(6 / 8)
    assert evaluate(["seg"], labels, nothing, **partial)["seg"]["value"] == 1


def test_unknown_metric_is_refused(membranes):
    with pytest.raises(InputError, match=r"metric 'dice': need one of warping_error, .*, seg, iou"):
        evaluate(["dice"], *membranes)


@pytest.mark.parametrize("name", OF_CELLS)
def test_metric_of_cells_needs_a_segmentation(membranes, name):
    with pytest.raises(
        InputError, match=f"metric '{name}' compares cells: it needs a segmentation"
    ):
        evaluate([name], *membranes)


@pytest.fixture
def fold(tmp_path):
    """What `main` of the script takes, for the last two of three frames, the middle one empty."""
    labels = np.zeros((3, 4, 9), np.uint8)
    labels[:, :, :3] = 255
    labels[1] = 0
    frames = [Frame(i, f"t{i}", f"{i > 0:d}", True, i == 1, "train") for i in range(3)]
    write_frames(tmp_path / "frames.csv", frames)
    write_stack(tmp_path / "labels.tif", labels)
    write_stack(tmp_path / "probability.tif", (labels[1:] / 255).astype(np.float32))
    write_stack(tmp_path / "cells.tif", labels[1:])
    (tmp_path / "prediction.json").write_text("{}")
    return {
        **{name: tmp_path / f"{name}.tif" for name in ("labels", "probability")},
        "frames": tmp_path / "frames.csv",
        "segmentation": tmp_path / "cells.tif",
        "training": None,
        "prediction": tmp_path / "prediction.json",
        "metrics": tmp_path / "metrics.json",
        **{name: "x" for name in ("experiment", "dataset", "title", "method")},
        "split": {"by": "sequence"},
        "fold": "1",
    }


def test_script_evaluates_the_frames_of_a_fold(fold):
    script.main(**fold, names=["pixel_error", "iou"])
    result = json.loads(fold["metrics"].read_text())
    assert result["frames"] == ["t1", "t2"]
    assert result["metrics"]["pixel_error"]["value"] == 0
    assert result["metrics"]["iou"]["value"] == 1


def test_script_names_file_and_frame(fold):
    with pytest.raises(InputError, match=r"/labels\.tif, frame t1: no white pixel"):
        script.main(**fold, names=["rand_error"])
    write_stack(fold["segmentation"], np.zeros((2, 5, 9), np.uint8))
    with pytest.raises(InputError, match=r"labels\.tif \(2, 4, 9\) and .*cells\.tif \(2, 5, 9\)"):
        script.main(**fold, names=["seg"])
    write_stack(fold["probability"], np.zeros((3, 4, 9), np.float32))
    with pytest.raises(InputError, match=r"/probability\.tif: 3 slices for 2 frames"):
        script.main(**fold, names=["pixel_error"])


def test_script_passes_its_threads(fold, monkeypatch):
    given = []
    monkeypatch.setattr(script, "evaluate", lambda *_, threads, **__: given.append(threads) or {})
    script.main(**fold, names=[], threads=2)
    assert given == [2]


FRAMES = [
    *(Frame(i, f"train-{i:02}", "train", True, False, "train") for i in range(6)),
    Frame(6, "train-06", "train", False, False, "train"),
    *(Frame(7 + i, f"test-{i:02}", "test", True, False, "test") for i in range(4)),
]


def test_words_for_blocks_are_the_same_for_every_fold():
    expected = "cross-validation on the 6 labelled training slices, 3 contiguous blocks"
    assert measured_on(FRAMES, {"blocks": 3}, "0") == expected
    assert measured_on(FRAMES, {"blocks": 3}, "2") == expected


def test_words_for_the_test_slices():
    assert measured_on(FRAMES, {"blocks": 3}, "official") == "the 4 test slices"


def test_words_for_sequences():
    expected = (
        "labelled training frames (6 in all), trained on one sequence and tested on the other"
    )
    assert measured_on(FRAMES, {"by": "sequence"}, "01") == expected


@pytest.mark.parametrize("name", OF_MEMBRANES)
def test_what_is_ignored_counts_nowhere(membranes, name):
    """The upper half as if it were not there: whatever is said of it, the values are the same."""
    labels, probability = membranes
    ignored = np.zeros(labels.shape, bool)
    ignored[:, :10] = True
    rng = np.random.default_rng(1)
    other_labels = np.where(ignored, rng.integers(0, 2, labels.shape), labels)
    other = np.where(ignored, rng.random(labels.shape), probability).astype(np.float32)
    found = evaluate([name], labels, probability, ignored=ignored)[name]
    assert evaluate([name], other_labels, other, ignored=ignored)[name] == found
    assert found["value"] != evaluate([name], other_labels, other)[name]["value"]


@pytest.mark.parametrize("name", ["warping_error", "rand_error", "pixel_error"])
def test_metrics_of_a_known_half_are_those_of_its_crop(membranes, name):
    """A row of membrane around the half, which both sides have, changes no count."""
    labels, probability = (array.copy() for array in membranes)
    labels[:, 9:11], probability[:, 9:11] = 0, 0
    ignored = np.zeros(labels.shape, bool)
    ignored[:, :10] = True
    found = evaluate([name], labels, probability, ignored=ignored)[name]
    expected = evaluate([name], labels[:, 10:], probability[:, 10:])[name]
    np.testing.assert_allclose(found["values"], expected["values"])
    assert found["threshold"] == expected["threshold"]


def test_cells_are_compared_where_they_are_known():
    reference = np.array([[[1, 1, 1, 1, 0, 2, 2]]])
    segments = np.array([[[5, 5, 0, 0, 0, 6, 0]]])
    ignored = np.array([[[False, False, True, True, False, False, False]]])
    found = evaluate(OF_CELLS, reference, None, segmentation=segments, ignored=ignored)
    assert found["seg"]["value"] == 0.5  # 2 of 2 px, and a half is not enough
    assert found["iou"]["value"] == 3 / 4
    with pytest.raises(InputError, match="ignored pixels"):
        evaluate(OF_CELLS, reference, None, segmentation=segments, ignored=ignored[:, :, 1:])
