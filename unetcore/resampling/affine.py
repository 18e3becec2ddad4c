"""An image resampled along an affine map, by its interpolating cubic spline."""

import numpy as np

from unetcore.resampling.splines import AFTER, BEFORE, spline_coefficients

ROWS = 64  # of the result at once: what is read for them stays small


def resample_affine(
    image: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Read an image at the positions matrix @ (i, j) + offset, in px.

    Parameters
    ----------
    image : (C, H, W) float array, continued by mirroring without repeating the edge pixel.
    matrix : (2, 2) float array.
    offset : (2,) float array.
    shape : (h, w) of the result, whose pixels are (i, j).

    Returns
    -------
    (C, h, w) array of the number type of `image`. It is what `scipy.ndimage.affine_transform`
    computes with order 3 and mode "mirror", in float64, up to its rounding.
    """
    margin = [(0, 0), (BEFORE, AFTER), (BEFORE, AFTER)]
    values = np.pad(spline_coefficients(image), margin, mode="reflect").reshape(len(image), -1)
    columns = np.arange(shape[1])
    result = np.empty((len(image), *shape), image.dtype)
    for first in range(0, shape[0], ROWS):
        rows = np.arange(first, min(first + ROWS, shape[0]))[:, None]
        places = (
            _reflect(line[0] * rows + line[1] * columns + start, side)
            for line, start, side in zip(matrix, offset, image.shape[1:], strict=True)
        )
        result[:, first : first + ROWS] = _weighted_sum(values, *places, image.shape[2])
    return result


def _reflect(positions, n):
    """Move positions to where on the axis 0..n-1 the mirrored axis has the same value."""
    if n == 1:
        return np.zeros_like(positions)
    period = 2 * (n - 1)
    return np.minimum(np.abs(positions - period * np.rint(positions / period)), n - 1)


def _weighted_sum(values, rows, columns, width):
    """Spline at positions (h, w), from coefficients with margins (C, pixels); (C, h, w)."""
    (top, by_row), (left, by_column) = _neighbours(rows), _neighbours(columns)
    width += BEFORE + AFTER
    total = np.zeros((len(values), *rows.shape))
    for i, row_weight in enumerate(by_row):
        for j, column_weight in enumerate(by_column):
            index = (top + i) * width + (left + j)
            total += values[:, index] * (row_weight * column_weight)
    return total


def _neighbours(positions):
    """First of four neighbours, which the margin moves to a position's whole part, and weights."""
    whole = positions.astype(np.int64)
    t = positions - whole
    u = 1 - t
    weights = (
        u**3 / 6,
        2 / 3 - t**2 * (1 + u) / 2,
        2 / 3 - u**2 * (1 + t) / 2,
        t**3 / 6,
    )
    return whole, weights
