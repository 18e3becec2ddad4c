"""Pictures as people have them: TIFF, ImageJ, OME-TIFF, PNG, JPEG and OME-Zarr, in and out.

A picture keeps its channels, and knows its axes, the size of its pixels and the type of its file,
so that a result can be written like it. `unetcore.data.io` reads the grey stacks of the pipeline.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetcore.data.files import is_zarr
from unetcore.data.layout import IDLE, layout_of
from unetcore.data.ome_zarr import write_image
from unetcore.data.pixel_size import in_micrometres, scale_of
from unetcore.data.png_jpeg import read_png_or_jpeg, write_png
from unetcore.data.raw_image import OF_CHANNELS, OF_SLICES, RawImage, as_stack
from unetcore.data.sizes import refuse_other_sizes
from unetcore.data.stacks import TIFF_SUFFIXES
from unetcore.data.tiff import refuse_empty
from unetcore.data.tiff_picture import Sizes, read_tiff, write_tiff
from unetcore.data.zarr_array import (
    open_array,
    reading_zarr,
    refuse_missing_chunks,
    warn_of_missing_chunks,
)
from unetcore.errors import InputError

KNOWN = "TIFF, PNG, JPEG or OME-Zarr"
FORMATS = {
    **dict.fromkeys(TIFF_SUFFIXES, "TIFF"),
    **dict.fromkeys((".jpg", ".jpeg"), "JPEG"),
    ".png": "PNG",
}  # by suffix
BEGINNINGS = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"%PDF": "PDF",
    b"PK\x03\x04": "zip",
    b"\x89HDF": "HDF5",
    b"ZISRAW": "CZI",
}  # of files
SUFFIXES_OF_RESULTS = (".tif", ".ome.tif", ".png", ".zarr")  # what `suffix_like` chooses from
WITH_ALL_CHUNKS = "save it with all its chunks (zarr: write_empty_chunks=True)"
LARGEST = {"uint8": 2**8 - 1, "uint16": 2**16 - 1}  # what a PNG can hold


@dataclass(frozen=True)
class Picture:
    """An image, and what its file says of it.

    Attributes
    ----------
    path : its file, or folder of OME-Zarr.
    pixels : (Z, C, H, W) array of the file's number type; Z counts all of T and Z, times first.
    axes : of the file, out of T, Z, C, Y, X and S (samples: red, green, blue).
    shape : in the order of `axes`.
    pixel_size : side of a pixel in um; None if the file does not say, or not one for both axes.
    z_spacing : um, None if the file does not say.
    kind : "tiff", "imagej", "ome-tiff", "png", "jpeg" or "zarr".
    frame_interval : time between frames in s, None if the file does not say.
    """

    path: Path
    pixels: np.ndarray
    axes: str
    shape: tuple[int, ...]
    pixel_size: float | None
    z_spacing: float | None
    kind: str
    frame_interval: float | None = None

    @property
    def sides(self) -> dict[str, int]:
        """Length of each axis of the file, by its letter."""
        return dict(zip(self.axes, self.shape, strict=True))

    @property
    def counted(self) -> str:
        """Axes by which ImageJ numbers the images of the file, the slowest first.

        It goes by its own order, except through pages of which a file does not say what they are.
        """
        return "".join(filter("TZC".__contains__, self.axes)) if self.kind == "tiff" else "TZC"


def read_picture(path: Path, *, fill_missing: bool = False) -> Picture:
    """Read an image of any number of channels.

    Parameters
    ----------
    path : TIFF, PNG or JPEG file, or folder of OME-Zarr.
    fill_missing : whether chunks that a Zarr does not have count as its fill value, which is
        logged; else they are refused.

    Returns
    -------
    Picture; its float values are finite.

    Raises
    ------
    InputError : no such file, or one that is empty, damaged, of another type than its name says,
        with alpha channel or palette, in colours other than RGB, with NaN, or without some of its
        chunks.
    """
    path = Path(path)
    raw = _read_raw(path, fill_missing=fill_missing)
    if raw.pixels.dtype.kind not in "biuf":
        raise InputError(f"{path}: values of type {raw.pixels.dtype}, expected real numbers")
    _refuse_not_finite(raw, path)
    return _picture(path, raw, as_stack(raw))


def read_head(path: Path) -> Picture:
    """Read what a file says of its image, without the pixels where they need not be read for it.

    Returns
    -------
    Picture of no pixels.

    Raises
    ------
    InputError : as `read_picture`; pixels are not looked at.
    """
    path = Path(path)
    return _picture(path, _read_raw(path, head=True), np.empty(0))


def picture_files(path: Path) -> list[Path]:
    """Pictures of a folder in the order of their names, or the one that the path itself is.

    In a folder, hidden files and files of other types are left out, and what is in folders below.

    Raises
    ------
    InputError : nothing is there, no picture is in the folder, or two have one name and differ in
        their types only.
    """
    path = Path(path)
    if not path.is_dir() or is_zarr(path):
        return [path]
    files = sorted(
        file
        for file in path.iterdir()
        if not file.name.startswith(".") and (is_zarr(file) or file.suffix.lower() in FORMATS)
    )
    if not files:
        raise InputError(f"{path}: no image in this folder ({KNOWN})")
    by_name: dict[str, Path] = {}
    for file in files:
        if (other := by_name.setdefault(name_of(file), file)) is not file:
            raise InputError(f"{file}: results would have the names of those of {other.name}")
    return files


def read_grey(path: Path) -> np.ndarray:
    """Slices of a picture of one channel, or of all pictures of a folder, which have one size.

    Returns
    -------
    (N, H, W) array of the file's number type.

    Raises
    ------
    InputError : as `read_picture` and `read_pictures`, or there are several channels.
    """
    pictures = read_pictures(path)
    if (n_channels := pictures[0].pixels.shape[1]) > 1:
        raise InputError(f"{path}: {n_channels} channels, expected one")
    return np.concatenate([picture.pixels[:, 0] for picture in pictures])


def read_pictures(path: Path) -> list[Picture]:
    """Read a picture, or all pictures of a folder, which have one size and as many channels.

    Raises
    ------
    InputError : as `picture_files` and `read_picture`, or one has another size than the first.
    """
    pictures = [read_picture(file) for file in picture_files(path)]
    refuse_other_sizes(
        [picture.path for picture in pictures],
        [picture.pixels.shape[1:] for picture in pictures],
        "(channels, height, width)",
    )
    return pictures


def name_of(path: Path) -> str:
    """Name of a picture without the suffixes of its type, by which its results are named.

    Examples
    --------
    >>> name_of(Path("day 1/a.b.ome.tif")), name_of(Path("a.zarr"))
    ('a.b', 'a')
    """
    return Path(path).stem.removesuffix(".ome")


def write_like(path: Path, stack: np.ndarray, picture: Picture) -> None:
    """Write a result with the axes and the scale of a picture, whole or not at all.

    Parameters
    ----------
    path : file to write, by preference with `suffix_like`; its folder is made where it is missing.
        A TIFF file is an OME-TIFF if the picture is one, else it is as ImageJ writes it.
    stack : (Z, H, W) array, as many slices as the picture has. Of bool, True becomes 255.
    picture : whose axes, without those of channels, and sizes are written.

    Raises
    ------
    InputError : the name is of no type that can be written, a PNG cannot hold the stack, or the
        disk has not enough free space.
    """
    path = Path(path)
    if stack.dtype == bool:
        stack = stack.astype(np.uint8) * np.uint8(255)
    array, axes = _unfolded(stack, picture)
    suffix = path.suffix.lower()
    if suffix in TIFF_SUFFIXES:
        write_tiff(path, array, axes, _sizes(picture), ome=picture.kind == "ome-tiff")
    elif suffix == ".zarr":
        write_image(path, array, axes.lower(), scale_of(*_sizes(picture)))
    elif suffix == ".png":
        if len(stack) > 1 or stack.dtype.name not in LARGEST:
            raise InputError(
                f"{path}: a PNG holds one image of uint8 or uint16, not {len(stack)} of "
                f"{stack.dtype}: take the name of a TIFF file"
            )
        write_png(path, stack[0], picture.pixel_size)
    else:
        raise InputError(f"{path}: a name of type {suffix or 'none'}, need .tif, .png or .zarr")


def suffix_like(picture: Picture, stack: np.ndarray) -> str:
    """Suffix of a file of the picture's type, if that can hold a stack, else of TIFF.

    A JPEG would change the numbers: the result of one is a PNG.
    """
    if picture.kind == "zarr":
        return ".zarr"
    if picture.kind == "ome-tiff":
        return ".ome.tif"
    if picture.kind in ("png", "jpeg") and (stack.dtype == bool or stack.dtype.name in LARGEST):
        return ".png"
    return ".tif"


def _picture(path: Path, raw: RawImage, pixels: np.ndarray) -> Picture:
    return Picture(
        path=path,
        pixels=pixels,
        axes=raw.axes,
        shape=raw.pixels.shape,
        pixel_size=raw.pixel_size,
        z_spacing=raw.z_spacing,
        kind=raw.kind,
        frame_interval=raw.frame_interval,
    )


def _read_raw(path: Path, *, head: bool = False, fill_missing: bool = False) -> RawImage:
    if is_zarr(path):
        return _read_zarr(path, head=head, fill_missing=fill_missing)
    return _read_file(path, head=head)


def _read_file(path: Path, *, head: bool) -> RawImage:
    if path.is_dir():
        raise InputError(f"{path}: a folder, expected one image ({KNOWN})")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if (named := FORMATS.get(path.suffix.lower())) is None:
        raise InputError(f"{path}: a file of type {path.suffix or 'none'}, expected {KNOWN}")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: an empty file (0 bytes), expected an image")
    found = _format_of(path)
    if found != named:
        what = f"a {found} file" if found else f"no {named} file"
        raise InputError(f"{path}: its name says {named}, but it is {what}")
    return read_tiff(path, head=head) if named == "TIFF" else read_png_or_jpeg(path, named.lower())


def _format_of(path: Path) -> str | None:
    """Type of a file by its first bytes, None of others."""
    with path.open("rb") as file:
        head = file.read(8)
    return next((name for start, name in BEGINNINGS.items() if head.startswith(start)), None)


def _read_zarr(path: Path, *, head: bool, fill_missing: bool) -> RawImage:
    array, names, scale = open_array(path)
    refuse_empty(array.shape, path)
    layout = layout_of(names, tuple(array.shape), path)
    meant = [k for k, letter in enumerate(layout.axes) if letter != IDLE]
    axes, shape = "".join(layout.axes[k] for k in meant), [array.shape[k] for k in meant]
    if head:
        pixels = np.broadcast_to(array.dtype.type(0), shape)
    else:
        if fill_missing:
            warn_of_missing_chunks(array, path)
        else:
            refuse_missing_chunks(array, path, way_out=WITH_ALL_CHUNKS)
        with reading_zarr(path):
            pixels = np.asarray(array[...]).reshape(shape)
    z = in_micrometres(scale.voxel[0], scale.unit) if "Z" in axes else None
    return RawImage(pixels, axes, scale.pixel_size, z, "zarr", scale.frame_interval)


def _unfolded(stack: np.ndarray, picture: Picture) -> tuple[np.ndarray, str]:
    """(Z, H, W) by the axes of a picture, but those of channels, and their letters."""
    axes = [letter for letter in picture.axes if letter not in OF_CHANNELS]
    counted = [letter for letter in OF_SLICES if letter in axes]
    array = stack.reshape(*(picture.sides[letter] for letter in counted), *stack.shape[1:])
    order = [[*counted, "Y", "X"].index(letter) for letter in axes]
    return array.transpose(order), "".join(axes)


def _sizes(picture: Picture) -> Sizes:
    return Sizes(picture.pixel_size, picture.z_spacing, picture.frame_interval)


def _refuse_not_finite(raw: RawImage, path: Path) -> None:
    if raw.pixels.dtype.kind != "f" or np.isfinite(raw.pixels).all():
        return
    bad = np.argwhere(~np.isfinite(raw.pixels))
    first = ", ".join(f"{axis} {k}" for axis, k in zip(raw.axes, bad[0].tolist(), strict=True))
    raise InputError(f"{path}: {len(bad)} values are NaN or infinite, the first at {first}")
