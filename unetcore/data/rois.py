"""Regions of interest as Fiji saves them, a number each: `.roi` files and `.zip` sets of them."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from roifile import ImagejRoi, roiread

from unetcore.data.raw_image import OF_SLICES
from unetcore.data.roi_outline import pixels_of
from unetcore.errors import InputError, first_line
from unetcore.labels import IGNORED

SUFFIXES = (".roi", ".zip")
AXES = {"Z": "slice", "T": "time"}
OF_IMAGEJ = "TZC"  # the order in which ImageJ counts the images of a stack, the slowest first
# What the ROI Manager calls a region on a stack: image, row, column.
NAMED_BY_IMAGE = re.compile(r"(\d{4,})-\d{4,}-\d{4,}$")


def read_rois(
    path: Path,
    shape: tuple[int, int, int],
    sides: Mapping[str, int] | None = None,
    counted: str = OF_IMAGEJ,
) -> np.ndarray:
    """Draw the regions of a file as labels.

    A pixel belongs to a region as `unetcore.data.roi_outline.pixels_of` says; of regions that
    overlap, to the last one.

    Parameters
    ----------
    path : `.roi` file, or `.zip` file of them as the ROI Manager saves it.
    shape : (Z, H, W) of the image that the regions are drawn on; Z counts all of T and Z.
    sides : number of times "T", depths "Z" and channels "C" of the image; others are left out. Its
        slices count times first. None: a stack of `shape[0]` slices of which nobody knows what
        they are.
    counted : order in which a region's single number counts images, the slowest first.

    Returns
    -------
    (Z, H, W) uint16 array, 0 = background, k = region number k of the file, from 1.

    Raises
    ------
    InputError : the file cannot be read, holds no region, a line or a point, a region that names
        no slice of a stack, one that lies wholly outside the image, or too many.

    Notes
    -----
    A region says where it lies by a single number that counts images, those of each channel too,
    or by channel, depth and time. Whatever channel it was drawn on, it holds for all.
    """
    regions = _read(path)
    if len(regions) >= IGNORED:
        raise InputError(f"{path}: {len(regions)} regions, at most {IGNORED - 1} are possible")
    labels = np.zeros(shape, np.uint16)
    for number, region in enumerate(regions, start=1):
        called = f"{path}: region {region.name or number}"
        window, inside = pixels_of(region, shape[1:], called)
        if not inside.any():
            height, width = shape[1:]
            raise InputError(f"{called}: no pixel of the image of {height} x {width} px is in it")
        slice_ = 0 if shape[0] == 1 else _slice(region, sides or {"Z": shape[0]}, counted, called)
        labels[slice_][window][inside] = number
    return labels


def placed_by_number(path: Path) -> bool:
    """Whether a region of a file says the number of its image alone, and not depth and time."""
    regions = _read(path)
    return any(not (one.c_position or one.z_position or one.t_position) for one in regions)


def _read(path: Path) -> list[ImagejRoi]:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        found = roiread(path)
    except Exception as error:  # a damaged file fails in whichever decoder meets it first
        raise InputError(f"{path}: not a file of Fiji's regions ({first_line(error)})") from error
    regions = found if isinstance(found, list) else [found]
    if not regions:
        raise InputError(f"{path}: holds no region")
    return regions


def _slice(region: ImagejRoi, sides: Mapping[str, int], counted: str, called: str) -> int:
    """Number of the slice that a region was drawn on, from 0."""
    if region.c_position or region.z_position or region.t_position:
        place = {"Z": region.z_position, "T": region.t_position}
    else:
        place = _by_number(region, sides, counted, called)
    for letter, what in AXES.items():
        n = sides.get(letter, 1)
        if place.get(letter, 0) == 0 and n > 1:
            raise InputError(
                f"{called}: on no {what}, expected one of 1 to {n}: in Fiji, show where it lies, "
                "and add it to the ROI Manager again"
            )
        if place.get(letter, 0) > n:
            raise InputError(f"{called}: on {what} {place[letter]}, expected one of 1 to {n}")
    slices = [letter for letter in OF_SLICES if letter in sides]
    numbers = [max(0, place[letter] - 1) for letter in slices]
    return int(np.ravel_multi_index(numbers, [sides[letter] for letter in slices]))


def _by_number(
    region: ImagejRoi, sides: Mapping[str, int], counted: str, called: str
) -> dict[str, int]:
    """Place, from 1, of a region that says the number of its image, 0 where it does not."""
    named = NAMED_BY_IMAGE.match(region.name)
    number = region.position or (int(named[1]) if named else 0)
    order = [letter for letter in counted if letter in sides]
    if number == 0:
        return dict.fromkeys(order, 0)
    lengths = [sides[letter] for letter in order]
    if number > (n_images := math.prod(lengths)):
        raise InputError(f"{called}: on image {number}, expected one of 1 to {n_images}")
    place = np.unravel_index(number - 1, lengths)
    return {letter: int(k) + 1 for letter, k in zip(order, place, strict=True)}
