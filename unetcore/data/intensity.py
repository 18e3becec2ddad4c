"""Grey values as the network sees them: a fixed affine map of each slice."""

import numpy as np

from unetcore.errors import InputError

NORMALISATIONS = ("unit", "slice")


def grey_values(images: np.ndarray) -> np.ndarray:
    """Grey values of any number type as float32, by the type alone, never by looking at the data.

    Parameters
    ----------
    images : array of numbers of any shape.

    Returns
    -------
    float32 array of the same shape. 8- and 16-bit whole numbers without sign are on the scale 0 to
    1, all others are as they were.

    Examples
    --------
    >>> grey_values(np.array([0, 51, 255], np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    >>> grey_values(np.array([-100, 400], np.int16)).tolist()
    [-100.0, 400.0]
    """
    if images.dtype.name in ("uint8", "uint16"):
        return images.astype(np.float32) / np.float32(np.iinfo(images.dtype).max)
    return images.astype(np.float32)


def normalise(images: np.ndarray, kind: str, name: str = "images") -> np.ndarray:
    """Map grey values to what the network is trained on.

    The map is affine and fixed for a whole slice, so that a tile of a slice is predicted exactly
    as the whole slice is.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) float32 array.
    kind : "unit" leaves them, in [0, 1] (the authors' release does so for PhC-U373), "slice" gives
        every channel of every slice mean 0 and standard deviation 1, whatever its scale was.
    name : what the message calls the images, for instance their file.

    Returns
    -------
    float32 array of the same shape.

    Raises
    ------
    InputError : unknown kind, or values outside [0, 1] that are to be left as they are.
    """
    if kind not in NORMALISATIONS:
        raise InputError(f"normalisation {kind!r}: need one of {', '.join(NORMALISATIONS)}")
    if kind == "unit":
        low, high = images.min(), images.max()
        if low < 0 or high > 1:
            raise InputError(
                f"{name}: grey values from {low:g} to {high:g}, normalisation 'unit' expects 0 to 1"
            )
        return images
    mean = images.mean(axis=(-2, -1), keepdims=True, dtype=np.float64)
    std = images.std(axis=(-2, -1), keepdims=True, dtype=np.float64)
    return ((images - mean) / np.maximum(std, 1e-6)).astype(np.float32)
