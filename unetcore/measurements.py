"""What the cells of an image are like: size, place and brightness, one row per cell."""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from skimage.measure import regionprops_table

from unetcore.data.files import check_space, write_atomically

PLACE = ("image", "slice", "label", "area_px", "area_um2", "y_px", "x_px", "y_um", "x_um")
OF_INTENSITY = ("mean", "min", "max", "std")
DIGITS = 7  # of what is no whole number

Table = dict[str, list]


def measure(
    cells: np.ndarray,
    pixels: np.ndarray,
    *,
    name: str,
    pixel_size: float | None = None,
    channels: Sequence[str] | None = None,
) -> Table:
    """Measure every cell of a stack.

    Parameters
    ----------
    cells : (Z, H, W) integer array, 0 = background, ids of cells begin anew in every slice.
    pixels : (Z, C, H, W) array of the file's grey values.
    name : of the image, for the first column.
    pixel_size : side of a pixel in um, None if unknown.
    channels : their names, None for numbers from 1.

    Returns
    -------
    values of every column, one per cell: `image`; `slice`, from 1; `label`; `area_px`, `area_um2`;
    the centroid's `y_px`, `x_px`, from the centre of the first pixel, `y_um`, `x_um`;
    `touches_border`, of the image; and of each channel `mean`, `min`, `max` and `std` of the grey
    values in the cell, followed by the channel's name if there are several. What needs a pixel
    size that is unknown is None.

    Examples
    --------
    >>> cells = np.array([[[0, 1, 1], [0, 0, 0]]])
    >>> table = measure(cells, 10 * cells[:, None], name="a.tif", pixel_size=0.5)
    >>> [table[column] for column in ("area_px", "area_um2", "x_px", "mean")]
    [[2], [0.5], [1.5], [10.0]]
    """
    channels = channels or [str(c + 1) for c in range(pixels.shape[1])]
    endings = [f"_{channel}" for channel in channels] if len(channels) > 1 else [""]
    of_slices = [
        _of_slice(page, np.moveaxis(grey, 0, -1), z + 1, endings)
        for z, (page, grey) in enumerate(zip(cells, pixels, strict=True))
    ]
    table = {name: list(chain(*(part[name] for part in of_slices))) for name in of_slices[0]}
    table["image"] = [name] * len(table["label"])
    area = None if pixel_size is None else pixel_size**2
    for column, of, factor in (
        ("area_um2", "area_px", area),
        ("y_um", "y_px", pixel_size),
        ("x_um", "x_px", pixel_size),
    ):
        table[column] = [None if factor is None else factor * value for value in table[of]]
    measured = [f"{what}{ending}" for ending in endings for what in OF_INTENSITY]
    return {column: table[column] for column in (*PLACE, "touches_border", *measured)}


def write_table(path: Path, table: Mapping[str, Sequence]) -> None:
    """Write columns as a CSV file, whole or not at all; None becomes an empty cell.

    Parameters
    ----------
    path : file to write; its folder is made where it is missing.
    table : columns of one length; their names stand in the first line.

    Raises
    ------
    InputError : the disk has not enough free space.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(
        [f"{value:.{DIGITS}g}" if isinstance(value, float) else value for value in row]
        for row in zip(*table.values(), strict=True)
    )
    content = text.getvalue().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    check_space(path, len(content))
    write_atomically(path, content)


def _of_slice(cells: np.ndarray, pixels: np.ndarray, number: int, endings: list[str]) -> Table:
    """Columns of one slice, from (H, W) ids and (H, W, C) grey values."""
    wanted = ("label", "area", "centroid", "bbox", *(f"intensity_{what}" for what in OF_INTENSITY))
    found = regionprops_table(cells, pixels, properties=wanted)
    top, left, bottom, right = (found[f"bbox-{k}"] for k in range(4))
    height, width = cells.shape
    at_border = (top == 0) | (left == 0) | (bottom == height) | (right == width)
    columns = {
        "slice": np.full(len(at_border), number),
        "label": found["label"],
        "area_px": found["area"].astype(int),
        "y_px": found["centroid-0"],
        "x_px": found["centroid-1"],
        "touches_border": at_border,
    }
    for c, ending in enumerate(endings):
        columns |= {f"{w}{ending}": found[f"intensity_{w}-{c}"] for w in OF_INTENSITY}
    return {column: values.tolist() for column, values in columns.items()}
