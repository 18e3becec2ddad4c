"""Pictures in PNG and JPEG files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from unetcore.data.colours import ALPHA, PALETTE, PRINTING, WITHOUT_ALPHA, WrongColours
from unetcore.data.files import check_space, replacing
from unetcore.data.pixel_size import of_resolution, of_square
from unetcore.data.raw_image import RawImage
from unetcore.data.tiff import is_grey_ramp
from unetcore.errors import InputError, first_line

FORMATS = {"png": ["PNG"], "jpeg": ["JPEG", "MPO"]}  # MPO: JPEG with previews, of cameras
GREY_OR_RGB = ("1", "L", "I;16", "RGB")
PER_INCH = 0.0254  # metres


def read_png_or_jpeg(path: Path, kind: str) -> RawImage:
    """Read a PNG or JPEG file.

    Parameters
    ----------
    kind : "png" or "jpeg".

    Raises
    ------
    InputError : it is damaged, animated, or in colours other than RGB.
    """
    with _reading(path, kind), Image.open(path, formats=FORMATS[kind]) as image:
        _refuse_colours(image, path)
        if kind == "png" and image.n_frames > 1:
            raise InputError(f"{path}: an animation of {image.n_frames} images, expected one")
        pixels = _pixels(image, path)
        per_inch = image.info.get("dpi", (None, None))
        size = of_square(*(of_resolution(n, "inch") for n in per_inch))
        return RawImage(pixels, "YX" if pixels.ndim == 2 else "YXS", size, None, kind)


def write_png(path: Path, image: np.ndarray, pixel_size: float | None) -> None:
    """Write a PNG file.

    Parameters
    ----------
    image : (H, W) uint8 or uint16 array, or (H, W, 3) uint8 array.
    pixel_size : um, None if unknown.

    Raises
    ------
    InputError : the disk has not enough free space.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    check_space(path, image.nbytes)
    said = {} if pixel_size is None else {"dpi": (PER_INCH / (1e-6 * pixel_size),) * 2}
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG", **said)


def _refuse_colours(image: Image.Image, path: Path) -> None:
    """Refuse what is neither grey values nor red, green and blue."""
    if image.mode == "P":
        ramp = np.reshape(image.getpalette("RGB"), (-1, 3)).T
        if not is_grey_ramp(ramp):
            raise WrongColours(
                path, PALETTE, "save it as one of them (Fiji: Image > Type > 8-bit or RGB Color)"
            )
    elif image.mode.endswith(("A", "a")):
        raise WrongColours(path, ALPHA, WITHOUT_ALPHA)
    elif image.mode == "CMYK":
        raise WrongColours(path, PRINTING)
    elif image.mode not in GREY_OR_RGB:
        raise WrongColours(path, f"colours of kind {image.mode}")


def _pixels(image: Image.Image, path: Path) -> np.ndarray:
    """(H, W) or (H, W, 3) array of as many bits as the file has."""
    if image.tile and "RGB;16B" in image.tile[0]:  # Pillow would drop the lower 8 bits
        from imagecodecs import png_decode

        return png_decode(path.read_bytes())
    return np.asarray(image)


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Say in one line what is wrong with a file, and let images be as large as they are."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a damaged file fails in whichever decoder meets it first
        reason = first_line(error)
        raise InputError(f"{path}: damaged or truncated {kind.upper()} file ({reason})") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
