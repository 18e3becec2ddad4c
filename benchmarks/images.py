"""Images to measure on, drawn from a seed."""

import numpy as np
from scipy import ndimage

from unetcore.data.phantom_em import draw_sections

SMOOTH = 1.5  # px, std of the blur and of the grain of a drawn probability map
GRAIN = 0.15  # std of the grain


def discs(n: int, size: int) -> np.ndarray:
    """Instance labels of `n` discs on a grid, each shifted at random; no two touch."""
    rng = np.random.default_rng(n)
    side = int(np.ceil(np.sqrt(n)))
    pitch = size / side
    radius = 0.35 * pitch
    rows, columns = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for k in range(n):
        centre = (np.array(divmod(k, side)) + 0.5) * pitch + rng.uniform(-0.1, 0.1, 2) * pitch
        labels[np.hypot(rows - centre[0], columns - centre[1]) < radius] = k + 1
    return labels


def sections(n_slices: int, size: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """Membrane labels of a stack and a probability map as a network might make it.

    Returns
    -------
    labels : (n_slices, size, size) uint8, 0 = membrane.
    probability : (n_slices, size, size) float32 in [0, 1]: the labels, blurred and with grain.
    """
    rng = np.random.default_rng(0)
    _, labels = draw_sections(rng, n_slices, size)
    blur = (0, SMOOTH, SMOOTH)
    grain = ndimage.gaussian_filter(rng.normal(size=labels.shape), blur)
    blurred = ndimage.gaussian_filter(labels / 255, blur)
    probability = blurred + GRAIN * grain / grain.std()
    return labels, np.clip(probability, 0, 1).astype(np.float32)
