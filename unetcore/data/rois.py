"""Regions of interest as Fiji saves them, a number each: `.roi` files and `.zip` sets of them."""

import zipfile
from pathlib import Path

import numpy as np
from roifile import ROI_TYPE, ImagejRoi, roiread
from skimage.draw import polygon2mask

from unetcore.errors import InputError, first_line
from unetcore.labels import IGNORED

SUFFIXES = (".roi", ".zip")
AREAS = (ROI_TYPE.POLYGON, ROI_TYPE.RECT, ROI_TYPE.OVAL, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)


def read_rois(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Draw the regions of a file as labels.

    A pixel belongs to a region that its centre lies in; of regions that overlap, to the last one.

    Parameters
    ----------
    path : `.roi` file, or `.zip` file of them as the ROI Manager saves it.
    shape : (Z, H, W) of the image that the regions are drawn on.

    Returns
    -------
    (Z, H, W) uint16 array, 0 = background, k = region number k of the file, from 1.

    Raises
    ------
    InputError : the file cannot be read, holds no region, a line or a point, a region that names
        no slice of a stack, one that lies wholly outside the image, or too many.
    """
    regions = _read(path)
    if len(regions) >= IGNORED:
        raise InputError(f"{path}: {len(regions)} regions, at most {IGNORED - 1} are possible")
    labels = np.zeros(shape, np.uint16)
    for number, region in enumerate(regions, start=1):
        called = f"{path}: region {region.name or number}"
        inside = _inside(region, shape[1:], called)
        if not inside.any():
            height, width = shape[1:]
            raise InputError(f"{called}: no pixel of the image of {height} x {width} px is in it")
        labels[_slice(region, shape[0], called)][inside] = number
    return labels


def _read(path: Path) -> list[ImagejRoi]:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        found = roiread(path)
    except (ValueError, zipfile.BadZipFile, IndexError, OSError, KeyError) as error:
        raise InputError(f"{path}: not a file of Fiji's regions ({first_line(error)})") from error
    regions = found if isinstance(found, list) else [found]
    if not regions:
        raise InputError(f"{path}: holds no region")
    return regions


def _inside(region: ImagejRoi, shape: tuple[int, int], called: str) -> np.ndarray:
    """Pixels whose centre lies in a region; parts of a composite region cut holes into it."""
    if region.roitype not in AREAS:
        raise InputError(f"{called}: a {region.roitype.name.lower()}, expected an area")
    inside = np.zeros(shape, bool)
    for corners in region.coordinates(multi=True):
        # Fiji counts from the corner of the first pixel, an array from its centre.
        inside ^= polygon2mask(shape, np.asarray(corners, float)[:, ::-1] - 0.5)
    return inside


def _slice(region: ImagejRoi, n_slices: int, called: str) -> int:
    """Number of the slice that a region was drawn on, from 0."""
    if n_slices == 1:
        return 0
    if region.z_position > 1 and region.t_position > 1:
        raise InputError(
            f"{called}: on slice {region.z_position} of time {region.t_position}; regions of "
            "stacks with several times are not read: save each time as a stack of its own"
        )
    position = max(region.position, region.z_position, region.t_position)
    if not 1 <= position <= n_slices:
        raise InputError(f"{called}: on slice {position}, expected one of 1 to {n_slices}")
    return position - 1
