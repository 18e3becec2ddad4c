"""Reads what a page shows: pictures as people have them, and stacks larger than memory."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unetcore.data.annotated import IN_ONE_PIECE, read_reference
from unetcore.data.files import is_zarr
from unetcore.data.io import open_known, open_labels, open_probability, to_unit_range
from unetcore.data.label_map import LabelMap
from unetcore.data.pictures import read_grey, read_pictures
from unetcore.data.stacks import Stack, open_stack
from unetcore.errors import InputError
from unetcore.labels import named_whole_numbers

IN_MEMORY = 1_000_000_000  # bytes; of larger files slices are read as they are shown


class Images(NamedTuple):
    """Images, and the side of a pixel in um, None if it is not known.

    The stack is an (N, C, H, W) array, or gives (C, H, W) slices by their numbers.
    """

    stack: Any
    pixel_size: float | None


def open_images(path: Path) -> Images:
    """Images of a picture, of a folder of pictures of one size, or of a stack larger than memory.

    Raises
    ------
    InputError : what `unetcore.data.pictures.read_picture` refuses, or other sizes in a folder.
    """
    if stack := _unread(path, in_channels=True):
        return Images(stack, stack.scale.pixel_size)
    pictures = read_pictures(path)
    sizes = {picture.pixel_size for picture in pictures}
    pixels = np.concatenate([picture.pixels for picture in pictures])
    return Images(pixels, sizes.pop() if len(sizes) == 1 else None)


def open_maps(path: Path):
    """Probability maps, (N, H, W) on the scale 0 to 1."""
    if _unread(path):
        return open_probability(path)
    return to_unit_range(read_grey(path), str(path))


def open_cells(path: Path):
    """Cells that were segmented before, (N, H, W) whole numbers."""
    if _unread(path):
        return open_labels(path)
    return named_whole_numbers(read_grey(path), path)


def open_reference(
    path: Path, shape: tuple[int, int, int], label_map: LabelMap, image: Path | None = None
):
    """Labels, and which pixels are ignored.

    Parameters
    ----------
    path : image of labels, folder of them, or Fiji's regions.
    shape : (N, H, W) of the images, which regions are drawn on.
    label_map : what values mean.
    image : file of the images, which says how many times and depths there are.

    Returns
    -------
    labels : (N, H, W) whole numbers, 0 where ignored.
    ignored : (N, H, W) bools, None where nothing is ignored.
    """
    if path.suffix.lower() not in IN_ONE_PIECE and _unread(path):
        return open_known(path, label_map)
    return read_reference(path, shape, label_map, image=image)


def _unread(path: Path, *, in_channels: bool = False) -> Stack | None:
    """Stack that is read where it is asked for; None of what is read as a whole."""
    if is_zarr(path):
        try:
            return open_stack(path, in_channels=in_channels)
        except InputError:  # for instance of several channels; whoever reads it says what is wrong
            return None
    is_large = path.is_file() and path.stat().st_size > IN_MEMORY
    return open_stack(path, in_channels=in_channels) if is_large else None
