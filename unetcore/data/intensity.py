"""Grey values as the network sees them: a fixed affine map of each slice."""

import numpy as np

from unetcore.errors import InputError

NORMALISATIONS = ("unit", "slice")


def normalise(images: np.ndarray, kind: str, name: str = "images") -> np.ndarray:
    """Map grey values to what the network is trained on.

    The map is affine and fixed for a whole slice, so that a tile of a slice is predicted exactly
    as the whole slice is.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) float32 array, see `unetcore.data.io.grey_values`.
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
