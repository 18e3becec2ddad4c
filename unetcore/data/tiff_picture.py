"""Pictures in TIFF files: plain ones, ImageJ hyperstacks and OME-TIFF."""

import uuid
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import tifffile
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from unetcore.data.colours import (
    ALPHA,
    PALETTE,
    PRINTING,
    WITHOUT_ALPHA,
    WrongColours,
    or_slices,
)
from unetcore.data.files import check_space, replacing
from unetcore.data.pixel_size import in_micrometres, in_seconds, of_resolution, of_square
from unetcore.data.raw_image import RawImage, named_axes
from unetcore.data.tiff import has_palette, in_planes, is_inverted, reading, refuse_empty
from unetcore.errors import InputError

UNITS = {2: "inch", 3: "cm"}  # the tag ResolutionUnit
KNOWN = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.PALETTE, PHOTOMETRIC.RGB)
OF_JPEG = (COMPRESSION.JPEG, COMPRESSION.OJPEG, COMPRESSION.JPEG_LOSSY)
OF_IMAGEJ = ("uint8", "uint16", "float32", "int32", "uint32")
LARGEST_OF_IMAGEJ = 2**32 - 2**25  # bytes, with room for the rest of the file
DEFLATE = {"compression": "zlib", "compressionargs": {"level": 1}}


class Sizes(NamedTuple):
    """What a file says of scale: side of a pixel and distance of slices in um, of frames in s."""

    pixel: float | None = None
    z: float | None = None
    frame: float | None = None


def read_tiff(path: Path, *, head: bool = False) -> RawImage:
    """Read a TIFF file.

    Parameters
    ----------
    head : whether pixels are left out: there is one value in place of all, which takes no memory.

    Raises
    ------
    InputError : it is damaged or no TIFF, in colours other than RGB, with alpha or palette, or
        holds images of several sizes.
    """
    with reading(path), tifffile.TiffFile(path) as file:
        refuse_colours(file, path)
        if len(file.series) > 1:
            raise InputError(
                f"{path}: {len(file.series)} images of different size or type, expected one"
            )
        series = file.series[0]
        refuse_empty(series.shape, path)
        axes = named_axes(series.axes, series.shape, path)
        sizes = sizes_of(file)
        kind = "ome-tiff" if file.is_ome else "imagej" if file.is_imagej else "tiff"
        pixels = np.broadcast_to(series.dtype.type(0), series.shape) if head else series.asarray()
        return RawImage(pixels, axes, sizes.pixel, sizes.z, kind, sizes.frame)


def write_tiff(
    path: Path,
    array: np.ndarray,
    axes: str,
    sizes: Sizes,
    *,
    ome: bool = False,
) -> None:
    """Write a TIFF file that ImageJ opens with its axes and sizes, or an OME-TIFF.

    Parameters
    ----------
    array : number type as tifffile takes it. ImageJ knows uint8, uint16 and float32, shows int32
        and uint32 as floats, and opens files of up to 4 GB; anything else becomes a plain TIFF
        file.
    axes : out of T, Z, Y and X, in the order of `array`.
    sizes : those that are known are written.

    Raises
    ------
    InputError : the disk has not enough free space.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    check_space(path, array.nbytes)
    for_imagej = array.dtype.name in OF_IMAGEJ and array.nbytes < LARGEST_OF_IMAGEJ
    if not ome:  # the one order that ImageJ knows
        order = sorted(range(len(axes)), key=lambda k: "TZYX".index(axes[k]))
        array, axes = array.transpose(order), "".join(axes[k] for k in order)
    described = _ome if ome else _imagej if for_imagej else _plain
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            np.ascontiguousarray(array),
            photometric="minisblack",
            **DEFLATE,
            **described(array, axes, sizes),
        )


def _imagej(array, axes, sizes):
    said = {}
    if sizes.pixel is not None:
        said |= {"unit": "um"} | ({} if sizes.z is None else {"spacing": sizes.z})
    if sizes.frame is not None and "T" in axes:
        said |= {"finterval": sizes.frame}
    per_um = 1 if sizes.pixel is None else 1 / sizes.pixel
    # By tifffile's own form of ImageJ's files only three number types can be written.
    return {
        "metadata": None,
        "description": tifffile.imagej_description(array.shape, axes=axes, **said),
        "resolution": (per_um,) * 2,
        "resolutionunit": "NONE",
    }


def _plain(array, axes, sizes):
    if sizes.pixel is None:
        return {"metadata": {"axes": axes}}
    per_cm = 1e4 / sizes.pixel
    return {"metadata": {"axes": axes}, "resolution": (per_cm,) * 2, "resolutionunit": "CENTIMETER"}


def _ome(array, axes, sizes):
    from unetcore.data.io import pixel_digest  # there stacks are read, whose sizes are read here

    # Else it would be drawn anew, and no two files were the same.
    metadata = {"axes": axes, "UUID": str(uuid.UUID(pixel_digest(array)[:32]))}
    for name, size in (("X", sizes.pixel), ("Y", sizes.pixel), ("Z", sizes.z)):
        if size is not None:
            metadata |= {f"PhysicalSize{name}": size, f"PhysicalSize{name}Unit": "µm"}
    if sizes.frame is not None and "T" in axes:
        metadata |= {"TimeIncrement": sizes.frame, "TimeIncrementUnit": "s"}
    return {"ome": True, "metadata": metadata}


def refuse_colours(file: tifffile.TiffFile, path: Path) -> None:
    """Refuse what is neither grey values nor red, green and blue.

    Raises
    ------
    InputError : a palette, an alpha channel, inverted grey values, or other colours.
    """
    page = file.pages.first
    photometric = page.photometric
    if has_palette(file):
        raise WrongColours(path, PALETTE, "save it with the lookup table Grays, or as RGB")
    if photometric == PHOTOMETRIC.SEPARATED:
        raise WrongColours(path, PRINTING)
    if is_inverted(file):
        raise InputError(f"{path}: inverted grey values (0 is white), expected 0 to be black")
    if photometric not in KNOWN and (
        photometric != PHOTOMETRIC.YCBCR or page.compression not in OF_JPEG
    ):
        name = getattr(photometric, "name", photometric)
        raise WrongColours(path, f"colours of kind {name}")
    if {EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA} & set(page.extrasamples):
        hint = or_slices(page.samplesperpixel) if in_planes(page) else ""
        raise WrongColours(path, ALPHA + hint, WITHOUT_ALPHA)


def sizes_of(file: tifffile.TiffFile) -> Sizes:
    """Scale, as far as a file says it."""
    if file.is_ome:
        return _sizes_of_ome(file.ome_metadata)
    page = file.pages.first
    per_unit = [_ratio(page.tags.valueof(name)) for name in ("XResolution", "YResolution")]
    said = (file.imagej_metadata or {}) if file.is_imagej else {}
    unit = said.get("unit") or UNITS.get(page.tags.valueof("ResolutionUnit"))
    if unit in UNITS.values():
        sides = [of_resolution(n, unit) for n in per_unit]
    else:
        sides = [in_micrometres(1 / n if n else None, unit) for n in per_unit]
    spacing = None if None in sides else in_micrometres(said.get("spacing"), unit)
    interval = in_seconds(said.get("finterval"), str(said.get("tunit", "s")))
    return Sizes(of_square(*sides), spacing, interval)


def _sizes_of_ome(text: str) -> Sizes:
    """Scale of the first image of OME-XML; where it states no unit, it means um and s."""
    pixels = ElementTree.fromstring(text).find("{*}Image/{*}Pixels")
    said = {} if pixels is None else pixels.attrib
    x, y, z = (
        in_micrometres(float(said[name]), said.get(f"{name}Unit", "µm")) if name in said else None
        for name in ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ")
    )
    interval = float(said["TimeIncrement"]) if "TimeIncrement" in said else None
    return Sizes(of_square(x, y), z, in_seconds(interval, said.get("TimeIncrementUnit", "s")))


def _ratio(value) -> float | None:
    """A rational number of a tag, None if it is absent or no number."""
    if value is None or not value[1]:
        return None
    return value[0] / value[1]
