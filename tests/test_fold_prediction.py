"""What is recorded of the prediction of a fold, beside its maps."""

import numpy as np
import pytest
import torch

from unetcore import fold_prediction
from unetcore.data.frames import Frame
from unetcore.fold_prediction import predict_frames
from unetcore.sliding_window import SlidingWindow
from unetcore.window_by_window import OneByOne

PREDICTION = {"memory_mb": 500, "tile": None, "single_windows": 24}


def windows(seed=0):
    """Small sliding window whose scores differ from pixel to pixel."""
    generator = torch.Generator().manual_seed(seed)
    network = SlidingWindow(width=4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return network.eval()


def predict(n=2, precision="float32", side=20):
    grey = np.random.default_rng(0).uniform(size=(n, side, side)).astype(np.float32)
    frames = [Frame(index, f"train-{index}", "train", True, False, "train") for index in range(n)]
    return predict_frames(
        grey,
        frames,
        (windows(), {"training": {"normalisation": "slice"}}),
        averaging="none",
        prediction=PREDICTION | {"precision": precision},
        device="cpu",
        code="c",
    )


def test_time_of_a_frame_is_the_median_and_not_that_of_starting_up(monkeypatch):
    """The clock is read before and after each frame: 9 s for the first, then 2, 1 and 2 s."""
    clock = iter([0, 9, 10, 12, 20, 21, 30, 32, *range(100, 200)])
    monkeypatch.setattr(fold_prediction.time, "perf_counter", lambda: next(clock))
    _, record = predict(n=4)
    assert record["seconds_per_frame"] == 2


def test_single_windows_are_timed_in_the_precision_of_the_maps(monkeypatch):
    def found(images, maps, predictor, n, rng):
        seconds, difference = {"float32": (1.0, 0.25), "bfloat16": (2.0, 0.5)}[predictor.precision]
        return OneByOne(n, seconds, difference)

    monkeypatch.setattr(fold_prediction, "classify_one_by_one", found)
    for precision, seconds in (("float32", 1.0), ("bfloat16", 2.0)):
        _, record = predict(precision=precision)
        assert record["one_by_one"]["seconds_per_window"] == seconds
        assert record["one_by_one"]["largest_difference"] == 0.25


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_single_windows_are_compared_with_all_at_once_in_float32(precision):
    maps, record = predict(precision=precision)
    assert record["prediction_precision"] == precision
    assert record["one_by_one"]["windows"] == 24
    assert record["one_by_one"]["largest_difference"] < 1e-6
    exact, _ = predict()
    assert maps.std() > 0.01
    if precision == "bfloat16":  # whose maps themselves are further off
        assert 1e-4 < np.abs(maps - exact).max() < 0.1
