"""Stacks that may be larger than memory: nothing is read before it is asked for.

A stack is a TIFF file, a folder of TIFF files, or an image in OME-Zarr.
"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, product
from pathlib import Path

import numpy as np

from unetcore.data.files import is_zarr
from unetcore.data.pixel_size import Scale
from unetcore.data.sizes import refuse_other_sizes
from unetcore.data.stack_parts import Part, TiffPart, ZarrPart
from unetcore.data.zarr_array import touched
from unetcore.errors import InputError

TIFF_SUFFIXES = (".tif", ".tiff")


class Stack:
    """Images (N, H, W), of which only what is asked for is read.

    ``stack[z]`` reads image z, `window` a part of one. What a file can decode only as a whole, a
    strip, a tile or a chunk, is called a block; the last of them stay in memory, as many as
    `keep_blocks` says, so that windows side by side do not decode them again.

    Parameters
    ----------
    path : file or folder.
    parts : its files.
    in_channels : whether images are (C, H, W), also of one channel, and not (H, W).

    Attributes
    ----------
    shape : (N, H, W); N counts all times and depths, times first.
    n_channels : of each image.
    axes : of the images without their channels, out of T, Z, Y and X in this order.
    sides : lengths of these axes.
    dtype : type of the numbers in the file.
    block : (h, w) in px of what is decoded at once; (0, 0) where any part can be read by itself.
    scale : size of a voxel, if the files say, and all the same.
    """

    def __init__(self, path: Path, parts: Sequence[Part], in_channels: bool = False):
        self.path, self._parts, self._in_channels = path, parts, in_channels
        self._ends = list(accumulate(part.layout.stack_shape[0] for part in parts))
        first = self._latest = parts[0]
        self.shape = (self._ends[-1], *first.layout.stack_shape[1:])
        slices = first.layout.slices if len(parts) == 1 else {"Z": self._ends[-1]}
        self.axes = "".join(slices) + "YX"
        self.sides = (*slices.values(), *self.shape[1:])
        self.n_channels = first.layout.n_channels
        self.dtype, self.block = first.dtype, first.block
        scales = {part.scale for part in parts}
        self.scale = scales.pop() if len(scales) == 1 else Scale()
        self.keep_blocks(1)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, z: int) -> np.ndarray:
        if not 0 <= z < len(self):
            raise IndexError(z)
        part, page = self._place(z)
        return self._shaped(part.read(page, *(slice(0, side) for side in self.shape[1:])))

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[z] for z in range(len(self)))

    def described(self) -> dict:
        """Name, shape, axes, channels and type of numbers, as plain JSON values."""
        return {
            "name": self.path.name,
            "shape": list(self.shape),
            "axes": self.axes,
            "channels": self.n_channels,
            "type": self.dtype.name,
        }

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
        (rows, columns) array of the file's type; (C, rows, columns) of a stack in channels.

        Raises
        ------
        InputError : the file cannot be read there.
        """
        if not 0 <= z < len(self):
            raise IndexError(z)
        if not all(self.block):
            part, page = self._place(z)
            return self._shaped(part.read(page, rows, columns))
        size = rows.stop - rows.start, columns.stop - columns.start
        out = np.empty((self.n_channels, *size), self.dtype)
        for i, j in product(*map(touched, (rows, columns), self.block)):
            block = self._decoded(z, i, j)
            top, left = i * self.block[0], j * self.block[1]
            r = slice(max(rows.start, top), min(rows.stop, top + block.shape[-2]))
            c = slice(max(columns.start, left), min(columns.stop, left + block.shape[-1]))
            target = _shifted(r, rows.start), _shifted(c, columns.start)
            out[:, *target] = block[:, _shifted(r, top), _shifted(c, left)]
        return self._shaped(out)

    def blocks_of(self, height: int, width: int) -> int:
        """Count the blocks that a window of height x width px can touch."""
        if not all(self.block):
            return 0
        spans = zip((height, width), self.block, self.shape[1:], strict=True)
        return math.prod(min(-(-side // b) + 1, -(-whole // b)) for side, b, whole in spans)

    @property
    def block_size(self) -> int:
        """Bytes of a decoded block, in all channels and all images that it reaches over."""
        return math.prod(self.block) * self._parts[0].block_planes * self.dtype.itemsize

    def _shaped(self, image: np.ndarray) -> np.ndarray:
        """Image (C, h, w) with or without its axis of channels."""
        return image if self._in_channels else image[0]

    def _place(self, z: int) -> tuple[Part, int]:
        """Part that holds image z, and its number there."""
        k = bisect_right(self._ends, z)
        part = self._parts[k]
        if part is not self._latest:
            self._latest.release()
            self._latest = part
        return part, z - (self._ends[k] - part.layout.stack_shape[0])

    def _decode(self, z: int, i: int, j: int) -> np.ndarray:
        part, page = self._place(z)
        height, width = self.block
        rows = slice(i * height, min((i + 1) * height, self.shape[1]))
        columns = slice(j * width, min((j + 1) * width, self.shape[2]))
        return part.read(page, rows, columns)


def open_stack(
    path: Path, *, fill_missing: bool = False, look: bool = True, in_channels: bool = False
) -> Stack:
    """Open a stack of images, labels or probabilities without reading it.

    Parameters
    ----------
    path : TIFF file; folder of TIFF files, in the order of their names; OME-Zarr image, or Zarr
        array whose last two axes are rows and columns. Times and depths count images, and other
        axes have length 1.
    fill_missing : whether chunks that a Zarr does not have count as its fill value, as programs
        mean it that write no chunk of background; else they are refused, as those of a copy that
        was cut short.
    look : whether to look for missing chunks now, and not only where one is read.
    in_channels : whether images may have channels or be in red, green and blue, and are given as
        (C, H, W); else they are (H, W), and others are refused.

    Returns
    -------
    Stack. Values are not looked at.

    Raises
    ------
    InputError : the path is absent, damaged, in other colours, holds no stack, or misses chunks.
    """
    path = Path(path)
    if is_zarr(path):
        part = ZarrPart(path, fill_missing, in_channels)
        if look:
            part.refuse_missing()
        return Stack(path, [part], in_channels)
    files = tiff_files(path) if path.is_dir() else [path]
    parts = [TiffPart(file, in_channels) for file in files]
    refuse_other_sizes(files, [part.layout.stack_shape[1:] for part in parts])
    for part in parts[1:]:
        _refuse_unlike(part, parts[0])
    return Stack(path, parts, in_channels)


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


def _refuse_unlike(part: Part, first: Part) -> None:
    """Refuse a file whose images are of other channels or numbers."""
    n_channels = [each.layout.n_channels for each in (part, first)]
    if n_channels[0] != n_channels[1]:
        difference = (
            f"{n_channels[0]} channels, but {first.path.name} before it has {n_channels[1]}"
        )
    elif part.dtype != first.dtype:
        difference = f"{part.dtype} values, but {first.path.name} before it is {first.dtype}"
    else:
        return
    raise InputError(f"{part.path}: {difference}")


def _shifted(span: slice, by: int) -> slice:
    return slice(span.start - by, span.stop - by)
