"""The files of a stack: how a window of an image is read from TIFF, and from Zarr."""

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import tifffile

from unetcore.data.layout import Layout, layout_of
from unetcore.data.pixel_size import Scale, scale_of
from unetcore.data.raw_image import named_axes
from unetcore.data.tiff import axes_of_grey, reading, refuse_colour, refuse_empty
from unetcore.data.tiff_picture import refuse_colours, sizes_of
from unetcore.data.zarr_array import open_array, reading_zarr, refuse_missing_chunks
from unetcore.errors import InputError

FILLED = "let them be filled (--fill-missing; in the workflow fill_missing: true)"
ONE_SIZE = "pages of different size or type, expected one size"


class Part(Protocol):
    """A file of a stack: its shape, and how any window of an image is read."""

    path: Path
    layout: Layout
    dtype: np.dtype
    scale: Scale
    block: tuple[int, int]  # (h, w) in px of what is decoded at once, (0, 0) of a plain file
    block_planes: int  # of this size: channels and images that are decoded with it

    def read(self, page: int, rows: slice, columns: slice) -> np.ndarray:
        """Read a window of an image, (C, h, w)."""

    def release(self) -> None:
        """Let go of what an open file takes; it can be read again."""


class TiffPart:
    """A TIFF file. What is compressed is read by strips or tiles, all else is mapped.

    Parameters
    ----------
    path : file.
    in_channels : whether its images may have channels, and be in colour.
    """

    def __init__(self, path: Path, in_channels: bool):
        self.path, self._store = path, None
        with reading(path), tifffile.TiffFile(path) as file:
            self.layout = _layout_of_tiff(file, path, in_channels)
            series = file.series[0]
            self.scale = scale_of(*sizes_of(file))
            self.dtype = np.dtype(series.dtype).newbyteorder("=")
            self._stored_as = np.dtype(series.dtype).newbyteorder(file.byteorder)
            self._offset = series.dataoffset  # None: compressed, or not in one piece
            self.block, self.block_planes = (0, 0), 0
            if not self._offset:
                self._open_blocks(series)

    def _open_blocks(self, series: tifffile.TiffPageSeries) -> None:
        """Open the series by its strips or tiles."""
        import zarr

        self._store = series.aszarr(level=0)  # opens the file again when it is read
        self._array = zarr.open_array(self._store, mode="r")
        weakref.finalize(self, self._store.close)
        self.block, self.block_planes = self.layout.block(self._array.chunks)

    def read(self, page: int, rows: slice, columns: slice) -> np.ndarray:
        """Read a window of an image, (C, h, w)."""
        window = self.layout.window(page, rows, columns)
        with reading(self.path):
            if self._offset:  # mapped for this window alone: what is mapped counts as memory
                shape = self.layout.shape
                pages = np.memmap(self.path, self._stored_as, "r", self._offset, shape)
                return self.layout.as_channels(np.array(pages[window], self.dtype))
            return self.layout.as_channels(np.asarray(self._array[window], self.dtype))

    def release(self) -> None:
        """Close the file; it is opened again when it is read."""
        if self._store is not None:
            self._store.close()


class ZarrPart:
    """An array of Zarr, or the full resolution of an image in OME-Zarr.

    Parameters
    ----------
    path : folder.
    fill_missing : whether chunks that are not there are the fill value.
    in_channels : whether its images may have channels.
    """

    def __init__(self, path: Path, fill_missing: bool, in_channels: bool):
        self.path, self._fill_missing = path, fill_missing
        self._array, names, self.scale = open_array(path)
        shape = tuple(self._array.shape)
        if len(shape) < len("YX"):
            raise InputError(f"{path}: a Zarr array of shape {shape}, expected a stack of images")
        refuse_empty(shape, path)
        self.layout = layout_of(names, shape, path)
        if not in_channels and self.layout.n_channels > 1:
            raise InputError(
                f"{path}: axes {''.join(names)} of shape {shape}, expected a stack of grey images"
            )
        self.dtype = np.dtype(self._array.dtype)
        self.block, self.block_planes = self.layout.block(self._array.chunks)

    def read(self, page: int, rows: slice, columns: slice) -> np.ndarray:
        """Read a window of an image, (C, h, w)."""
        window = self.layout.window(page, rows, columns)
        self.refuse_missing(window)
        with reading_zarr(f"{self.path}, image {page}"):
            return self.layout.as_channels(np.asarray(self._array[window]))

    def refuse_missing(self, window: Sequence[slice] | None = None) -> None:
        """Refuse chunks that were never written, of a window or of all, unless they are filled."""
        if not self._fill_missing:
            refuse_missing_chunks(self._array, self.path, window, way_out=FILLED)

    def release(self) -> None:
        """Nothing: no file stays open."""


def _layout_of_tiff(file: tifffile.TiffFile, path: Path, in_channels: bool) -> Layout:
    """Layout of a file whose pages are of one size."""
    if not in_channels:
        refuse_colour(file, path)
        return Layout(axes_of_grey(file.series[0]), file.series[0].shape)
    refuse_colours(file, path)
    if len(file.series) > 1:
        raise InputError(f"{path}: {ONE_SIZE}")
    series = file.series[0]
    refuse_empty(series.shape, path)
    return Layout(named_axes(series.axes, series.shape, path), series.shape)
