"""The same tile in torch, for GPUs; `unetcore.resampling` defines what it computes.

Every step is one operation on the whole tile, and the order of every sum is fixed.
"""

import torch

from unetcore.resampling.splines import AFTER, BEFORE


def cut_tile(coefficients, classes, weights, field, basis, halo):
    """Cut a tile; parameters and results as of `unetcore.resampling.cut_tile`.

    The three tensors of the slice have their margins; everything is on one device.
    """
    size, (height, width) = len(basis), classes.shape
    numbers = _on_device(torch.from_numpy(field), basis.device)
    row, column = basis @ numbers @ basis.T  # (size, size) each
    row, column = _reflect(row, height - BEFORE - AFTER), _reflect(column, width - BEFORE - AFTER)
    image = _weighted_sum(coefficients, row, column, _spline_weights, first=0)
    inner = slice(halo, size - halo)
    row, column = row[inner, inner], column[inner, inner]
    nearest = classes[(row + BEFORE + 0.5).long(), (column + BEFORE + 0.5).long()].long()
    (linear,) = _weighted_sum(weights[None], row, column, _linear_weights, first=BEFORE)
    return image, nearest, linear


def _on_device(numbers, device):
    """Copy to a device; from pinned memory the program need not wait until a GPU has it."""
    if device.type == "cuda":
        numbers = numbers.pin_memory()
    return numbers.to(device, non_blocking=True)


def _reflect(positions, n):
    """Move positions to where on the axis 0..n-1 the mirrored axis has the same value.

    That is their distance from the nearest multiple of the period; NaN becomes a position, too.
    """
    last = n - 1.0
    period = 2 * last if n > 1 else torch.inf
    positions = (positions - period * (positions / period).round()).abs()
    return torch.where(positions <= last, positions, last)


def _weighted_sum(values, row, column, weights_of, first):
    """Values (C, H, W) at positions (h, w), each from T x T neighbours; (C, h, w).

    `first` is the index of the first neighbour of position 0 along each axis.
    """
    rows, by_row = _neighbours(row, weights_of, first)
    columns, by_column = _neighbours(column, weights_of, first)
    index = rows[:, None] * values.shape[-1] + columns  # (T, T, h, w)
    weights = by_row[:, None] * by_column
    return torch.stack([(v[index] * weights).sum((0, 1)) for v in values.flatten(1)])


def _neighbours(positions, weights_of, first):
    """Index and weight, (T, h, w) each, of the T neighbours of positions >= 0."""
    before = positions.long()
    weights = weights_of((positions - before).float())
    offsets = torch.arange(first, first + len(weights), device=positions.device)
    return before + offsets[:, None, None], weights


def _spline_weights(t):
    """Cubic B-spline at the distances 1 + t, t, 1 - t and 2 - t."""
    u = 1 - t
    return torch.stack((u**3 / 6, 2 / 3 - t**2 * (1 + u) / 2, 2 / 3 - u**2 * (1 + t) / 2, t**3 / 6))


def _linear_weights(t):
    return torch.stack((1 - t, t))
