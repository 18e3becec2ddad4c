"""What figures of losses over the steps share."""

import numpy as np
from matplotlib.lines import Line2D
from scipy import ndimage

ROWS_OF_A_CURVE = 2  # of a history, at least


def smooth(losses: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Geometric mean of losses in a Gaussian window of about a twentieth of the values.

    Parameters
    ----------
    losses : (n,) float array > 0, each a mean since the one before.
    steps : (n,) done at each, rising from above 0; a loss counts by its steps, so that the rest at
        the end of a training, of a few, does not bend the curve.

    Returns
    -------
    (n,) float array > 0; equal losses stay as they are.
    """
    width = max(1, len(losses) / 40)
    weights = np.diff(steps, prepend=0).astype(float)
    total, weight = (
        ndimage.gaussian_filter1d(values, width, mode="constant")
        for values in (weights * np.log(losses), weights)
    )
    return np.exp(total / weight)


def without_course(n: int) -> list[Line2D]:
    """Entry of a legend that counts the trainings without a curve; none where all have one."""
    label = f"not drawn: {n} with too\nfew losses on record"
    return [Line2D([], [], ls="", label=label)] if n else []
