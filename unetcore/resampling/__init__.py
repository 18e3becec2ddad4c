"""Resampling of a slice along a smooth field of positions: image, classes and weights in one go.

**The slice** is continued over its border by mirroring without repeating the edge pixel, as often
as needed (numpy's "reflect"), so that any position has a value.

**The field** gives each pixel (i, j) of a tile the position (row, column) on the slice that it is
read at. All of it is a product of small matrices, position[d] = basis @ field[d] @ basis.T: the
columns of the basis say how strongly each row or column of the tile follows each number of the
field. Up-sampled random vectors, rotation, mirror image and shift are all of this form, so they
are one resampling, and their positions need no memory.

**The values**: an image by the interpolating cubic spline, classes by the nearest pixel (a position
half-way takes the next one), weights by linear interpolation. The spline passes through the pixels
and is what `scipy.ndimage.map_coordinates` computes with order 3 and mode "mirror". Its
coefficients are found once for a slice; a pixel of a tile then costs 4 x 4 of them, as it would
with a cubic kernel that only comes near to the spline.

Positions are float64, values float32. Slices on a CPU go through one compiled pass
(`unetcore.resampling.compiled`), others, or all where numba is not installed, through torch
(`unetcore.resampling.gathered`). The two agree in every class whose position is not within 1e-6 px
of half-way between two pixels, and in a normalised image, of mean 0 and standard deviation 1, to
1e-5. float32 rounds the values themselves: where the mean is 1000 standard deviations, they agree
to 3e-4 of one.
"""

import functools
import logging
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch

from unetcore.errors import InputError
from unetcore.resampling import gathered
from unetcore.resampling.splines import AFTER, BEFORE, bspline_basis, spline_coefficients

__all__ = ["Slices", "bspline_basis", "cut_tile", "prepare_slices", "spline_coefficients"]

logger = logging.getLogger(__name__)

INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Slices:
    """Slices in the form tiles are cut from: with mirrored margins, images as splines.

    Attributes
    ----------
    coefficients : (N, C, H + 3, W + 3) float32 tensor, cubic B-spline coefficients of the images.
    classes : (N, H + 3, W + 3) int32 tensor.
    weights : (N, H + 3, W + 3) float32 tensor.
    """

    coefficients: torch.Tensor
    classes: torch.Tensor
    weights: torch.Tensor


def prepare_slices(
    images: np.ndarray, classes: np.ndarray, weights: np.ndarray, device: torch.device | str = "cpu"
) -> Slices:
    """Turn slices into the form tiles are cut from.

    Parameters
    ----------
    images : (N, C, H, W) real array. A NaN spreads over its whole slice.
    classes : (N, H, W) integer array, every value in the range of int32.
    weights : (N, H, W) real array.
    device : where tiles will be cut.

    Raises
    ------
    InputError : no arrays, shapes that do not match, nothing along an axis, images or weights that
        are not real, or classes that are no integers or beyond int32.
    """
    _check_slices(images, classes, weights)
    coefficients = [spline_coefficients(image).astype(np.float32) for image in images]
    arrays = (
        _with_margin(np.stack(coefficients)),
        _with_margin(classes).astype(np.int32, copy=False),
        _with_margin(weights).astype(np.float32, copy=False),
    )
    return Slices(*(torch.as_tensor(array, device=device) for array in arrays))


def _check_slices(images, classes, weights):
    for name, array, kinds, rule in (
        ("images", images, "buif", "real numbers"),
        ("classes", classes, "iu", "integers"),
        ("weights", weights, "buif", "real numbers"),
    ):
        if not isinstance(array, np.ndarray):
            raise InputError(f"{name} of type {type(array).__name__}: need an array")
        if array.dtype.kind not in kinds:
            raise InputError(f"{name} of type {array.dtype}: need {rule}")
    if images.ndim != 4 or 0 in images.shape:
        raise InputError(
            f"images of shape {images.shape}: need slices, channels, rows and columns, at least "
            f"one of each"
        )
    flat = (len(images), *images.shape[2:])
    if classes.shape != flat or weights.shape != flat:
        raise InputError(
            f"images of shape {images.shape}, classes {classes.shape}, weights {weights.shape}: "
            f"need the same slices, rows and columns"
        )
    lowest, highest = classes.min(), classes.max()
    if lowest < INT32.min or highest > INT32.max:
        raise InputError(
            f"classes from {lowest} to {highest}: need {INT32.min} to {INT32.max}, as int32 holds"
        )


def _with_margin(array):
    """Mirror the last two axes a few pixels beyond their ends."""
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + [(BEFORE, AFTER)] * 2, mode="reflect")


def cut_tile(
    slices: Slices, index: int, field: np.ndarray, basis: torch.Tensor, halo: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut a tile out of slice `index`, along the positions basis @ field[d] @ basis.T in px.

    Parameters
    ----------
    slices : from `prepare_slices`.
    index : which slice.
    field : (2, K, K) float64 array, of rows and of columns.
    basis : (size, K) float64 tensor on the device of `slices`.
    halo : pixels on each side of the tile that have no classes and weights.

    Returns
    -------
    image : (C, size, size) float32 tensor.
    classes : (out, out) int64 tensor, out = size - 2 halo.
    weights : (out, out) float32 tensor.

    Raises
    ------
    InputError : field and basis do not match, or the halo leaves no pixel.
    """
    _check_tile(field, basis, halo)
    arrays = (slices.coefficients[index], slices.classes[index], slices.weights[index])
    compiled = _compiled_pass() if basis.device.type == "cpu" else None
    if compiled is None:
        return gathered.cut_tile(*arrays, field, basis, halo)
    tile = compiled.cut_tile(*(a.numpy() for a in arrays), field, basis.numpy(), halo)
    return tuple(map(torch.from_numpy, tile))


@functools.cache
def _compiled_pass() -> ModuleType | None:
    """Module of the compiled pass; None on a machine that has no numba, as a GPU node may."""
    try:
        from unetcore.resampling import compiled
    except ModuleNotFoundError as error:
        if error.name != "numba":
            raise
        logger.warning("numba is not installed: torch cuts the tiles, which takes a CPU longer")
        return None
    return compiled


def _check_tile(field, basis, halo):
    size, n = basis.shape
    if field.shape != (2, n, n) or field.dtype != np.float64 or basis.dtype != torch.float64:
        raise InputError(
            f"field of shape {field.shape} and type {field.dtype}, basis of shape "
            f"{tuple(basis.shape)} and type {basis.dtype}: need {(2, n, n)} for the field, and "
            f"float64"
        )
    if not 0 <= 2 * halo < size:
        raise InputError(f"halo of {halo} px in a tile of {size} px: need 0 to {(size - 1) // 2}")
