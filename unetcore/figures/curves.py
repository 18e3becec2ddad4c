"""What figures of losses over the steps share."""

import numpy as np
from scipy import ndimage


def smooth(losses: np.ndarray) -> np.ndarray:
    """Geometric mean of losses in a Gaussian window of about a twentieth of the values.

    Parameters
    ----------
    losses : (n,) float array > 0.

    Returns
    -------
    (n,) float array > 0; equal losses stay as they are.
    """
    width = max(1, len(losses) / 40)
    return np.exp(ndimage.gaussian_filter1d(np.log(losses), width, mode="nearest"))
