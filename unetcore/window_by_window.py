"""The sliding window as it was used: one window after the other, timed and compared."""

import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch

from unetcore.geometry import mirror_index
from unetcore.predict import Predictor, softmax
from unetcore.settings import WINDOW, WINDOW_HALO

AT_ONCE = 64  # windows of a call; nothing is shared between them


@dataclass(frozen=True)
class OneByOne:
    """What came of classifying some pixels by their windows, one by one.

    Attributes
    ----------
    windows : how many.
    seconds_per_window : time for each, median over calls.
    largest_difference : between their probabilities and those of all windows at once.
    """

    windows: int
    seconds_per_window: float
    largest_difference: float


def classify_one_by_one(
    images: np.ndarray,
    probability: np.ndarray,
    predictor: Predictor,
    n: int,
    rng: np.random.Generator,
) -> OneByOne:
    """Classify randomly drawn pixels by their windows, and compare with what is known of them.

    Parameters
    ----------
    images : (N, H, W) float32 array, normalised as in training; the context is mirrored.
    probability : (N, H, W) array, of class 1, from evaluating all windows at once.
    predictor : of a sliding window; its network, device and precision are taken.
    n : number of pixels.
    rng : draws the pixels.

    Returns
    -------
    OneByOne. Cutting windows out is not timed, their way to a GPU and back is.
    """
    places = np.stack([rng.integers(side, size=n) for side in images.shape], axis=1)
    seconds, largest = [], 0.0
    for some in np.array_split(places, -(-n // AT_ONCE)):
        windows = np.stack([window(images[z], row, column) for z, row, column in some])[:, None]
        started = time.perf_counter()
        scores = _scores(predictor, windows)  # (K, n) as softmax wants classes first
        seconds.append((time.perf_counter() - started) / len(windows))
        known = probability[tuple(some.T)]
        largest = max(largest, float(np.abs(softmax(scores)[1] - known).max()))
    return OneByOne(n, statistics.median(seconds), largest)


def window(image: np.ndarray, row: int, column: int) -> np.ndarray:
    """Cut the window (95, 95) around a pixel of an image (H, W), which is mirrored beyond."""
    rows, columns = (
        mirror_index(at - WINDOW_HALO, at - WINDOW_HALO + WINDOW, side)
        for at, side in zip((row, column), image.shape, strict=True)
    )
    return image[np.ix_(rows, columns)]


@torch.inference_mode()
def _scores(predictor, windows):
    batch = torch.as_tensor(windows, dtype=predictor.dtype, device=predictor.device)
    scores = predictor.network(batch.contiguous(memory_format=torch.channels_last))
    return scores[..., 0, 0].float().cpu().numpy().T
