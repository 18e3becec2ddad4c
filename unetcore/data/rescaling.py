"""Images on the pixel size of a model, and maps back on that of their image."""

import numpy as np
from skimage.transform import resize


def rescaled(stack: np.ndarray, factor: float) -> np.ndarray:
    """Images with sides `factor` times as long, smoothed first where they become smaller.

    Parameters
    ----------
    stack : (..., H, W) float32 array.
    factor : > 0; 1 leaves the images as they are.

    Returns
    -------
    (..., h, w) float32 array, sides rounded and at least 1 px.
    """
    if factor == 1:
        return stack
    shape = tuple(max(1, round(side * factor)) for side in stack.shape[-2:])
    return _resized(stack, shape, smoothed=factor < 1)


def restored(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Maps of (..., h, w) on the (H, W) px of their image, by linear interpolation."""
    return maps if maps.shape[-2:] == shape else _resized(maps, shape, smoothed=False)


def _resized(stack: np.ndarray, shape: tuple[int, int], *, smoothed: bool) -> np.ndarray:
    pages = stack.reshape(-1, *stack.shape[-2:])
    made = [resize(page, shape, order=1, anti_aliasing=smoothed) for page in pages]
    return np.stack(made).reshape(*stack.shape[:-2], *shape).astype(np.float32, copy=False)
