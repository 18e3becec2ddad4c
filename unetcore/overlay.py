"""An image with the outlines of its cells, for people to look at."""

import math

import numpy as np
from skimage.segmentation import find_boundaries
from skimage.transform import resize

# Of Okabe and Ito's colours, which colour-blind readers tell apart. Yellow would be lost on a
# bright grey image, vermilion in a stained section.
VERMILION, YELLOW = (213, 94, 0), (240, 228, 66)
LARGEST_SIDE = 1500  # px
GOOD_SIDE = 1024  # px; smaller images are shown up to so large, by a whole factor
THIN_BELOW = 400  # px, of an image whose outlines are 1 px wide instead of 2
MOST_SLICES = 9
PERCENTILES = (0.5, 99.5)  # of the grey values, shown as black and white
GAP = 4  # px, between slices


def overlay(pixels: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Draw outlines of cells on slices of an image.

    Parameters
    ----------
    pixels : (Z, C, H, W) array. One channel is shown in grey, two in magenta and green, of three
        and more the first three as red, green and blue.
    cells : (Z, H, W) integer array, 0 = background.

    Returns
    -------
    (h, w, 3) uint8 array of at most `LARGEST_SIDE` px a side: the slice, or up to `MOST_SLICES`
    that are spread evenly over the stack, in the order in which one reads.
    """
    n = min(len(pixels), MOST_SLICES)
    chosen = [round(k * (len(pixels) - 1) / max(1, n - 1)) for k in range(n)]
    columns = math.ceil(math.sqrt(n))
    side = (LARGEST_SIDE - (columns - 1) * GAP) // columns
    drawn = [_with_outlines(pixels[z], cells[z], side) for z in chosen]
    return _tiled(drawn, columns)


def in_colours(pixels: np.ndarray) -> np.ndarray:
    """Channels of a slice in colours, their contrast by percentiles.

    Parameters
    ----------
    pixels : (C, H, W) array; see `overlay`.

    Returns
    -------
    (H, W, 3) float32 array in [0, 1].
    """
    shown = pixels[:3].astype(np.float32)
    low, high = np.percentile(shown, PERCENTILES, axis=(1, 2), keepdims=True)
    shown = np.clip((shown - low) / np.maximum(high - low, np.finfo(np.float32).tiny), 0, 1)
    red, green, blue = {1: (0, 0, 0), 2: (0, 1, 0)}.get(len(shown), (0, 1, 2))
    return np.stack((shown[red], shown[green], shown[blue]), axis=-1)


def _with_outlines(pixels: np.ndarray, cells: np.ndarray, largest: int) -> np.ndarray:
    """One slice with outlines, of at most `largest` px a side."""
    image, shape = in_colours(pixels), _shown_size(cells.shape, largest)
    smaller = shape[0] < cells.shape[0] or shape[1] < cells.shape[1]
    image = resize(image, shape, order=1 if smaller else 0, anti_aliasing=smaller)
    ids = resize(cells, shape, order=0, anti_aliasing=False, preserve_range=True)
    image = np.rint(255 * image).astype(np.uint8)
    mode = "inner" if max(shape) < THIN_BELOW else "thick"
    image[find_boundaries(ids, mode=mode)] = VERMILION if len(pixels) == 1 else YELLOW
    return image


def _shown_size(shape: tuple[int, int], largest: int) -> tuple[int, int]:
    """Size in px in which an image is shown."""
    longest = max(shape)
    if longest > largest:
        return tuple(max(1, round(side * largest / longest)) for side in shape)
    factor = max(1, min(GOOD_SIDE, largest) // longest)
    return tuple(factor * side for side in shape)


def _tiled(drawn: list[np.ndarray], columns: int) -> np.ndarray:
    """Images of one size side by side, with white between them."""
    height, width, _ = drawn[0].shape
    rows = math.ceil(len(drawn) / columns)
    canvas = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for k, image in enumerate(drawn):
        top, left = (k // columns) * (height + GAP), (k % columns) * (width + GAP)
        canvas[top : top + height, left : left + width] = image
    return canvas
