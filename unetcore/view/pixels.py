"""Slices as a page holds them: 8 bits per pixel, smaller where they have to be, as text."""

import base64
import zlib

import numpy as np

LEVELS = 200  # 0.005 each: 0.05, 0.1, 0.25 and so on are among the thresholds
DARKEST, BRIGHTEST = 0.2, 99.8  # percentiles of the grey values that are shown black and white
RIGHT, BELOW, IGNORED = 1, 2, 4
COMPRESSION = 6


def levels(probability: np.ndarray) -> np.ndarray:
    """How many of the thresholds 0, 1/200, ... 1 each pixel is above.

    At the threshold k / `LEVELS` a pixel is foreground if and only if its level is larger than k,
    and these are the pixels where ``probability > k / LEVELS``. So at these thresholds nothing
    is rounded.

    Parameters
    ----------
    probability : float array in [0, 1].

    Returns
    -------
    uint8 array of the same shape, in 0..`LEVELS`.

    Examples
    --------
    >>> levels(np.array([0, 0.004, 0.5, 0.501, 1], np.float32)).tolist()
    [0, 1, 100, 101, 200]
    """
    # As NumPy compares a float32 map with a Python number: in float32.
    thresholds = (np.arange(LEVELS) / LEVELS).astype(np.float32)
    return np.searchsorted(thresholds, probability.astype(np.float32)).astype(np.uint8)


def outlines(labels: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray:
    """Where reference objects end, and which pixels nobody annotated.

    Parameters
    ----------
    labels : (H, W) integer array, a mask or instance ids.
    ignored : (H, W) bool array, pixels of unknown class; None: none.

    Returns
    -------
    (H, W) uint8 array, a sum of `RIGHT` and `BELOW`, where the label of the next pixel in that
    direction is another one, and `IGNORED`. Ignored pixels end no object.
    """
    bits = np.zeros(labels.shape, np.uint8)
    known = np.ones(labels.shape, bool) if ignored is None else ~ignored
    ends_right = (labels[:, 1:] != labels[:, :-1]) & known[:, 1:] & known[:, :-1]
    ends_below = (labels[1:] != labels[:-1]) & known[1:] & known[:-1]
    bits[:, :-1][ends_right] += RIGHT
    bits[:-1][ends_below] += BELOW
    bits[~known] += IGNORED
    return bits


def shown_channels(image: np.ndarray) -> np.ndarray:
    """Channels that are shown of an (H, W) or (C, H, W) image, as (1 or 3, H, W).

    The first three are red, green and blue; of fewer than three the first is grey.
    """
    if image.ndim == 2:
        return image[None]
    return image[:3] if len(image) >= 3 else image[:1]


def contrast(images: list[np.ndarray]) -> list[tuple[float, float]]:
    """Grey values that are shown black and white, for each channel of (C, H, W) images."""
    ranges = []
    for channel in zip(*images, strict=True):
        values = np.concatenate([plane[::2, ::2].ravel() for plane in channel])
        low, high = np.percentile(values, (DARKEST, BRIGHTEST))
        ranges.append((float(low), float(high)))
    return ranges


def as_grey(image: np.ndarray, ranges: list[tuple[float, float]]) -> np.ndarray:
    """Channels (C, H, W) as uint8, from black to white as `contrast` says."""
    low, high = (np.array(ends)[:, None, None] for ends in zip(*ranges, strict=True))
    span = np.where(high > low, high - low, 1)
    return np.rint(255 * ((image - low) / span).clip(0, 1)).astype(np.uint8)


def mean_of_blocks(image: np.ndarray, factor: int) -> np.ndarray:
    """Image whose pixels are means of `factor` x `factor` px; a rest at the border is left out."""
    if factor == 1:
        return image
    height, width = (side // factor for side in image.shape[-2:])
    cut = image[..., : height * factor, : width * factor]
    blocks = cut.reshape(*image.shape[:-2], height, factor, width, factor)
    return blocks.mean(axis=(-3, -1), dtype=np.float32)


def middle_of_blocks(labels: np.ndarray, factor: int) -> np.ndarray:
    """Labels of the pixel in the middle of each block of `mean_of_blocks`."""
    height, width = (side // factor for side in labels.shape[-2:])
    start = factor // 2
    return labels[..., start::factor, start::factor][..., :height, :width]


def packed(planes: np.ndarray) -> str:
    """Text of uint8 planes (..., H, W), which the page's `unpack` turns back.

    Differences of neighbours in a row are deflated: a browser undoes that without a picture format
    in between, whose colours it may change when they are read back from a canvas.
    """
    differences = np.diff(planes, axis=-1, prepend=np.uint8(0))
    return base64.b64encode(zlib.compress(differences.tobytes(), COMPRESSION)).decode("ascii")


def two_bytes(ids: np.ndarray) -> np.ndarray:
    """Ids up to 65,535 as uint8 planes (2, H, W): the low byte, the high byte."""
    return np.stack([ids & 255, ids >> 8]).astype(np.uint8)
