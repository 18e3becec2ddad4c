"""Stacks that may be larger than memory: nothing is read before it is asked for.

A stack is a TIFF file, a folder of TIFF files, or an image in OME-Zarr. Zarr itself is imported
where a stack is opened, so that all else does without.
"""

import hashlib
import math
import weakref
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tifffile

from unetcore.data.files import is_zarr
from unetcore.data.pixel_size import in_seconds
from unetcore.data.sizes import refuse_other_sizes
from unetcore.data.tiff import reading, refuse_colour, refuse_empty
from unetcore.errors import InputError, first_line

TIFF_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class Scale:
    """Distance of neighbouring voxels along z, y and x, and its unit if that is known.

    The frame interval is in s, None if it is not known.
    """

    voxel: tuple[float, float, float] = (1.0, 1.0, 1.0)
    unit: str | None = None
    frame_interval: float | None = None


class Stack:
    """Images (N, H, W), of which only what is asked for is read.

    ``stack[z]`` reads image z, `window` a part of one. What a file can decode only as a whole, a
    strip, a tile or a chunk, is called a block; the last `kept_blocks` of them stay in memory, so
    that windows side by side do not decode them again.

    Attributes
    ----------
    path : file or folder.
    shape : (N, H, W).
    dtype : type of the numbers in the file.
    block : (h, w) in px of what is decoded at once; (0, 0) where any part can be read by itself.
    scale : size of a voxel, if the file says.
    """

    def __init__(self, path: Path, parts: Sequence["_Part"], scale: Scale):
        self.path, self.scale = path, scale
        self._parts = parts
        self._ends = list(accumulate(part.shape[0] for part in parts))
        first = self._latest = parts[0]
        self.shape = (self._ends[-1], *first.shape[1:])
        self.dtype, self.block = first.dtype, first.block
        self.keep_blocks(1)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, z: int) -> np.ndarray:
        if not 0 <= z < len(self):
            raise IndexError(z)
        part, page = self._place(z)
        return part.read(page, *(slice(0, side) for side in self.shape[1:]))

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[z] for z in range(len(self)))

    def described(self) -> dict:
        """Name, shape and type of numbers, as plain JSON values."""
        return {"name": self.path.name, "shape": list(self.shape), "type": self.dtype.name}

    def version(self) -> str:
        """Digest of names, sizes and dates of all files, by which a changed stack is known.

        Pixels are not read; a copy of the stack is another version.
        """
        digest = hashlib.sha256()
        for file in self._files():
            status = file.stat()
            digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def _files(self) -> Iterator[Path]:
        """Files that hold the stack, in an order that repeats."""
        if is_zarr(self.path):
            return (file for file in sorted(self.path.rglob("*")) if file.is_file())
        return (part.path for part in self._parts)

    def keep_blocks(self, n: int) -> None:
        """Keep the last `n` decoded blocks in memory, at least one."""
        self._decoded = lru_cache(maxsize=max(1, n))(self._decode)

    def window(self, z: int, rows: slice, columns: slice) -> np.ndarray:
        """Part of image z.

        Parameters
        ----------
        rows, columns : slices within the image, with a start and a stop.

        Returns
        -------
        (rows, columns) array of the file's type.

        Raises
        ------
        InputError : the file cannot be read there.
        """
        if not 0 <= z < len(self):
            raise IndexError(z)
        if not all(self.block):
            part, page = self._place(z)
            return part.read(page, rows, columns)
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        for i, j in product(*map(_touched, (rows, columns), self.block)):
            block = self._decoded(z, i, j)
            top, left = i * self.block[0], j * self.block[1]
            r = slice(max(rows.start, top), min(rows.stop, top + block.shape[0]))
            c = slice(max(columns.start, left), min(columns.stop, left + block.shape[1]))
            target = _shifted(r, rows.start), _shifted(c, columns.start)
            out[target] = block[_shifted(r, top), _shifted(c, left)]
        return out

    def blocks_of(self, height: int, width: int) -> int:
        """Count the blocks that a window of height x width px can touch."""
        if not all(self.block):
            return 0
        spans = zip((height, width), self.block, self.shape[1:], strict=True)
        return math.prod(min(-(-side // b) + 1, -(-whole // b)) for side, b, whole in spans)

    @property
    def block_size(self) -> int:
        """Bytes of a decoded block, in all images that it reaches over."""
        return math.prod(self.block) * self._parts[0].block_depth * self.dtype.itemsize

    def _place(self, z: int) -> tuple["_Part", int]:
        """Part that holds image z, and its number there."""
        k = bisect_right(self._ends, z)
        part = self._parts[k]
        if part is not self._latest:
            self._latest.release()
            self._latest = part
        return part, z - (self._ends[k] - part.shape[0])

    def _decode(self, z: int, i: int, j: int) -> np.ndarray:
        part, page = self._place(z)
        height, width = self.block
        rows = slice(i * height, min((i + 1) * height, self.shape[1]))
        columns = slice(j * width, min((j + 1) * width, self.shape[2]))
        return part.read(page, rows, columns)


def open_stack(path: Path, *, fill_missing: bool = False, look: bool = True) -> Stack:
    """Open a stack of grey images, labels or probabilities without reading it.

    Parameters
    ----------
    path : TIFF file; folder of TIFF files, in the order of their names; OME-Zarr image or Zarr
        array of two or three dimensions, and others of length 1.
    fill_missing : whether chunks that a Zarr does not have count as its fill value, as programs
        mean it that write no chunk of background; else they are refused, as those of a copy that
        was cut short.
    look : whether to look for missing chunks now, and not only where one is read.

    Returns
    -------
    Stack. Values are not looked at.

    Raises
    ------
    InputError : the path is absent, damaged, in colour, holds no stack, or misses chunks.
    """
    path = Path(path)
    if is_zarr(path):
        array, names, scale = open_array(path)
        part = _ZarrPart(array, _stack_axis(array.shape, names, path), path, fill_missing)
        if look:
            part.refuse_missing()
        return Stack(path, [part], scale)
    files = tiff_files(path) if path.is_dir() else [path]
    parts = [_TiffPart(file) for file in files]
    refuse_other_sizes(files, [part.shape[1:] for part in parts])
    for part in parts:
        if part.dtype != parts[0].dtype:
            raise InputError(
                f"{part.path}: {part.dtype} values, but {files[0].name} before it is "
                f"{parts[0].dtype}"
            )
    return Stack(path, parts, Scale())


def tiff_files(folder: Path) -> list[Path]:
    """TIFF files of a folder in the order of their names, without hidden ones.

    Raises
    ------
    InputError : there is none.
    """
    files = sorted(
        file
        for file in Path(folder).iterdir()
        if file.suffix.lower() in TIFF_SUFFIXES and not file.name.startswith(".")
    )
    if not files:
        raise InputError(f"{folder}: no file named *.tif or *.tiff in this folder")
    return files


class _Part(Protocol):
    """A file of a stack: its shape, and how any window of a page is read."""

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype
    block: tuple[int, int]
    block_depth: int  # images that a block reaches over

    def read(self, page: int, rows: slice, columns: slice) -> np.ndarray:
        """Read a window of a page."""

    def release(self) -> None:
        """Let go of what an open file takes; it can be read again."""


class _TiffPart:
    """A TIFF file. What is compressed is read by strips or tiles, all else is mapped."""

    block_depth = 1

    def __init__(self, path: Path):
        self.path, self._store = path, None
        with reading(path), tifffile.TiffFile(path) as file:
            refuse_colour(file, path)
            series = file.series[0]
            self.shape = (math.prod(series.shape[:-2]), *series.shape[-2:])
            self.dtype = np.dtype(series.dtype).newbyteorder("=")
            self._stored_as = np.dtype(series.dtype).newbyteorder(file.byteorder)
            self._offset = series.dataoffset  # None: compressed, or not in one piece
            self.block = (0, 0) if self._offset else self._open_blocks(series)

    def _open_blocks(self, series: tifffile.TiffPageSeries) -> tuple[int, int]:
        """Open the series by its strips or tiles, and return their (h, w)."""
        import zarr

        self._store = series.aszarr(level=0)  # opens the file again when it is read
        self._array = zarr.open_array(self._store, mode="r")
        weakref.finalize(self, self._store.close)
        return self._array.chunks[-2:]

    def read(self, page, rows, columns):
        with reading(self.path):
            if self._offset:  # mapped for this window alone: what is mapped counts as memory
                pages = np.memmap(self.path, self._stored_as, "r", self._offset, self.shape)
                return np.array(pages[page, rows, columns], self.dtype)
            place = np.unravel_index(page, self._array.shape[:-2])
            return np.asarray(self._array[(*place, rows, columns)], self.dtype)

    def release(self):
        if self._store is not None:
            self._store.close()


class _ZarrPart:
    """An array of Zarr; axes of length 1 beside those of the stack are left out."""

    def __init__(self, array: Any, stack_axis: int | None, path: Path, fill_missing: bool):
        self.path, self._array, self._axis = path, array, stack_axis
        self._fill_missing = fill_missing
        n = 1 if stack_axis is None else array.shape[stack_axis]
        self.shape = (n, *array.shape[-2:])
        self.dtype = np.dtype(array.dtype)
        self.block = tuple(array.chunks[-2:])
        self.block_depth = math.prod(array.chunks[:-2])
        refuse_empty(self.shape, path)

    def read(self, page, rows, columns):
        leading = [0] * (len(self._array.shape) - 2)
        if self._axis is not None:
            leading[self._axis] = page
        window = (*(slice(k, k + 1) for k in leading), rows, columns)
        self.refuse_missing(window)
        with reading_zarr(f"{self.path}, image {page}"):
            return np.asarray(self._array[(*leading, rows, columns)])

    def refuse_missing(self, window: Sequence[slice] | None = None) -> None:
        """Refuse chunks that were never written, of a window or of all, unless they are filled."""
        if not self._fill_missing:
            refuse_missing_chunks(self._array, self.path, window)

    def release(self) -> None:
        """Nothing: no file stays open."""


def refuse_missing_chunks(array: Any, path: Path, window: Sequence[slice] | None = None) -> None:
    """Refuse chunks of a Zarr array that were never written, of a window or of all.

    Parameters
    ----------
    array : as of `open_array`.
    path : folder that it was opened by.
    window : a slice with start and stop for each axis; None: all.

    Raises
    ------
    InputError : chunks are missing; their number and the first of them are named.
    """
    window = window or [slice(0, n) for n in array.shape]
    sides = getattr(array, "shards", None) or array.chunks  # one file each
    places = list(product(*map(_touched, window, sides)))
    folder, key = Path(path) / array.path, array.metadata.encode_chunk_key
    if missing := [place for place in places if not (folder / key(place)).is_file()]:
        raise InputError(
            f"{path}: {len(missing)} of {len(places)} chunks are missing, the first is "
            f"{'/'.join(map(str, missing[0]))}: copy it again, or let them be filled "
            "(fill-missing)"
        )


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


def _stack_axis(shape: tuple[int, ...], names: Sequence[str], path: Path) -> int | None:
    """Axis that counts images, None of a single one."""
    if len(shape) < 2:
        raise InputError(f"{path}: a Zarr array of shape {shape}, expected a stack of images")
    if list(names[-2:]) not in ([], ["y", "x"]):
        raise InputError(f"{path}: axes {''.join(names)}, expected y and x last")
    long = [k for k, n in enumerate(shape[:-2]) if n > 1]
    if "c" in [names[k] for k in long if names] or len(long) > 1:
        axes = f"axes {''.join(names)} of " if names else ""
        raise InputError(f"{path}: {axes}shape {shape}, expected a stack of grey images")
    return long[0] if long else None


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
    return Scale(tuple(float(by_name[axis]) for axis in "zyx"), _unit_of("yx", image), interval)


def _unit_of(names: str, image: dict) -> str | None:
    """Unit that axes of these names have in common, None if there is none."""
    axes = [axis for axis in image.get("axes", []) if _name_of(axis) in names]
    units = {axis.get("unit") for axis in axes if isinstance(axis, dict)}
    return units.pop() if len(units) == 1 else None


def _touched(span: slice, side: int) -> range:
    """Numbers of the blocks of a side that a slice touches."""
    return range(span.start // side, -(-span.stop // side))


def _shifted(span: slice, by: int) -> slice:
    return slice(span.start - by, span.stop - by)
