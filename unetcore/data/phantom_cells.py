"""Phantom of the cell challenge: touching cells under a DIC microscope, drawn from a seed.

A stand-in for DIC-C2DH-HeLa of the Cell Tracking Challenge with the same archive layout and the
same difficulty: cells are as grey as the background, only their relief is seen, bright on one
flank and dark on the other, and cells that touch differ by their outline alone.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from unetcore.data.phantom_tools import (
    check_settings,
    pixel_grid,
    random_walk,
    smooth_noise,
    to_uint8,
    write_archive,
)

_SEQUENCES = ("01", "02")
# Every how many frames the cells are outlined, as in the challenge, where few frames are.
_LABEL_EVERY = 2
# Direction in which the microscope shears the light: towards the upper left, (row, column).
_SHEAR = np.array([-0.8, -0.6], np.float32)
_BACKGROUND = 118  # grey value
_RADIUS = 32  # px, mean radius of a cell


@dataclass(frozen=True)
class _Cells:
    """Everything about the cells of one sequence, of which there are K.

    Attributes
    ----------
    centres : (K, 2) in pixels, in the first frame.
    radii : (K,) in pixels, in the first frame; `growth` (K,) is relative, per frame.
    lobes, phase, turning : (K, L) relative amplitude, phase in radians, and change of phase per
        frame of the harmonics 2, 3, ... of the outline.
    height : (K,) optical thickness in arbitrary units.
    nucleus : (K, 2) offset from the centre in pixels.
    granules : K arrays (G, 4): row, column (offset from the centre), radius in pixels, height.
    """

    centres: np.ndarray
    radii: np.ndarray
    growth: np.ndarray
    lobes: np.ndarray
    phase: np.ndarray
    turning: np.ndarray
    height: np.ndarray
    nucleus: np.ndarray
    granules: list[np.ndarray]

    def radii_at(self, t):
        """Radii (K,) in frame t, in pixels."""
        return self.radii * (1 + self.growth * t)


def write_phantom_cells(path, *, seed, n_frames=8, size=256):
    """Write an archive in the Cell Tracking Challenge's layout with two generated sequences.

    Members, under `phantom-cells/`: `01/t000.tif` ... (uint8), `01_GT/SEG/man_seg000.tif` (uint16
    ids, every second frame), `01_GT/TRA/man_track000.tif` (uint16 markers, every frame),
    `01_GT/TRA/man_track.txt` (id, first frame, last frame, parent), and the same for `02`. A cell
    keeps its id through a sequence.

    Parameters
    ----------
    path : path of the zip to write.
    seed : int >= 0. The same seed gives the same bytes.
    n_frames : int >= 1, frames per sequence.
    size : int >= 128, side of a frame in pixels.

    Raises
    ------
    InputError : a setting is out of range.
    """
    check_settings(path, seed=seed, size=size, smallest=128, n_frames=n_frames)
    members = {}
    for sequence, rng in zip(_SEQUENCES, np.random.default_rng(seed).spawn(2), strict=True):
        frames, labels = draw_sequence(rng, n_frames, size)
        folder = f"phantom-cells/{sequence}"
        for t in range(n_frames):
            members[f"{folder}/t{t:03d}.tif"] = frames[t]
        for t in range(0, n_frames, _LABEL_EVERY):
            members[f"{folder}_GT/SEG/man_seg{t:03d}.tif"] = labels[t]
        for t in range(n_frames):
            members[f"{folder}_GT/TRA/man_track{t:03d}.tif"] = _markers(labels[t])
        members[f"{folder}_GT/TRA/man_track.txt"] = _tracks(labels)
    write_archive(path, members)


def draw_sequence(rng, n_frames, size):
    """Draw one sequence of cells that crawl, turn and grow a little, with their ids.

    Parameters
    ----------
    rng : numpy Generator.
    n_frames : int >= 1.
    size : int, side in pixels.

    Returns
    -------
    frames : (n_frames, size, size) uint8.
    labels : (n_frames, size, size) uint16, 0 = background, 1..K = one id per cell.
    """
    cells = _settle_cells(rng, size)
    paths = random_walk(rng, n_frames, len(cells.radii), 0.9)
    light = _light(rng, size)
    dirt = _dirt(rng, size)
    ground = 0.8 * smooth_noise(rng, (size, size), 5)
    frames = np.empty((n_frames, size, size), np.uint8)
    labels = np.empty((n_frames, size, size), np.uint16)
    for t in range(n_frames):
        centres = cells.centres + paths[t]
        labels[t] = _outlines(cells, centres, t, size)
        height = ground + _relief(rng, cells, centres, t, labels[t])
        frames[t] = _microscope(rng, height, light, dirt)
    return frames, labels


def _settle_cells(rng, size):
    """Grow a cluster: each new cell settles against one that is there already."""
    middle = np.full(2, size / 2) + rng.normal(0, size / 12, 2)
    wanted = max(4, round(12 * (size / 256) ** 2))
    centres, radii = np.array([middle]), np.array([_RADIUS])
    for _ in range(20 * wanted):
        if len(radii) == wanted:
            break
        radius = _RADIUS * rng.uniform(0.78, 1.18)
        place = _free_place(rng, centres, radii, radius, middle, size)
        if place is not None:
            centres, radii = np.vstack([centres, place]), np.append(radii, radius)
    n = len(radii)
    harmonics = np.array([0.11, 0.06, 0.035, 0.02])
    shape = (n, len(harmonics))
    return _Cells(
        centres=centres,
        radii=radii,
        growth=rng.uniform(0.0, 0.012, n),
        lobes=harmonics * rng.uniform(0.3, 1.3, shape),
        phase=rng.uniform(0, 2 * np.pi, shape),
        turning=rng.normal(0, 0.05, shape),
        height=rng.uniform(36, 66, n),
        nucleus=0.18 * (radii * rng.random(n))[:, None] * _directions(rng.uniform(0, 2 * np.pi, n)),
        granules=[_granules(rng, radius) for radius in radii],
    )


def _directions(angle):
    """Turn angles (K,) in radians into unit vectors (K, 2)."""
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1)


def _free_place(rng, centres, radii, radius, middle, size):
    """Of some places beside a cell of the cluster the free one nearest its middle, or None."""
    hosts = rng.integers(len(radii), size=24)
    reach = 0.92 * (radius + radii[hosts])
    places = centres[hosts] + reach[:, None] * _directions(rng.uniform(0, 2 * np.pi, len(hosts)))
    spacing = np.linalg.norm(places[:, None] - centres, axis=-1) / (radii + radius)
    in_view = ((places > -0.02 * size) & (places < 1.02 * size)).all(axis=1)
    places = places[in_view & (spacing.min(axis=1) > 0.84)]
    if not len(places):
        return None
    return places[np.linalg.norm(places - middle, axis=1).argmin()]


def _granules(rng, radius):
    """Row, column (offset from the centre), radius and height of a cell's granules: (G, 4)."""
    n = int(rng.integers(12, 42))
    angle = rng.uniform(0, 2 * np.pi) + rng.normal(0, 1.0, n)  # they gather on one side
    reach = radius * rng.uniform(0.42, 0.82, n)
    sign = rng.choice([-1, 1], n, p=[0.25, 0.75])  # a vacuole is a hollow
    return np.column_stack(
        [
            reach[:, None] * _directions(angle),
            rng.uniform(0.8, 1.7, n),
            sign * rng.uniform(6, 16, n),
        ]
    )


def _outlines(cells, centres, t, size):
    """Ids of the cells in frame t: (H, W) uint16."""
    rows, columns = pixel_grid(size)
    nearest = np.ones((size, size), np.float32)
    labels = np.zeros((size, size), np.uint16)
    for k, (centre, radius) in enumerate(zip(centres, cells.radii_at(t), strict=True)):
        dy, dx = rows - np.float32(centre[0]), columns - np.float32(centre[1])
        turn = np.arctan2(dy, dx)
        outline = np.full_like(turn, radius)
        phases = cells.phase[k] + t * cells.turning[k]
        for order, (lobe, phase) in enumerate(zip(cells.lobes[k], phases, strict=True), start=2):
            outline += np.float32(radius * lobe) * np.cos(order * turn + np.float32(phase))
        # 1 on the outline; where two cells press on each other, the one that is deeper wins.
        depth = np.hypot(dy, dx) / outline
        closer = depth < nearest
        nearest[closer] = depth[closer]
        labels[closer] = k + 1
    return labels


def _relief(rng, cells, centres, t, labels):
    """Optical thickness in arbitrary units: domes with a nucleus, granules and a rough skin."""
    height = np.zeros(labels.shape, np.float32)
    skin = smooth_noise(rng, labels.shape, 1.6) + 1.3 * smooth_noise(rng, labels.shape, 3.2)
    for k, (centre, radius) in enumerate(zip(centres, cells.radii_at(t), strict=True)):
        own = labels == k + 1
        if not own.any():
            continue
        # Padded with itself: a cell that the image border cuts does not end there.
        rim = ndimage.distance_transform_edt(np.pad(own, 1, mode="edge"))[1:-1, 1:-1]
        cell = cells.height[k] * (0.55 * np.tanh(rim / 3.2) + 0.45 * np.tanh(rim / (0.5 * radius)))
        cell += 1.5 * skin * np.tanh(rim / 5)
        _add_nucleus(cell, centre + cells.nucleus[k], radius)
        _add_granules(cell, own, centre, cells.granules[k])
        height[own] = cell[own]
    return height


def _add_nucleus(height, centre, radius):
    """Raise a low plateau with two nucleoli in a cell of the given radius."""
    rows, columns = pixel_grid(height.shape[0])
    dy, dx = rows - centre[0], columns - centre[1]
    depth = 1 - np.hypot(dy, 1.2 * dx) / (0.42 * radius)
    height += 12 * np.tanh(4 * np.clip(depth, 0, None))
    for side in (-1, 1):
        distance = np.hypot(dy - side * 0.16 * radius, dx + side * 0.1 * radius)
        height += 12 * np.exp(-((distance / (0.085 * radius)) ** 2))


def _add_granules(height, own, centre, granules):
    """Raise (or hollow out) small bumps where they lie in the cell whose pixels are `own`."""
    rows, columns = pixel_grid(height.shape[0])
    for *offset, spread, bump in granules:
        place = centre + offset
        row, column = np.rint(place).astype(int)
        if not (0 <= row < len(rows) and 0 <= column < len(rows) and own[row, column]):
            continue
        near = np.s_[max(row - 6, 0) : row + 7, max(column - 6, 0) : column + 7]
        distance = np.hypot(rows[near] - place[0], columns[near] - place[1])
        height[near] += bump * np.exp(-((distance / spread) ** 2))


def _light(rng, size):
    """Uneven illumination: a slope and a broad stain, in grey values around 0."""
    rows, columns = pixel_grid(size)
    slope = rng.normal(0, 10, 2)
    tilt = slope[0] * (rows / size - 0.5) + slope[1] * (columns / size - 0.5)
    return tilt + 7 * smooth_noise(rng, (size, size), size / 5)


def _dirt(rng, size):
    """Specks on the glass that stay where they are: relief in arbitrary units."""
    specks = np.zeros((size, size), np.float32)
    n = max(1, round(14 * (size / 256) ** 2))
    places = rng.integers(0, size, (n, 2))
    specks[places[:, 0], places[:, 1]] = rng.uniform(40, 160, n)
    return ndimage.gaussian_filter(specks, 1.3)


def _microscope(rng, height, light, dirt):
    """Slope of the relief along the shear, with blur, illumination and noise: uint8."""
    surface = ndimage.gaussian_filter(height + dirt, 0.9)
    down, right = np.gradient(surface)
    slope = _SHEAR[0] * down + _SHEAR[1] * right
    # Compresses the steepest flanks as the real optics do: intensity is periodic in the slope.
    image = _BACKGROUND + light - 62 * np.tanh(slope / 9)
    photons = np.clip(image, 4, None) / 0.16
    return to_uint8(rng.poisson(photons) * 0.16 + 1.2 * smooth_noise(rng, height.shape, 0.8))


def _markers(labels):
    """Core of every cell, as the tracking annotation marks it: (H, W) uint16."""
    markers = np.zeros_like(labels)
    for k in np.unique(labels[labels > 0]):
        own = labels == k
        distance = ndimage.distance_transform_edt(own)
        markers[distance > 0.6 * distance.max()] = k
    return markers


def _tracks(labels):
    """Text of `man_track.txt`: one line `id first last parent` per cell, parent 0 = none."""
    lines = []
    for k in np.unique(labels[labels > 0]):
        present = np.flatnonzero((labels == k).any(axis=(1, 2)))
        lines.append(f"{k} {present[0]} {present[-1]} 0\n")
    return "".join(lines)
