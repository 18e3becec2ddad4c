"""Arrays of Zarr, and what OME-Zarr says of them.

Zarr itself is imported where an array is opened, so that all else does without.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from unetcore.data.pixel_size import Scale, in_micrometres, in_seconds
from unetcore.errors import InputError, first_line

logger = logging.getLogger(__name__)


def refuse_missing_chunks(
    array: Any, path: Path, window: Sequence[slice] | None = None, *, way_out: str
) -> None:
    """Refuse chunks of a Zarr array that were never written, of a window or of all.

    Parameters
    ----------
    array : as of `open_array`.
    path : folder that it was opened by.
    window : a slice with start and stop for each axis; None: all.
    way_out : what a user can do who means it so, besides copying it again.

    Raises
    ------
    InputError : chunks are missing; their number and the first of them are named.
    """
    missing, n_chunks = _missing_chunks(array, path, window)
    if missing:
        raise InputError(
            f"{path}: {len(missing)} of {n_chunks} chunks are missing, the first is "
            f"{'/'.join(map(str, missing[0]))}: copy it again, or {way_out}"
        )


def warn_of_missing_chunks(array: Any, path: Path) -> None:
    """Log how many chunks of a Zarr array were never written, and what they are taken for.

    Whoever reads an array several times is told once.
    """
    missing, n_chunks = _missing_chunks(array, path)
    if missing:
        value = array.fill_value or 0  # where none is named, Zarr fills with 0
        meant = "background" if value == 0 else value
        _warn_once(f"{path}: {len(missing)} of {n_chunks} chunks are missing, taken for {meant}")


@lru_cache
def _warn_once(line: str) -> None:
    logger.warning(line)


def _missing_chunks(
    array: Any, path: Path, window: Sequence[slice] | None = None
) -> tuple[list[tuple[int, ...]], int]:
    """Places of the chunks of a window that have no file, and the number of all it touches."""
    window = window or [slice(0, n) for n in array.shape]
    sides = getattr(array, "shards", None) or array.chunks  # one file each
    places = list(product(*map(touched, window, sides)))
    folder, key = Path(path) / array.path, array.metadata.encode_chunk_key
    return [place for place in places if not (folder / key(place)).is_file()], len(places)


@contextmanager
def reading_zarr(name: Path | str) -> Iterator[None]:
    """Say in one line what is wrong with the Zarr of this name that the block cannot read."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each codec has its own for what is damaged or unknown
        reason = first_line(error).strip("'\"")
        raise InputError(f"{name}: not a readable Zarr ({reason})") from error


def open_array(path: Path) -> tuple[Any, list[str], Scale]:
    """Open the array of full resolution of a Zarr.

    Parameters
    ----------
    path : folder of a Zarr array, or of an image in OME-Zarr.

    Returns
    -------
    array, names of its axes (none where they are not said), size of its voxels.

    Raises
    ------
    InputError : it cannot be read, or is a group that is no image.
    """
    import zarr

    with reading_zarr(path):
        found = zarr.open(path, mode="r")
        if isinstance(found, zarr.Array):
            return found, [], Scale()
        attributes = found.attrs.asdict()
        images = attributes.get("ome", attributes).get("multiscales")
        if not images:
            raise InputError(f"{path}: a Zarr group that is no OME-Zarr image (no multiscales)")
        first = images[0]["datasets"][0]
        array = found[first["path"]]
        names = [_name_of(axis) for axis in images[0].get("axes", [])]
        if names and len(names) != len(array.shape):
            raise InputError(f"{path}: {len(names)} axes for an array of shape {array.shape}")
        return array, names, _scale(images[0], first, names)


def _name_of(axis: dict | str) -> str:
    """Name of an axis; up to version 0.3 it is all that is said of one."""
    return axis if isinstance(axis, str) else axis["name"]


def _scale(image: dict, dataset: dict, names: Sequence[str]) -> Scale:
    """Size of a voxel as the metadata of an OME-Zarr image say it."""
    by_name = dict.fromkeys("tzyx", 1.0)
    for described in (dataset, image):  # the second is of all resolutions
        for transform in described.get("coordinateTransformations", []):
            if transform.get("type") == "scale":
                for name, factor in zip(names, transform["scale"], strict=True):
                    by_name[name] = by_name.get(name, 1.0) * factor
    interval = in_seconds(by_name["t"], _unit_of("t", image))
    unit = _unit_of("yx", image)
    spacing = _in_unit(float(by_name["z"]), _unit_of("z", image), unit)
    return Scale((spacing, float(by_name["y"]), float(by_name["x"])), unit, interval)


def _in_unit(length: float, unit: str | None, wanted: str | None) -> float | None:
    """A length in another unit, None where one of the two is no known length."""
    if unit == wanted:
        return length
    found, one = in_micrometres(length, unit), in_micrometres(1.0, wanted)
    return None if found is None or one is None else found / one


def _unit_of(names: str, image: dict) -> str | None:
    """Unit that axes of these names have in common, None if there is none."""
    axes = [axis for axis in image.get("axes", []) if _name_of(axis) in names]
    units = {axis.get("unit") for axis in axes if isinstance(axis, dict)}
    return units.pop() if len(units) == 1 else None


def touched(span: slice, side: int) -> range:
    """Numbers of the blocks of a side that a slice touches."""
    return range(span.start // side, -(-span.stop // side))
