"""The simplest method there is: one threshold on the grey values of the image."""

from dataclasses import dataclass

import numpy as np

from unetcore.labels import IGNORED, known_labels
from unetcore.metrics import foreground_iou, rand_error

# All that an 8-bit image has, in the type of the images: "above a level" must mean the same here
# and where the threshold is applied.
GREY_LEVELS = np.arange(256, dtype=np.float32) / 255


def best_level_for_membranes(
    images: np.ndarray, labels: np.ndarray, levels: np.ndarray = GREY_LEVELS
) -> float:
    """Grey level above which pixels are cell interior with the smallest Rand error.

    Parameters
    ----------
    images : (N, H, W) float array in [0, 1].
    labels : (N, H, W) int array, 0 = membrane.
    levels : those that are tried, ascending.

    Returns
    -------
    float in [0, 1], chosen on these very images: the best that any threshold could do.
    """
    return rand_error(labels, images, thresholds=levels).threshold


def best_level_for_cells(
    images: np.ndarray, labels: np.ndarray, levels: np.ndarray = GREY_LEVELS
) -> float:
    """Grey level above which pixels are cells with the best foreground IoU; see above."""
    scores = [foreground_iou(labels, images > level) for level in levels]
    return float(levels[int(np.argmax(scores))])


def levels_of(images: np.ndarray) -> np.ndarray:
    """Grey levels that tell images apart, whatever part of their scale these use.

    Returns
    -------
    (n,) float32 array, ascending: all values that occur, or, where they are more than 256, as many
    that have about as many pixels between them.
    """
    values = np.unique(images)
    if len(values) <= len(GREY_LEVELS):
        return values.astype(np.float32)
    shares = np.linspace(0, 1, len(GREY_LEVELS))
    return np.unique(np.quantile(images, shares, method="nearest").astype(np.float32))


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


@dataclass(frozen=True)
class Threshold:
    """A grey level, and on which side of it cells are.

    Attributes
    ----------
    level : float in [0, 1].
    is_dark : whether cells are what is dark: then the level is one of the inverted image.
    """

    level: float
    is_dark: bool = False

    def __str__(self) -> str:
        return f"{'below' if self.is_dark else 'above'} grey level {self._as_seen():.3f}"

    def probability(self, images: np.ndarray) -> np.ndarray:
        """Binary probability map of images, see `threshold_probability`."""
        return threshold_probability(inverted(images) if self.is_dark else images, self.level)

    def described(self) -> dict:
        """What goes on record, as plain JSON values."""
        dark = {"cells_are_dark": True} if self.is_dark else {}
        return {"grey_level": round(self._as_seen(), 4), **dark}

    def _as_seen(self) -> float:
        return 1 - self.level if self.is_dark else self.level


def best_threshold(
    images: np.ndarray, labels: np.ndarray, *, cells: bool, either_way: bool
) -> Threshold:
    """Best threshold on these very images.

    Parameters
    ----------
    images : (N, H, W) float32 array in [0, 1].
    labels : (N, H, W) int array, 0 = background, `unetcore.labels.IGNORED` = not known.
    cells : whether the best foreground IoU is wanted, and not the smallest Rand error.
    either_way : whether cells may also be what is darker than the rest, and the levels are those of
        the images, not the 256 of their number type: for images of people's own.
    """
    known = labels != IGNORED
    reference = known_labels(labels)
    best_level = best_level_for_cells if cells else best_level_for_membranes
    found = []
    for is_dark in (False, True) if either_way else (False,):
        grey = (inverted(images) if is_dark else images) * known
        level = best_level(grey, reference, levels_of(grey[known]) if either_way else GREY_LEVELS)
        if cells:
            score = foreground_iou(reference, grey > level)
        else:
            score = -rand_error(reference, grey, thresholds=[level]).value
        found.append((score, Threshold(level, is_dark)))
    return max(found, key=lambda one: one[0])[1]  # the first of equals


def inverted(images: np.ndarray) -> np.ndarray:
    """Images in which dark is bright."""
    return np.float32(1) - images


def grey_of_channels(images: np.ndarray) -> np.ndarray:
    """One grey value for each pixel: the mean of its channels.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) float32 array.
    """
    return images if images.ndim == 3 else images.mean(axis=1)
