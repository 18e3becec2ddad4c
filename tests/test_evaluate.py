"""Metrics by name: the right function with the right arguments, as JSON, and the words for it."""

import dataclasses
import json

import numpy as np
import pytest

from unetcore import metrics
from unetcore.data.frames import Frame
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
    assert set(found[name]) == {"value", "threshold", "thresholds", "values"}
    for key, value in found[name].items():
        np.testing.assert_array_equal(value, expected[key])
    assert json.loads(json.dumps(found)) == found  # plain values


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
