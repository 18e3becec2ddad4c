"""Pictures in TIFF files: plain ones, ImageJ hyperstacks and OME-TIFF."""

import uuid
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from unetcore.data.files import check_space, replacing
from unetcore.data.pixel_size import in_micrometres, of_resolution, of_square
from unetcore.data.raw_image import RawImage, named_axes
from unetcore.data.tiff import is_grey_ramp, reading, refuse_empty
from unetcore.errors import InputError

UNITS = {2: "inch", 3: "cm"}  # the tag ResolutionUnit
OF_JPEG = (COMPRESSION.JPEG, COMPRESSION.OJPEG, COMPRESSION.JPEG_LOSSY)
OF_IMAGEJ = ("uint8", "uint16", "float32")
LARGEST_OF_IMAGEJ = 2**32 - 2**25  # bytes, with room for the rest of the file
DEFLATE = {"compression": "zlib", "compressionargs": {"level": 1}}


def read_tiff(path: Path) -> RawImage:
    """Read a TIFF file.

    Raises
    ------
    InputError : it is damaged or no TIFF, in colours other than RGB, with alpha or palette, or
        holds images of several sizes.
    """
    with reading(path), tifffile.TiffFile(path) as file:
        refuse_colours(file.pages.first, path)
        if len(file.series) > 1:
            raise InputError(
                f"{path}: {len(file.series)} images of different size or type, expected one"
            )
        series = file.series[0]
        refuse_empty(series.shape, path)
        axes = named_axes(series.axes, series.shape, path)
        sizes = sizes_of(file)
        kind = "ome-tiff" if file.is_ome else "imagej" if file.is_imagej else "tiff"
        return RawImage(series.asarray(), axes, *sizes, kind)


def write_tiff(
    path: Path,
    array: np.ndarray,
    axes: str,
    pixel_size: float | None,
    z_spacing: float | None,
    *,
    ome: bool = False,
) -> None:
    """Write a TIFF file that ImageJ opens with its axes and sizes, or an OME-TIFF.

    Parameters
    ----------
    array : number type as tifffile takes it. ImageJ knows uint8, uint16 and float32 and files of
        up to 4 GB; anything else becomes a plain TIFF file.
    axes : out of T, Z, Y and X, in the order of `array`.
    pixel_size, z_spacing : um, None if unknown.

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
            **described(array, axes, pixel_size, z_spacing),
        )


def _imagej(array, axes, pixel_size, z_spacing):
    metadata = {"axes": axes}
    if pixel_size is None:
        return {"imagej": True, "metadata": metadata}
    metadata |= {"unit": "um"} | ({} if z_spacing is None else {"spacing": z_spacing})
    return {"imagej": True, "metadata": metadata, "resolution": (1 / pixel_size,) * 2}


def _plain(array, axes, pixel_size, z_spacing):
    if pixel_size is None:
        return {"metadata": {"axes": axes}}
    per_cm = 1e4 / pixel_size
    return {"metadata": {"axes": axes}, "resolution": (per_cm,) * 2, "resolutionunit": "CENTIMETER"}


def _ome(array, axes, pixel_size, z_spacing):
    from unetcore.data.io import pixel_digest  # there stacks are read, whose sizes are read here

    # Else it would be drawn anew, and no two files were the same.
    metadata = {"axes": axes, "UUID": str(uuid.UUID(pixel_digest(array)[:32]))}
    for name, size in (("X", pixel_size), ("Y", pixel_size), ("Z", z_spacing)):
        if size is not None:
            metadata |= {f"PhysicalSize{name}": size, f"PhysicalSize{name}Unit": "µm"}
    return {"ome": True, "metadata": metadata}


def refuse_colours(page: tifffile.TiffPage, path: Path) -> None:
    """Refuse what is neither grey values nor red, green and blue.

    Raises
    ------
    InputError : a palette, an alpha channel, inverted grey values, or other colours.
    """
    photometric = page.photometric
    if photometric == PHOTOMETRIC.PALETTE:
        if not is_grey_ramp(page.colormap):
            raise InputError(
                f"{path}: a palette (colours by number), expected grey values or RGB: save it with "
                "the lookup table Grays, or as RGB"
            )
    elif photometric == PHOTOMETRIC.SEPARATED:
        raise InputError(f"{path}: colours of printing (CMYK), expected grey values or RGB")
    elif photometric == PHOTOMETRIC.MINISWHITE and page.bitspersample > 1:
        raise InputError(f"{path}: inverted grey values (0 is white), expected 0 to be black")
    elif photometric not in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.RGB) and (
        photometric != PHOTOMETRIC.YCBCR or page.compression not in OF_JPEG
    ):
        name = getattr(photometric, "name", photometric)
        raise InputError(f"{path}: colours of kind {name}, expected grey values or RGB")
    if {EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA} & set(page.extrasamples):
        raise InputError(f"{path}: {ALPHA}")


ALPHA = (
    "an alpha channel (transparency), expected grey values or RGB: save it without (GIMP: Image > "
    "Flatten Image; Fiji: Image > Type > RGB Color)"
)


def sizes_of(file: tifffile.TiffFile) -> tuple[float | None, float | None]:
    """Side of a pixel and distance of slices in um, as far as the file says."""
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
    return of_square(*sides), in_micrometres(said.get("spacing"), unit)


def _sizes_of_ome(text: str) -> tuple[float | None, float | None]:
    """Sizes of the first image of OME-XML; where it states no unit, it means um."""
    pixels = ElementTree.fromstring(text).find("{*}Image/{*}Pixels")
    said = {} if pixels is None else pixels.attrib
    x, y, z = (
        in_micrometres(float(said[name]), said.get(f"{name}Unit", "µm")) if name in said else None
        for name in ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ")
    )
    return of_square(x, y), z


def _ratio(value) -> float | None:
    """A rational number of a tag, None if it is absent or no number."""
    if value is None or not value[1]:
        return None
    return value[0] / value[1]
