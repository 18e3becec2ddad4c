"""Phantom of the EM challenge: sections through a bundle of neurites, drawn from a seed.

A stand-in for the ssTEM stack of the ISBI 2012 challenge with the same archive layout, the same
kind of labels and the same difficulties: dark membranes of uneven width and contrast, and much
else that is as dark as a membrane (mitochondria, vesicles, dense cells, shadows). No claim about
real tissue can rest on it; it is for the demo, the tests and the pictures.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from unetcore.data.phantom_tools import (
    boundary_distance,
    check_settings,
    pixel_grid,
    random_walk,
    smooth_noise,
    to_uint8,
    write_archive,
)

# Neurites are packed on an area larger than the image by this much on each side, so that the
# border of the image cuts cells like any other place.
_MARGIN = 40
# Interior components below this many pixels are drawn as membrane: no annotator marks them.
_SMALLEST_INTERIOR = 30


@dataclass(frozen=True)
class _Neurites:
    """Everything about the cells of one stack that does not change with the slice.

    centres (K, 2) and radii (K,) in pixels; metrics (K, 2, 2) map an offset in pixels to one in
    which the cell is round; brightness (K,) and grain (K,) in grey values.
    """

    centres: np.ndarray
    radii: np.ndarray
    metrics: np.ndarray
    brightness: np.ndarray
    grain: np.ndarray


@dataclass(frozen=True)
class _Organelles:
    """Organelles of one kind: owner (K,), offset (K, 2) from its centre, first and last slice."""

    owner: np.ndarray
    offset: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def in_slice(self, z, centres):
        """Yield number, owner and place of each organelle in slice z, given the cells' centres."""
        for k in np.flatnonzero((self.first <= z) & (z <= self.last)):
            yield k, self.owner[k], centres[self.owner[k]] + self.offset[k]


def write_phantom_em(path, *, seed, n_train=12, n_test=4, size=256):
    """Write an archive in ISBI 2012's layout with generated sections.

    Members: `train-volume.tif`, `train-labels.tif`, `test-volume.tif`, `test-labels.tif`, each
    (N, size, size) uint8; labels are 0 on membranes and 255 in cell interiors. Training and test
    sections come from two separate stacks.

    Parameters
    ----------
    path : path of the zip to write.
    seed : int >= 0. The same seed gives the same bytes.
    n_train, n_test : int >= 1, number of sections.
    size : int >= 64, side of a section in pixels.

    Raises
    ------
    InputError : a setting is out of range.
    """
    check_settings(path, seed=seed, size=size, smallest=64, n_train=n_train, n_test=n_test)
    train_rng, test_rng = np.random.default_rng(seed).spawn(2)
    members = {}
    for split, rng, n_slices in (("train", train_rng, n_train), ("test", test_rng, n_test)):
        images, labels = draw_sections(rng, n_slices, size)
        members[f"{split}-volume.tif"] = images
        members[f"{split}-labels.tif"] = labels
    write_archive(path, members)


def draw_sections(rng, n_slices, size):
    """Draw one stack of consecutive sections with its membrane labels.

    Parameters
    ----------
    rng : numpy Generator.
    n_slices : int >= 1.
    size : int, side in pixels.

    Returns
    -------
    images : (n_slices, size, size) uint8.
    labels : (n_slices, size, size) uint8, 0 = membrane, 255 = cell interior.
    """
    neurites = _pack_neurites(rng, size)
    drift, swelling = _run_through(rng, neurites, n_slices)
    warp = _warp(rng, n_slices, size)
    mitochondria = _place(rng, neurites, n_slices, per_area=1 / 2300, smallest_radius=13, life=7)
    clusters = _place(rng, neurites, n_slices, per_area=1 / 3200, smallest_radius=12, life=5)
    shapes = _mitochondrion_shapes(rng, neurites.radii[mitochondria.owner])

    images = np.empty((n_slices, size, size), np.uint8)
    labels = np.empty_like(images)
    for z in range(n_slices):
        centres = neurites.centres + drift[z]
        cells = _partition(centres, neurites.radii * swelling[z], neurites.metrics, warp[:, z])
        distance = boundary_distance(cells)
        half_width = 1.7 + 0.45 * np.clip(smooth_noise(rng, (size, size), 9), -1.3, 2.2)
        labels[z] = _membrane_labels(distance, half_width)

        organelles = np.zeros((size, size), np.float32)
        for k, owner, centre in mitochondria.in_slice(z, centres):
            inside = (cells == owner) & (distance > 3.5)
            _draw_mitochondrion(rng, organelles, inside, centre, shapes[k])
        for _, owner, centre in clusters.in_slice(z, centres):
            inside = (cells == owner) & (distance > 5)
            _draw_vesicles(rng, organelles, inside, centre)
        image = _cytoplasm(rng, neurites, cells) + organelles
        _draw_membranes(rng, image, distance, half_width)
        images[z] = _microscope(rng, image)
    return images, labels


def _pack_neurites(rng, size):
    """Throw cells of very different sizes onto the plane, large ones first, until it is full."""
    area = (size + 2 * _MARGIN) ** 2
    large = rng.uniform(28, 42, max(2, round(area / 14000)))
    small = np.exp(rng.normal(np.log(14), 0.42, area // 40)).clip(8, 28)
    candidates = np.concatenate([np.sort(large)[::-1], np.sort(small)[::-1]])

    places, radii = np.empty((0, 2)), np.empty(0)
    for radius in candidates:
        for place in rng.uniform(-_MARGIN, size + _MARGIN, (6, 2)):
            gap = np.hypot(*(places - place).T) - 0.92 * (radii + radius)
            if (gap > 0).all():
                places, radii = np.vstack([places, place]), np.append(radii, radius)
                break
    n = len(radii)
    elongation = np.where(rng.random(n) < 0.25, rng.uniform(1.5, 2.3, n), rng.uniform(1, 1.3, n))
    brightness = 160 + rng.normal(0, 10, n)
    brightness[rng.random(n) < 0.12] -= rng.uniform(22, 40)  # dense, glia-like
    return _Neurites(
        centres=places,
        radii=radii,
        metrics=_metrics(elongation, rng.uniform(0, np.pi, n)),
        brightness=brightness,
        grain=rng.uniform(5, 11, n),
    )


def _run_through(rng, neurites, n_slices):
    """Displacement (Z, K, 2) in pixels and relative size (Z, K) of each cell in each slice."""
    n = len(neurites.radii)
    oblique = rng.normal(0, 0.9, (n, 2))  # px per section: few neurites run straight down
    depth = np.arange(n_slices) - (n_slices - 1) / 2
    drift = random_walk(rng, n_slices, n, 0.7) + depth[:, None, None] * oblique
    swelling = 1 + 0.06 * random_walk(rng, n_slices, n, 0.4)[..., 0]
    return drift, swelling.clip(0.7, 1.4)


def _metrics(elongation, angle):
    """Matrices (K, 2, 2) under which ellipses of the same area as a circle become that circle."""
    c, s = np.cos(angle), np.sin(angle)
    rotation = np.stack([np.stack([c, s], -1), np.stack([-s, c], -1)], -2)
    axes = np.stack([1 / np.sqrt(elongation), np.sqrt(elongation)], -1)
    return axes[..., None] * rotation


def _warp(rng, n_slices, size):
    """Displacement (2, n_slices, size, size) in pixels that makes membranes wander."""
    shape = (2, n_slices, size, size)
    coarse = smooth_noise(rng, shape, (0, 3, 20, 20))
    fine = smooth_noise(rng, shape, (0, 1.5, 7, 7))
    return 7.5 * coarse + 2.4 * fine


def _partition(centres, radii, metrics, warp):
    """Give each pixel the cell whose ellipse it is nearest to, or deepest in: (H, W) int16."""
    size = warp.shape[-1]
    rows, columns = pixel_grid(size)
    rows, columns = rows + warp[0], columns + warp[1]
    nearest = np.full((size, size), np.inf, np.float32)
    cells = np.zeros((size, size), np.int16)
    centres, radii, metrics = (a.astype(np.float32) for a in (centres, radii, metrics))
    for k, (centre, radius, metric) in enumerate(zip(centres, radii, metrics, strict=True)):
        dy, dx = rows - centre[0], columns - centre[1]
        u = metric[0, 0] * dy + metric[0, 1] * dx
        v = metric[1, 0] * dy + metric[1, 1] * dx
        distance = np.sqrt(u * u + v * v) - radius
        closer = distance < nearest
        nearest[closer] = distance[closer]
        cells[closer] = k
    return cells


def _membrane_labels(distance, half_width):
    """255 in cell interiors, 0 on membranes and on scraps too small for an annotator."""
    interior = distance > half_width + 0.9
    components, n = ndimage.label(interior)
    sizes = np.bincount(components.ravel(), minlength=n + 1)
    sizes[0] = 0
    return np.where(sizes[components] >= _SMALLEST_INTERIOR, 255, 0).astype(np.uint8)


def _place(rng, neurites, n_slices, *, per_area, smallest_radius, life):
    """Spread organelles over the cells that have room for them, each for `life` sections.

    per_area : float, mean number per square pixel of such cells in one section.
    """
    area = np.pi * neurites.radii**2 * (neurites.radii >= smallest_radius)
    expected = area * per_area * (n_slices + life - 1) / life
    owner = np.repeat(np.arange(len(area)), rng.poisson(expected))
    angle = rng.uniform(0, 2 * np.pi, len(owner))
    reach = neurites.radii[owner] * 0.62 * np.sqrt(rng.random(len(owner)))
    round_offset = reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    offset = np.linalg.solve(neurites.metrics[owner], round_offset[..., None])[..., 0]
    first = rng.integers(-life + 1, n_slices, len(owner))
    return _Organelles(owner, offset, first, first + life - 1)


def _cytoplasm(rng, neurites, cells):
    """Grey values of the cell interiors: a tone and a grain of its own for each cell."""
    shape = cells.shape
    grain = 0.75 * smooth_noise(rng, shape, 1.4) + 0.65 * smooth_noise(rng, shape, 4)
    return neurites.brightness[cells].astype(np.float32) + neurites.grain[cells] * grain


def _mitochondrion_shapes(rng, room):
    """Semi-axes in pixels, angle and cristae wavelength in pixels of (K,) mitochondria: (K, 4).

    room : (K,) radius in pixels of the cell each one lies in.
    """
    n = len(room)
    long = np.minimum(rng.uniform(9, 19, n), 0.75 * room)
    short = np.maximum(long * rng.uniform(0.45, 0.75, n), 5.5)
    return np.stack([long, short, rng.uniform(0, np.pi, n), rng.uniform(4.2, 5.6, n)], axis=-1)


def _window(centre, reach, size):
    """Square around a place, cut to the image, and the offsets (row, column) from the place.

    Returns
    -------
    window : pair of slices, or None where the square lies outside the image.
    dy, dx : float arrays of the window's shape, in pixels.
    """
    low = np.maximum(np.floor(centre - reach).astype(int), 0)
    high = np.minimum(np.ceil(centre + reach).astype(int) + 1, size)
    if (low >= high).any():
        return None, None, None
    window = np.s_[low[0] : high[0], low[1] : high[1]]
    rows, columns = np.ogrid[window]
    dy, dx = np.broadcast_arrays(rows - centre[0], columns - centre[1])
    return window, dy, dx


def _draw_mitochondrion(rng, organelles, inside, centre, shape):
    """Dark matrix, paler cristae across the long axis, and a double membrane around them."""
    long, short, angle, wavelength = shape
    window, dy, dx = _window(centre, 1.2 * long + 4, organelles.shape[0])
    if window is None:
        return
    u = (np.cos(angle) * dy + np.sin(angle) * dx) / long
    v = (np.cos(angle) * dx - np.sin(angle) * dy) / short
    turn = np.arctan2(v, u)
    lobes = 1 + 0.07 * np.cos(2 * turn + rng.uniform(0, 6)) + 0.05 * np.cos(3 * turn)
    # Depth below the outer membrane in pixels, near enough for an ellipse of these axes.
    depth = (1 - np.hypot(u, v) / lobes) * short
    bend = smooth_noise(rng, u.shape, 4)
    cristae = np.cos(2 * np.pi * (u * long + 1.4 * bend) / wavelength)
    matrix = -50 + 16 * cristae + 8 * smooth_noise(rng, u.shape, 1.2)
    coat = -58 * np.exp(-(((depth - 0.8) / 1.0) ** 2)) + 20 * np.exp(-(((depth - 2.9) / 0.9) ** 2))
    # Fades towards the cell's own membrane, which it may touch but not replace.
    body = ndimage.gaussian_filter(np.clip(depth + 0.5, 0, 1) * inside[window], 0.6)
    core = organelles[window][body > 0.5]
    if core.size == 0 or (core < -25).mean() > 0.1:
        return  # outside of the cell, or the place is taken by another one
    _stain(organelles, window, body * (matrix * np.clip(depth / 3, 0, 1) + coat))


def _draw_vesicles(rng, organelles, inside, centre):
    """Draw a cluster of small dark rings, some with a dense core, inside one cell."""
    n = int(rng.integers(6, 24))
    spread = rng.uniform(5, 14)
    for place in centre + rng.normal(0, spread, (n, 2)):
        window, dy, dx = _window(place, 7, organelles.shape[0])
        radius, dense = rng.uniform(1.9, 3.1), rng.random() < 0.2
        if window is None:
            continue
        distance = np.hypot(dy, dx)
        middle = distance < 1.5
        if not inside[window][middle].all() or (organelles[window][middle] < -38).any():
            continue  # outside of the cell, or the place is taken
        if dense:
            stain = -58 * np.exp(-((distance / (0.75 * radius)) ** 2))
        else:
            stain = -48 * np.exp(-(((distance - radius) / 0.85) ** 2))
            stain += 12 * np.exp(-((distance / (0.6 * radius)) ** 2))
        _stain(organelles, window, stain)


def _stain(organelles, window, stain):
    """Of two organelles in one place the one with more contrast is seen; they do not add up."""
    before = organelles[window]
    organelles[window] = np.where(np.abs(stain) > np.abs(before), stain, before)


def _draw_membranes(rng, image, distance, half_width):
    """Dark lines of uneven width and depth, with smudges where membranes are cut obliquely."""
    shape = image.shape
    depth = 74 + 14 * np.clip(smooth_noise(rng, shape, 13), -1.4, 1.5)
    depth += 8 * np.clip(smooth_noise(rng, shape, 4), -1.3, 1.5)
    line = np.exp(-((np.maximum(distance - 0.5, 0) / half_width) ** 2))
    shadow = np.clip(smooth_noise(rng, shape, 12) - 1.5, 0, 1)
    smudge = np.exp(-((distance / 7) ** 2)) * shadow
    image -= depth * line + 42 * smudge


def _microscope(rng, image):
    """Blur, uneven illumination, shot noise and the brightness of this section: uint8."""
    image = ndimage.gaussian_filter(image, 0.7)
    field = 1 + 0.16 * np.clip(smooth_noise(rng, image.shape, image.shape[0] / 5), -2, 2)
    stain = -22 * np.clip(smooth_noise(rng, image.shape, 18) - 0.9, 0, 1.6)
    exposure = rng.normal(1, 0.035)
    light = np.clip(exposure * field * (image + stain), 4, None)
    electrons = 0.8  # per grey value
    counts = rng.poisson(light * electrons) / electrons
    return to_uint8(ndimage.gaussian_filter(counts.astype(np.float32), 0.45))
