"""What both phantoms share: smooth random fields, sizes that are checked, reproducible archives."""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage

from unetcore.errors import InputError

# The oldest time a zip member can carry: an archive must not depend on when it was made.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def smooth_noise(rng, shape, sigma):
    """Gaussian random field of mean 0 and standard deviation 1.

    Parameters
    ----------
    rng : numpy Generator.
    shape : tuple of int, any number of axes.
    sigma : float or one float per axis, correlation length in pixels (0 = none on that axis).

    Returns
    -------
    float32 array of the given shape. Mirrored borders, so nothing wraps around.
    """
    noise = rng.standard_normal(shape, dtype=np.float32)
    field = ndimage.gaussian_filter(noise, sigma, mode="reflect", truncate=3.0)
    field -= field.mean()
    return field / max(float(field.std()), 1e-6)


def random_walk(rng, n_steps, n_walkers, step):
    """Positions of walkers that keep their direction for a while, starting at 0.

    Parameters
    ----------
    rng : numpy Generator.
    n_steps : int >= 1, number of positions.
    n_walkers : int >= 0.
    step : float >= 0, typical displacement from one position to the next, in pixels.

    Returns
    -------
    (n_steps, n_walkers, 2) float64 array, displacement (row, column) in pixels.
    """
    velocity = rng.normal(0, step, (n_walkers, 2))
    positions = np.zeros((n_steps, n_walkers, 2))
    for k in range(1, n_steps):
        velocity = 0.8 * velocity + 0.6 * rng.normal(0, step, (n_walkers, 2))
        positions[k] = positions[k - 1] + velocity
    return positions


def pixel_grid(size):
    """Row and column of every pixel, two (size, size) float32 arrays."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    return rows, columns


def boundary_distance(regions):
    """Distance of every pixel to the nearest border between two regions.

    Parameters
    ----------
    regions : (H, W) int array, one id per region.

    Returns
    -------
    (H, W) float32 array in pixels; 0.5 on the two pixels that face each other across a border,
    infinite where there is only one region.
    """
    border = np.zeros(regions.shape, dtype=bool)
    horizontal = regions[:, 1:] != regions[:, :-1]
    vertical = regions[1:] != regions[:-1]
    border[:, 1:] |= horizontal
    border[:, :-1] |= horizontal
    border[1:] |= vertical
    border[:-1] |= vertical
    if not border.any():
        return np.full(regions.shape, np.inf, dtype=np.float32)
    return ndimage.distance_transform_edt(~border).astype(np.float32) + np.float32(0.5)


def to_uint8(image):
    """Round and clip grey values to 0..255."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def check_settings(path, *, seed, size, smallest, **counts):
    """Refuse settings no phantom can be made from.

    Parameters
    ----------
    path : path of the archive, named in the message.
    seed : int >= 0.
    size : int >= `smallest`, side of an image in pixels.
    smallest : int, the smallest side that holds more than one cell.
    **counts : int >= 1, named as in the message.

    Raises
    ------
    InputError : a value breaks its rule.
    """
    rules = {"seed": (seed, 0), "size": (size, smallest)}
    rules.update({name: (count, 1) for name, count in counts.items()})
    for name, (value, lowest) in rules.items():
        if value < lowest:
            raise InputError(f"{path}: {name} is {value}, a phantom needs at least {lowest}")


def write_archive(path, members: Mapping[str, np.ndarray | str]):
    """Write arrays (as TIFF) and texts into a zip whose bytes depend on nothing else.

    Members are stored without compression: what a compressor writes changes with its version.
    The archive appears under its name only when it is complete.

    Parameters
    ----------
    path : path of the archive to write; its folder is made if needed.
    members : member name to (H, W) or (N, H, W) array (one page per image) or text.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, content in members.items():
                data = content.encode() if isinstance(content, str) else _tiff_bytes(content)
                info = zipfile.ZipInfo(name, date_time=_ZIP_EPOCH)
                info.external_attr = 0o644 << 16
                archive.writestr(info, data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _tiff_bytes(array):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric="minisblack", metadata=None, software=False)
    return buffer.getvalue()
