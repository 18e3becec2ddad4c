"""One pass over a tile, compiled for CPUs; `unetcore.resampling` defines what it computes.

The pass goes row by row. Positions and the weights of neighbours are found for a whole row at a
time, in loops that a compiler turns into vector instructions, and are kept in buffers of one row.
Then every pixel is read from its neighbours; thanks to the mirrored margin of a slice they are
always there. Nothing depends on the number of threads.
"""

import numpy as np
from numba import njit

from unetcore.resampling.splines import AFTER, BEFORE

compiled = njit(cache=True, nogil=True, error_model="numpy")  # division as in NumPy: no tests


def cut_tile(coefficients, classes, weights, field, basis, halo):
    """Cut a tile; parameters and results as of `unetcore.resampling.cut_tile`, as arrays.

    The three arrays of the slice are contiguous and have their margins.
    """
    size, out = len(basis), len(basis) - 2 * halo
    tile = (
        np.empty((len(coefficients), size, size), np.float32),
        np.empty((out, out), np.int64),
        np.empty((out, out), np.float32),
    )
    columns_of_basis = np.ascontiguousarray(basis.T)
    _cut(coefficients, classes, weights, np.ascontiguousarray(field), columns_of_basis, halo, *tile)
    return tile


@compiled
def _cut(coefficients, classes, weights, field, basis, halo, image, tile_classes, tile_weights):
    """Fill the three arrays of a tile; `basis` is (K, size)."""
    height, width = classes.shape
    size = basis.shape[1]
    inner = slice(halo, size - halo)
    rows, columns = np.empty(size), np.empty(size)
    by_row, by_column = np.empty((4, size), np.float32), np.empty((4, size), np.float32)
    for i in range(size):
        _positions(field[0], basis, i, rows)
        _positions(field[1], basis, i, columns)
        _reflect(rows, height - BEFORE - AFTER)
        _reflect(columns, width - BEFORE - AFTER)
        _spline_weights(rows, by_row)
        _spline_weights(columns, by_column)
        _read_image(coefficients, rows, columns, by_row, by_column, image[:, i])
        k = i - halo
        if 0 <= k < len(tile_classes):
            _read_classes(classes, rows[inner], columns[inner], tile_classes[k])
            _read_weights(weights, rows[inner], columns[inner], tile_weights[k])


@compiled
def _positions(field, basis, i, positions):
    """Positions of row i of the tile along one axis: row i of basis.T @ field @ basis."""
    n = len(basis)
    positions[:] = 0
    for b in range(n):
        factor = 0.0
        for a in range(n):
            factor += basis[a, i] * field[a, b]
        for j in range(len(positions)):
            positions[j] += factor * basis[b, j]


@compiled
def _reflect(positions, n):
    """Move positions to where on the axis 0..n-1 the mirrored axis has the same value.

    That is their distance from the nearest multiple of the period. Whatever a position is, NaN
    included, the result is on the axis: nothing is ever read outside an array.
    """
    last = n - 1.0
    period = 2 * last if n > 1 else np.inf
    for j in range(len(positions)):
        p = positions[j]
        p = abs(p - period * np.rint(p / period))
        positions[j] = p if p <= last else last


@compiled
def _spline_weights(positions, weights):
    """Weights of the 4 coefficients around each position: the cubic B-spline at their distance."""
    one, half, sixth = np.float32(1), np.float32(1 / 2), np.float32(1 / 6)
    middle = np.float32(2 / 3)
    for j in range(len(positions)):
        p = positions[j]
        t = np.float32(p - np.int64(p))
        u = one - t
        weights[0, j] = sixth * u * u * u
        weights[1, j] = middle - half * t * t * (one + u)
        weights[2, j] = middle - half * u * u * (one + t)
        weights[3, j] = sixth * t * t * t


@compiled
def _read_image(coefficients, rows, columns, by_row, by_column, line):
    """Fill a line of the image, (C, size), from 4 x 4 coefficients for each pixel.

    The first of four neighbours stands as far before a position as the margin is wide, so its index
    is the whole part of the position. Indices are unsigned: none is looked at for being negative.
    """
    n_channels, height, width = coefficients.shape
    flat = coefficients.reshape(n_channels, height * width)
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for j in range(len(rows)):
        a = np.uint64(np.int64(rows[j]) * width + np.int64(columns[j]))
        b = a + np.uint64(width)
        c = b + np.uint64(width)
        d = c + np.uint64(width)
        p, q, r, s = by_row[0, j], by_row[1, j], by_row[2, j], by_row[3, j]
        for channel in range(n_channels):
            v = flat[channel]
            v0 = p * v[a] + q * v[b] + r * v[c] + s * v[d]
            v1 = p * v[a + one] + q * v[b + one] + r * v[c + one] + s * v[d + one]
            v2 = p * v[a + two] + q * v[b + two] + r * v[c + two] + s * v[d + two]
            v3 = p * v[a + three] + q * v[b + three] + r * v[c + three] + s * v[d + three]
            line[channel, j] = (by_column[0, j] * v0 + by_column[1, j] * v1) + (
                by_column[2, j] * v2 + by_column[3, j] * v3
            )


@compiled
def _read_classes(classes, rows, columns, line):
    """Fill a line of classes from the nearest pixels."""
    for j in range(len(line)):
        row, column = np.uint64(rows[j] + BEFORE + 0.5), np.uint64(columns[j] + BEFORE + 0.5)
        line[j] = classes[row, column]


@compiled
def _read_weights(weights, rows, columns, line):
    """Fill a line of weights by linear interpolation between 2 x 2 pixels."""
    width = weights.shape[1]
    flat = weights.reshape(weights.size)
    one = np.uint64(1)
    for j in range(len(line)):
        row, column = np.int64(rows[j]), np.int64(columns[j])
        t, u = np.float32(rows[j] - row), np.float32(columns[j] - column)
        a = np.uint64((row + BEFORE) * width + column + BEFORE)
        b = a + np.uint64(width)
        upper = flat[a] + u * (flat[a + one] - flat[a])
        lower = flat[b] + u * (flat[b + one] - flat[b])
        line[j] = upper + t * (lower - upper)
