"""Uniform cubic splines of mirrored samples: their basis, and coefficients that interpolate."""

from collections.abc import Sequence

import numpy as np

# A position in 0..n-1 is read from the sample before it, the one before that, and two after it.
BEFORE, AFTER = 1, 2  # samples that this needs beyond the ends


def bspline_basis(positions: np.ndarray, n: int) -> np.ndarray:
    """Value of each of `n` cubic B-splines, one at each integer 0..n-1, at given positions.

    The row of coefficients is continued by mirroring, so a B-spline beyond an end counts as its
    mirror image.

    Parameters
    ----------
    positions : (P,) float array in [0, n - 1].
    n : number of coefficients, at least 1.

    Returns
    -------
    (P, n) float64 array; rows sum to 1.

    Examples
    --------
    >>> (6 * bspline_basis(np.array([0.0, 1.0, 1.5]), 3)).round(3).tolist()
    [[4.0, 2.0, 0.0], [1.0, 4.0, 1.0], [0.125, 3.0, 2.875]]
    """
    basis = np.zeros((len(positions), n))
    mirrored = np.pad(np.arange(n), 1, mode="reflect")
    for node, coefficient in enumerate(mirrored, start=-1):
        basis[:, coefficient] += _bspline(positions - node)
    return basis


def _bspline(x: np.ndarray) -> np.ndarray:
    """Cubic B-spline around 0, of support [-2, 2]."""
    x = np.abs(x)
    near = 2 / 3 - x**2 + x**3 / 2
    far = np.clip(2 - x, 0, None) ** 3 / 6
    return np.where(x < 1, near, far)


def spline_coefficients(samples: np.ndarray, axes: Sequence[int] = (-2, -1)) -> np.ndarray:
    """Coefficients of the cubic spline that passes through samples, mirrored at their ends.

    Parameters
    ----------
    samples : array of real numbers with at least one sample along each of `axes`.
    axes : along which the spline runs.

    Returns
    -------
    float64 array of the same shape.

    Examples
    --------
    >>> spline_coefficients(np.array([0.0, 1.0, 0.0]), axes=(0,)).round(12).tolist()
    [-1.0, 2.0, -1.0]
    """
    coefficients = np.array(samples, dtype=np.float64)
    for axis in axes:
        along = np.ascontiguousarray(np.moveaxis(coefficients, axis, 0))
        _solve_in_place(along)
        coefficients = np.moveaxis(along, 0, axis)
    return np.ascontiguousarray(coefficients)


def _solve_in_place(samples: np.ndarray) -> None:
    """Replace samples s by c with c[k-1] + 4 c[k] + c[k+1] = 6 s[k], all along the first axis.

    Elimination from the first row to the last, then substitution back. At the ends both
    neighbours are the same pixel, which counts twice.
    """
    last = len(samples) - 1
    if last == 0:
        return  # a single pixel is its own neighbour: c + 4 c + c = 6 s
    above = np.empty(last)  # what is left of c[k+1]'s factor in row k, the pivot divided out
    samples[0] *= 6 / 4
    above[0] = 2 / 4
    for k in range(1, last + 1):
        factor = 2 if k == last else 1
        pivot = 4 - factor * above[k - 1]
        samples[k] = (6 * samples[k] - factor * samples[k - 1]) / pivot
        if k < last:
            above[k] = 1 / pivot
    for k in reversed(range(last)):
        samples[k] -= above[k] * samples[k + 1]
