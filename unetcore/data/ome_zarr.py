"""Images that are written chunk by chunk, as OME-Zarr.

Version 0.4 of the format, on Zarr 2, is the one that most viewers read. One chunk is one file,
which appears whole or not at all, so what is there is finished: an image that was not written to
its end is continued by whatever process comes next, and several processes may write different
chunks of it at the same time.
"""

import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unetcore.data.files import check_space, is_zarr, replacing, write_atomically
from unetcore.data.pixel_size import Scale
from unetcore.differences import differences
from unetcore.errors import InputError, first_line

FULL_RESOLUTION = "0"
OURS, MADE = "unetcore", "unetcore-made"  # attributes: our record, and which image it is
ABANDONED = 3600  # seconds after which a half-written file is of a process that was killed
COMPRESSOR = {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 1}
CHUNK = 1024  # px, side of the chunks of an image that is written at once
SMALL_ENOUGH = 512  # px: an image of this size needs no coarser copy


class Chunk(NamedTuple):
    """Place of a chunk in the grid: its image, its row and its column."""

    z: int
    row: int
    column: int


class ChunkedImage:
    """A float32 stack (N, H, W) in chunks of `side` x `side` px; those not written are NaN.

    N counts all times and depths. Made by `create_image`, found again by `open_image`.

    Attributes
    ----------
    path : folder of the image.
    shape : (N, H, W).
    sides : lengths of the axes as they are stored: of time and depth, those that there are, H, W.
    side : of a chunk in px.
    record : what `create_image` was given.
    """

    def __init__(self, path: Path):
        import zarr

        self.path = Path(path)
        self._group = zarr.open_group(self.path, mode="r+")
        full = self._group[FULL_RESOLUTION]
        self.sides, self.side = full.shape, full.chunks[-1]
        self.shape = (math.prod(self.sides[:-2]), *self.sides[-2:])
        self.record, self._made = self._group.attrs[OURS], self._group.attrs[MADE]

    def refuse_unlike(self, settings: Mapping) -> None:
        """Refuse to go on with settings that are not those on record.

        Parameters
        ----------
        settings : some of the record, as plain JSON values.

        Raises
        ------
        InputError : one differs; it is named, with both values.
        """
        found = {key: value for key, value in self.record.items() if key in settings}
        if found != settings:
            words = differences(found, settings)
            raise InputError(
                f"{self.path}: of another prediction ({words}): take another name, or delete it"
            )

    def chunks(self) -> list[Chunk]:
        """All chunks, image by image, in row-major order."""
        return [Chunk(*place) for place in product(*map(range, self._grid(FULL_RESOLUTION)))]

    def missing(self) -> list[Chunk]:
        """Chunks that are not written yet."""
        return [chunk for chunk in self.chunks() if not self.is_written(chunk)]

    def is_written(self, chunk: Chunk) -> bool:
        """Whether a chunk is there; then it is whole."""
        return _is_there(self._file(FULL_RESOLUTION, chunk))

    def place(self, chunk: Chunk) -> tuple[slice, slice]:
        """Rows and columns of the image that a chunk fills."""
        return self._place(FULL_RESOLUTION, chunk)

    def write(self, chunk: Chunk, values: np.ndarray) -> None:
        """Write a chunk.

        Parameters
        ----------
        values : float32 array of the size of `place`.

        Raises
        ------
        InputError : the image was replaced by another one of the same name.
        OSError : it cannot be written; what was written before stays.
        """
        if self._made_now() != self._made:
            raise InputError(f"{self.path}: another process has made it anew; this one stops")
        self._write(FULL_RESOLUTION, chunk, values)

    def finish(self) -> None:
        """Add coarser copies, as viewers of large images need them, chunk by chunk.

        Each has half the sides of the one before, every value the mean of up to four.

        Raises
        ------
        InputError : a chunk is missing, or cannot be read.
        """
        if missing := self.missing():
            raise InputError(
                f"{self.path}: {len(missing)} of {len(self.chunks())} chunks are not predicted "
                f"yet, the first is {'/'.join(map(str, self._stored(missing[0])))}"
            )
        for level in range(1, self.n_levels):
            self._coarsen(str(level - 1), str(level))
        for left_over in self.path.rglob(".*.*/"):  # as `replacing` names its folders
            if time.time() - left_over.stat().st_mtime > ABANDONED:
                shutil.rmtree(left_over, ignore_errors=True)

    @property
    def n_levels(self) -> int:
        """Number of resolutions, each half of the one before."""
        return n_levels(self.shape)

    def _coarsen(self, fine: str, coarse: str) -> None:
        """Write those chunks of a level that are missing, from the level before."""
        for place in product(*map(range, self._grid(coarse))):
            chunk = Chunk(*place)
            if not _is_there(self._file(coarse, chunk)):
                rows, columns = self._place(coarse, chunk)
                source = self._read(fine, chunk.z, _doubled(rows), _doubled(columns))
                self._write(coarse, chunk, halved(source))

    def _read(self, level: str, z: int, rows: slice, columns: slice) -> np.ndarray:
        try:
            return self._group[level][(*self._slice(z), rows, columns)]
        except (RuntimeError, ValueError) as error:  # what the codec says of a damaged chunk
            reason = first_line(error)
            raise InputError(
                f"{self.path}/{level}: damaged around image {z}, row {rows.start}, column "
                f"{columns.start} ({reason}): delete the chunk, and predict again"
            ) from error

    def _write(self, level: str, chunk: Chunk, values: np.ndarray) -> None:
        """Write a chunk by the rules of Zarr 2: filled up to its full size, and compressed."""
        file = self._file(level, chunk)
        whole = np.full((self.side, self.side), np.nan, "<f4")
        whole[: values.shape[0], : values.shape[1]] = values
        code = self._group[level].metadata.compressor.encode(whole)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as temporary, open(temporary, "wb") as opened:
                opened.write(code)
                opened.flush()
                os.fsync(opened.fileno())
        except OSError as error:
            error.filename = str(self.path)
            raise

    def _made_now(self) -> str | None:
        """Which image is there now under this name."""
        try:
            return json.loads((self.path / ".zattrs").read_text()).get(MADE)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _grid(self, level: str) -> tuple[int, int, int]:
        return self.shape[0], *self._group[level].cdata_shape[-2:]

    def _slice(self, z: int) -> tuple[int, ...]:
        """Time and depth of an image, those that there are."""
        counted = self.sides[:-2]
        return tuple(map(int, np.unravel_index(z, counted))) if counted else ()

    def _stored(self, chunk: Chunk) -> tuple[int, ...]:
        """Place of a chunk in the grid as it is stored."""
        return *self._slice(chunk.z), chunk.row, chunk.column

    def _file(self, level: str, chunk: Chunk) -> Path:
        metadata = self._group[level].metadata
        return self.path / level / metadata.encode_chunk_key(self._stored(chunk))

    def _place(self, level: str, chunk: Chunk) -> tuple[slice, slice]:
        sides = zip(chunk[1:], self._group[level].shape[-2:], strict=True)
        return tuple(slice(k * self.side, min((k + 1) * self.side, n)) for k, n in sides)


def create_image(
    path: Path,
    shape: tuple[int, ...],
    side: int,
    record: Mapping,
    scale: Scale,
    axes: str = "zyx",
) -> ChunkedImage:
    """Make an image without a chunk, or find it if another process was faster.

    Parameters
    ----------
    path : folder to be made.
    shape : lengths of the axes.
    side : of a chunk in px.
    record : what must be known of the values, as plain JSON values.
    scale : size of a voxel.
    axes : names of the axes: "yx", with "t" or "z" or both before them.
    """
    import zarr

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        group = zarr.open_group(unfinished, mode="w", zarr_format=2)
        for level in range(n_levels(shape)):
            group.create_array(
                str(level),
                shape=(*shape[:-2], *(-(-n // 2**level) for n in shape[-2:])),
                chunks=(*[1] * len(shape[:-2]), side, side),
                dtype="float32",
                fill_value=np.nan,
                chunk_key_encoding={"name": "v2", "separator": "/"},
                compressors=COMPRESSOR,
                # A chunk of NaN is none of ours: one that is there is written.
                config={"write_empty_chunks": True},
            )
        attributes = _metadata(path.name.partition(".")[0], n_levels(shape), scale, axes)
        attributes |= {OURS: dict(record), MADE: uuid.uuid4().hex}
        write_atomically(unfinished / ".zattrs", json.dumps(attributes, indent=1).encode())
        try:
            os.rename(unfinished, path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return open_image(path)


def write_image(path: Path, array: np.ndarray, axes: str, scale: Scale) -> None:
    """Write a whole image of one resolution; it appears, or takes another's place, at once.

    Parameters
    ----------
    path : folder to be made; an image in OME-Zarr that is there already is replaced.
    array : of any number type of Zarr.
    axes : names of its axes, out of "tzyx".
    scale : size of a voxel.

    Raises
    ------
    InputError : the disk has not enough free space.
    OSError : something other than an image in OME-Zarr is there.
    """
    import zarr

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    check_space(path, array.nbytes)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        group = zarr.open_group(unfinished, mode="w", zarr_format=2)
        made = group.create_array(
            FULL_RESOLUTION,
            shape=array.shape,
            chunks=tuple(
                min(side, CHUNK) if axis in "yx" else 1
                for axis, side in zip(axes, array.shape, strict=True)
            ),
            dtype=array.dtype,
            chunk_key_encoding={"name": "v2", "separator": "/"},
            compressors=COMPRESSOR,
            # A chunk that is not there is taken for one that was lost.
            config={"write_empty_chunks": True},
        )
        made[...] = array
        attributes = _metadata(path.name.partition(".")[0], 1, scale, axes)
        write_atomically(unfinished / ".zattrs", json.dumps(attributes, indent=1).encode())
        if is_zarr(path):
            remove_image(path)
        os.rename(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def remove_image(path: Path) -> None:
    """Remove an image, all at once for those who look for it by its name."""
    path = Path(path)
    trash = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    path.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


def open_image(path: Path) -> ChunkedImage:
    """Open an image that `create_image` made.

    Raises
    ------
    InputError : it is none of ours.
    """
    try:
        return ChunkedImage(path)
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: exists, and is no prediction of ours to continue") from error


def n_levels(shape: tuple[int, ...]) -> int:
    """Number of resolutions until an image is of `SMALL_ENOUGH` px at most.

    Examples
    --------
    >>> n_levels((30, 512, 512)), n_levels((1, 16384, 9000))
    (1, 6)
    """
    return 1 + max(0, math.ceil(math.log2(max(shape[-2:]) / SMALL_ENOUGH)))


def halved(image: np.ndarray) -> np.ndarray:
    """Mean of each 2 x 2 px; a last row or column that is alone counts twice.

    Examples
    --------
    >>> halved(np.array([[0, 1, 8], [2, 3, 10]], np.float32)).tolist()
    [[1.5, 9.0]]
    """
    padded = np.pad(image, [(0, side % 2) for side in image.shape], mode="edge")
    height, width = (side // 2 for side in padded.shape)
    return padded.reshape(height, 2, width, 2).mean(axis=(1, 3), dtype=np.float32)


def _metadata(name: str, levels: int, scale: Scale, axes: str) -> dict[str, Any]:
    """Attributes of an OME-Zarr image, by the specification of version 0.4."""
    unit = {"unit": scale.unit} if scale.unit else {}
    interval = scale.frame_interval
    of_time = {"unit": "second"} if interval else {}
    of_depth = unit if scale.voxel[0] else {}
    spacing, *sides = scale.voxel
    voxel = dict(zip("tzyx", (interval or 1.0, spacing or 1.0, *sides), strict=True))
    return {
        "multiscales": [
            {
                "version": "0.4",
                "name": name,
                "axes": [
                    {"name": axis, "type": "time", **of_time}
                    if axis == "t"
                    else {"name": axis, "type": "space", **(of_depth if axis == "z" else unit)}
                    for axis in axes
                ],
                "datasets": [
                    {
                        "path": str(level),
                        "coordinateTransformations": [
                            {
                                "type": "scale",
                                "scale": [
                                    voxel.get(axis, 1.0) * (2**level if axis in "yx" else 1)
                                    for axis in axes
                                ],
                            },
                            # A coarse pixel lies between those that it is the mean of.
                            {
                                "type": "translation",
                                "translation": [
                                    voxel[axis] * (2**level - 1) / 2 if axis in "yx" else 0.0
                                    for axis in axes
                                ],
                            },
                        ],
                    }
                    for level in range(levels)
                ],
                "type": "mean",
            }
        ]
    }


def _is_there(file: Path) -> bool:
    """Whether a file holds something; none of ours is empty, but what a dead disk leaves may be."""
    return file.is_file() and file.stat().st_size > 0


def _doubled(span: slice) -> slice:
    """Rows or columns of the finer level; beyond its end, Zarr gives what there is."""
    return slice(2 * span.start, 2 * span.stop)
