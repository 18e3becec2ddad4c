"""Reads the images that a page shows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unetcore.data.io import ConvertedStack
from unetcore.data.stacks import open_stack
from unetcore.errors import InputError


def open_images(path: Path, pages: Sequence[int] | None = None) -> ConvertedStack:
    """Images that are read slice by slice, as they are asked for.

    Parameters
    ----------
    path : as of `unetcore.data.stacks.open_stack`.
    pages : slices wanted, by their numbers; None: all.

    Returns
    -------
    ConvertedStack of the numbers of the file. NaN is refused when a slice is read.

    Raises
    ------
    InputError : the file cannot be read.
    """
    return ConvertedStack(open_stack(path), pages, _finite_numbers)


def _finite_numbers(image: np.ndarray, name: str) -> np.ndarray:
    if image.dtype.kind not in "buif":
        raise InputError(f"{name}: values of type {image.dtype}, expected numbers")
    if n_bad := np.count_nonzero(~np.isfinite(image)):
        raise InputError(f"{name}: {n_bad} values are NaN or infinite")
    return image
