"""The simplest method there is: one threshold on the grey values of the image."""

import numpy as np

from unetcore.metrics import foreground_iou, rand_error

# All that an 8-bit image has, in the type of the images: "above a level" must mean the same here
# and where the threshold is applied.
GREY_LEVELS = np.arange(256, dtype=np.float32) / 255


def best_level_for_membranes(images: np.ndarray, labels: np.ndarray) -> float:
    """Grey level above which pixels are cell interior with the smallest Rand error.

    Parameters
    ----------
    images : (N, H, W) float array in [0, 1].
    labels : (N, H, W) int array, 0 = membrane.

    Returns
    -------
    float in [0, 1], chosen on these very images: the best that any threshold could do.
    """
    return rand_error(labels, images, thresholds=GREY_LEVELS).threshold


def best_level_for_cells(images: np.ndarray, labels: np.ndarray) -> float:
    """Grey level above which pixels are cells with the best foreground IoU; see above."""
    scores = [foreground_iou(labels, images > level) for level in GREY_LEVELS]
    return float(GREY_LEVELS[int(np.argmax(scores))])


def threshold_probability(images: np.ndarray, level: float) -> np.ndarray:
    """Binary probability map of one threshold.

    Parameters
    ----------
    images : (N, H, W) float32 array in [0, 1].
    level : grey level above which pixels are cell interior.

    Returns
    -------
    (N, H, W) float32 array of 0 and 1.
    """
    return (images > level).astype(np.float32)
