"""Grey values as the network sees them: a fixed affine map of each slice."""

import numpy as np

from unetcore.errors import InputError

NORMALISATIONS = ("unit", "slice")


def normalise(images: np.ndarray, kind: str) -> np.ndarray:
    """Map grey values to what the network is trained on.

    The map is affine and fixed for a whole slice, so that a tile of a slice is predicted exactly
    as the whole slice is. Of several channels each has a map of its own.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) float32 array, in [0, 1] or as `unetcore.data.io.grey_values`
        makes it.
    kind : "unit" leaves them (the authors' release does so for PhC-U373), "slice" gives every
        channel of every slice mean 0 and standard deviation 1.

    Returns
    -------
    float32 array of the same shape.

    Raises
    ------
    InputError : unknown kind.
    """
    if kind not in NORMALISATIONS:
        raise InputError(f"normalisation {kind!r}: need one of {', '.join(NORMALISATIONS)}")
    if kind == "unit":
        return images
    mean = images.mean(axis=(-2, -1), keepdims=True, dtype=np.float64)
    std = images.std(axis=(-2, -1), keepdims=True, dtype=np.float64)
    return ((images - mean) / np.maximum(std, 1e-6)).astype(np.float32)
