"""Images on the pixel size of a model, and maps back on that of their image."""

import numpy as np
from skimage.transform import resize

from unetcore.errors import InputError

SAME = 0.01  # sizes closer than this are one: resampling would cost more than it mends
LARGEST_FACTOR = 10.0


def scale_factor(
    pixel_size: float | None, wanted: float | None, name: str, *, how: str = "--pixel-size UM"
) -> float:
    """How many times larger the sides of an image become on another pixel size.

    Parameters
    ----------
    pixel_size : of the image in um, None if unknown.
    wanted : pixel size in um that the image is to have, None for that which it has.
    name : what the message calls the image, for instance its file.
    how : what the message advises where the pixel size is unknown or wrong.

    Returns
    -------
    factor, 1 where nothing is wanted or the sizes are within 1 %.

    Raises
    ------
    InputError : the size is wanted and unknown, or more than `LARGEST_FACTOR` times another.

    Examples
    --------
    >>> scale_factor(0.25, 0.5, "a.tif"), scale_factor(0.25, None, "a.tif")
    (0.5, 1.0)
    """
    if wanted is None:
        return 1.0
    if pixel_size is None:
        raise InputError(
            f"{name}: the file does not say the size of its pixels, and the model is for "
            f"{wanted:g} um: give {how}"
        )
    factor = pixel_size / wanted
    if not 1 / LARGEST_FACTOR <= factor <= LARGEST_FACTOR:
        raise InputError(
            f"{name}: pixels of {pixel_size:g} um, and the model is for {wanted:g} um, which is "
            f"more than {LARGEST_FACTOR:g} times another: if it is a mistake, give {how}"
        )
    return 1.0 if abs(factor - 1) <= SAME else factor


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
