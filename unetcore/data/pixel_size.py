"""Sizes of pixels in micrometres and times in seconds, whatever unit a file states them in."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from unetcore.errors import InputError

# Two characters look like µ, and ImageJ escapes either.
MICROMETRES = {
    **dict.fromkeys(("µm", "μm", r"\u00b5m", r"\u03bcm", "um"), 1.0),
    **dict.fromkeys(("micron", "microns", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-6),
    **dict.fromkeys(("å", "angstrom"), 1e-4),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("in", "inch", "inches"), 25_400.0),
}
SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("µs", "μs", r"\u00b5s", r"\u03bcs", "us", "usec", "microsecond"), 1e-6),
    **dict.fromkeys(("ns", "nanosecond"), 1e-9),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
}
OF_PRINTERS = 20.0  # um; 1,270 pixels per inch
SAME = 0.01  # sizes closer than this are one: resampling would cost more than it mends
LARGEST_FACTOR = 10.0


@dataclass(frozen=True)
class Scale:
    """Distance of neighbouring voxels along z, y and x, and its unit if that is known.

    The distance along z is None if it is not known in this unit. The frame interval is in s, None
    if it is not known.
    """

    voxel: tuple[float | None, float, float] = (1.0, 1.0, 1.0)
    unit: str | None = None
    frame_interval: float | None = None

    @property
    def pixel_size(self) -> float | None:
        """Side of a pixel in um; None if it is unknown, or not the same along y and x."""
        _, y, x = (in_micrometres(side, self.unit) for side in self.voxel)
        return of_square(x, y)


def scale_of(
    pixel_size: float | None, z_spacing: float | None, frame_interval: float | None
) -> Scale:
    """Scale by sizes in um, where the first is known, and s."""
    if pixel_size is None:
        return Scale(frame_interval=frame_interval)
    return Scale((z_spacing, pixel_size, pixel_size), "micrometer", frame_interval)


def in_micrometres(length: float | None, unit: str | None) -> float | None:
    """A length in um; None where it, or its unit, is unknown or makes no sense.

    Examples
    --------
    >>> in_micrometres(0.25, "micron"), in_micrometres(5, "nm"), in_micrometres(1, "pixel")
    (0.25, 0.005, None)
    """
    return _converted(length, unit, MICROMETRES)


def in_seconds(time: float | None, unit: str | None) -> float | None:
    """A time in s; None where it, or its unit, is unknown or makes no sense.

    Examples
    --------
    >>> in_seconds(1.5, "min"), in_seconds(40, "ms"), in_seconds(0, "s"), in_seconds(1, "frame")
    (90.0, 0.04, None, None)
    """
    return _converted(time, unit, SECONDS)


def of_resolution(per_unit: float | None, unit: str | None) -> float | None:
    """Side of a pixel in um, from a resolution as printers take it.

    Cameras and editors write 72 or 300 pixels per inch into any file. So a pixel of `OF_PRINTERS`
    or more counts as said of paper, not of what was seen.

    Examples
    --------
    >>> of_resolution(50_000, "cm"), of_resolution(300, "inch")
    (0.2, None)
    """
    size = in_micrometres(1 / per_unit if per_unit else None, unit)
    return size if size is not None and size < OF_PRINTERS else None


def of_square(x: float | None, y: float | None) -> float | None:
    """Side of a pixel that is as wide as high, within 1 %; None of one that is not."""
    if x is None or y is None or not math.isclose(x, y, rel_tol=0.01):
        return None
    return x


def scale_factor(
    pixel_size: float | None, wanted: float | None, name: str, *, how: str = "--pixel-size UM"
) -> float:
    """How many times larger the sides of an image become on another pixel size.

    Parameters
    ----------
    pixel_size : of the image in um, None if unknown.
    wanted : pixel size in um that the image is to have, None for that which it has.
    name : what the message calls the image, for instance its file.
    how : what the message advises where the pixel size is unknown or wrong.

    Returns
    -------
    factor, 1 where nothing is wanted or the sizes are within 1 %.

    Raises
    ------
    InputError : the size is wanted and unknown, or more than `LARGEST_FACTOR` times another.

    Examples
    --------
    >>> scale_factor(0.25, 0.5, "a.tif"), scale_factor(0.25, None, "a.tif")
    (0.5, 1.0)
    """
    if wanted is None:
        return 1.0
    if pixel_size is None:
        raise InputError(
            f"{name}: the file does not say the size of its pixels, and the model is for "
            f"{wanted:g} um: give {how}"
        )
    factor = pixel_size / wanted
    if not 1 / LARGEST_FACTOR <= factor <= LARGEST_FACTOR:
        raise InputError(
            f"{name}: pixels of {pixel_size:g} um, and the model is for {wanted:g} um, which is "
            f"more than {LARGEST_FACTOR:g} times another: if it is a mistake, give {how}"
        )
    return 1.0 if abs(factor - 1) <= SAME else factor


def _converted(value: float | None, unit: str | None, factors: Mapping[str, float]) -> float | None:
    factor = factors.get((unit or "").strip().lower())
    if factor is None or value is None or not 0 < value < math.inf:
        return None
    return value * factor
