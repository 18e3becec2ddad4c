"""Reads what a page shows: pictures as people have them, and stacks larger than memory."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unetcore.data.annotated import IN_ONE_PIECE, read_reference
from unetcore.data.files import is_zarr
from unetcore.data.io import open_known, open_labels, open_probability, to_unit_range
from unetcore.data.label_map import LabelMap
from unetcore.data.pictures import picture_files, read_picture
from unetcore.data.pixel_size import in_micrometres
from unetcore.data.stacks import Stack, open_stack
from unetcore.errors import InputError
from unetcore.labels import whole_numbers

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
        return Images(stack, in_micrometres(stack.scale.voxel[-1], stack.scale.unit))
    return _read(path)


def _read(path: Path) -> Images:
    """Images of files that fit the memory, as an array."""
    pictures = [read_picture(file) for file in picture_files(path)]
    for picture in pictures:
        if picture.pixels.shape[1:] != pictures[0].pixels.shape[1:]:
            shapes = [" x ".join(map(str, p.pixels.shape[1:])) for p in (picture, pictures[0])]
            raise InputError(
                f"{picture.path}: {shapes[0]} (channels, height, width), but "
                f"{pictures[0].path.name} before it is {shapes[1]}"
            )
    sizes = {picture.pixel_size for picture in pictures}
    pixels = np.concatenate([picture.pixels for picture in pictures])
    return Images(pixels, sizes.pop() if len(sizes) == 1 else None)


def open_maps(path: Path):
    """Probability maps, (N, H, W) on the scale 0 to 1."""
    if _unread(path):
        return open_probability(path)
    return to_unit_range(_one_channel(path), str(path))


def open_cells(path: Path):
    """Cells that were segmented before, (N, H, W) whole numbers."""
    if _unread(path):
        return open_labels(path)
    try:
        return whole_numbers(_one_channel(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def open_reference(path: Path, shape: tuple[int, int, int], label_map: LabelMap):
    """Labels, and which pixels are ignored.

    Parameters
    ----------
    path : image of labels, folder of them, or Fiji's regions.
    shape : (N, H, W) of the images, which regions are drawn on.
    label_map : what values mean.

    Returns
    -------
    labels : (N, H, W) whole numbers, 0 where ignored.
    ignored : (N, H, W) bools, None where nothing is ignored.
    """
    if path.suffix.lower() not in IN_ONE_PIECE and _unread(path):
        return open_known(path, label_map)
    return read_reference(path, shape, label_map)


def _unread(path: Path, *, in_channels: bool = False) -> Stack | None:
    """Stack that is read where it is asked for; None of what is read as a whole."""
    if is_zarr(path):
        try:
            return open_stack(path, in_channels=in_channels)
        except InputError:  # for instance of several channels; whoever reads it says what is wrong
            return None
    is_large = path.is_file() and path.stat().st_size > IN_MEMORY
    return open_stack(path, in_channels=in_channels) if is_large else None


def _one_channel(path: Path) -> np.ndarray:
    pixels = _read(path).stack
    if (n_channels := pixels.shape[1]) > 1:
        raise InputError(f"{path}: {n_channels} channels, expected one")
    return pixels[:, 0]
