"""Augmentation of training tiles: shift, rotation, elastic deformation, grey values (paper 3.1).

All geometry of a tile is one field of coordinates, and image, classes and weights are each
resampled once with it: the image by bicubic, the weights by linear interpolation, the classes by
the nearest pixel. Context outside the slice is mirrored, as in prediction. Random numbers are few
and drawn with NumPy, so that a tile is a function of (seed, step) whatever device resamples it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from unetcore.errors import InputError

KERNELS = ("bicubic", "bspline")


@dataclass(frozen=True)
class AugmentConfig:
    """Strength of every augmentation; 0 switches one off.

    Attributes
    ----------
    rotation : largest angle in degrees, drawn uniformly in [-rotation, rotation].
    mirror : whether half of the tiles are mirrored.
    displacement_std : std in px of the random vectors on the 3x3 grid (paper: 10).
    grid : number of grid nodes per side (paper: 3).
    kernel : "bicubic", which passes through the vectors, or "bspline", which smooths them.
    grey_shift : largest change of the grey level, in the unit of the image.
    grey_scale : largest relative change of the contrast.
    """

    rotation: float
    mirror: bool
    displacement_std: float
    grid: int
    kernel: str
    grey_shift: float
    grey_scale: float

    def __post_init__(self):
        if self.kernel not in KERNELS:
            raise InputError(f"elastic kernel {self.kernel!r}: need one of {', '.join(KERNELS)}")


@dataclass(frozen=True)
class TileDraw:
    """The random numbers of one training tile.

    Attributes
    ----------
    index : which training slice.
    centre : (row, column) in px of the tile's centre on the slice.
    angle : rotation in radians.
    mirrored : whether the columns are reversed.
    vectors : (2, grid, grid) displacements in px at the grid nodes, rows then columns.
    grey_shift, grey_scale : image -> (image - mean) * grey_scale + mean + grey_shift.
    """

    index: int
    centre: tuple[float, float]
    angle: float
    mirrored: bool
    vectors: np.ndarray
    grey_shift: float
    grey_scale: float


def draw_tile(
    rng: np.random.Generator, n_slices: int, shape: tuple[int, int], config: AugmentConfig
) -> TileDraw:
    """Draw the random numbers of one tile.

    The centre is uniform over the slice of `shape` (H, W), so that every pixel is equally often
    in the middle of a tile; this is the "shift" of the paper.
    """
    height, width = shape
    return TileDraw(
        index=int(rng.integers(n_slices)),
        centre=(rng.uniform(0, height - 1), rng.uniform(0, width - 1)),
        angle=np.deg2rad(rng.uniform(-config.rotation, config.rotation)),
        mirrored=bool(config.mirror and rng.integers(2)),
        vectors=rng.normal(0, config.displacement_std, (2, config.grid, config.grid)),
        grey_shift=rng.uniform(-config.grey_shift, config.grey_shift),
        grey_scale=1 + rng.uniform(-config.grey_scale, config.grey_scale),
    )


def elastic_basis(size: int, grid: int, kernel: str) -> np.ndarray:
    """Matrix that up-samples `grid` node values, spread over `size` px, to every pixel.

    Both kernels are uniform cubic B-splines, mirrored at the ends. "bspline" takes the node values
    as coefficients, which halves a random displacement; "bicubic" first solves for the
    coefficients that pass through the node values.

    Returns
    -------
    (size, grid) float64 array B; the field of vectors v is B v B^T. Rows sum to 1.
    """
    basis = _cubic_bspline(np.linspace(0, grid - 1, size), grid)
    if kernel == "bspline":
        return basis
    at_nodes = _cubic_bspline(np.arange(grid, dtype=float), grid)
    return basis @ np.linalg.inv(at_nodes)


def _cubic_bspline(positions: np.ndarray, grid: int) -> np.ndarray:
    """Weights of `grid` mirrored B-spline coefficients at `positions`, in node spacings."""
    weights = np.zeros((len(positions), grid))
    for node in range(-1, grid + 1):
        t = np.abs(positions - node)
        near = 2 / 3 - t**2 + t**3 / 2
        far = np.clip(2 - t, 0, None) ** 3 / 6
        mirrored = min(abs(node), 2 * (grid - 1) - node) if grid > 1 else 0
        weights[:, mirrored] += np.where(t < 1, near, far)
    return weights


def coordinates(drawn: TileDraw, size: int, basis: torch.Tensor) -> torch.Tensor:
    """Position on the slice of every pixel of an input tile.

    Parameters
    ----------
    drawn : random numbers of the tile.
    size : side of the input tile in px.
    basis : (size, grid) float32 tensor of `elastic_basis`.

    Returns
    -------
    (size, size, 2) float32 tensor of (row, column) in px, on the device of `basis`.
    """
    vectors = torch.as_tensor(drawn.vectors, dtype=torch.float32, device=basis.device)
    displacement = basis @ vectors @ basis.T  # (2, size, size)
    axis = torch.arange(size, dtype=torch.float32, device=basis.device) - (size - 1) / 2
    cos, sin = float(np.cos(drawn.angle)), float(np.sin(drawn.angle))
    y = axis[:, None] + displacement[0]
    x = axis[None, :] + displacement[1]
    x = -x if drawn.mirrored else x
    row = cos * y + sin * x + drawn.centre[0]
    column = -sin * y + cos * x + drawn.centre[1]
    return torch.stack((row, column), dim=-1)


def resample(image: torch.Tensor, coords: torch.Tensor, mode: str) -> torch.Tensor:
    """Values of a (C, H, W) image at (h, w, 2) coordinates in px, mirrored outside the image.

    Parameters
    ----------
    mode : "bicubic", "bilinear" or "nearest".

    Returns
    -------
    (C, h, w) tensor of the image's type.
    """
    height, width = image.shape[-2:]
    scale = coords.new_tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)])
    grid = coords.flip(-1) * scale - 1  # grid_sample wants (x, y), -1 and 1 at the edge pixels
    sampled = functional.grid_sample(
        image[None], grid[None], mode=mode, padding_mode="reflection", align_corners=True
    )
    return sampled[0]


def change_grey_values(image: torch.Tensor, drawn: TileDraw) -> torch.Tensor:
    """Change brightness and contrast of a tile as drawn."""
    mean = image.mean()
    return (image - mean) * drawn.grey_scale + mean + drawn.grey_shift


class TileAugmenter:
    """Cuts augmented training tiles out of slices.

    Parameters
    ----------
    images : (N, C, H, W) float32 tensor.
    classes : (N, 1, H, W) float32 tensor of class numbers.
    weights : (N, 1, H, W) float32 tensor of loss weights.
    input_size : side of the input tile in px.
    halo : pixels the network loses on each side.
    config : strength of the augmentation.
    """

    def __init__(self, images, classes, weights, *, input_size, halo, config):
        self.images, self.classes, self.weights = images, classes, weights
        self.input_size, self.halo, self.config = input_size, halo, config
        basis = elastic_basis(input_size, config.grid, config.kernel)
        self.basis = torch.as_tensor(basis, dtype=torch.float32, device=images.device)

    def draw(self, rng: np.random.Generator) -> TileDraw:
        """Draw the random numbers of a tile."""
        return draw_tile(rng, len(self.images), self.images.shape[-2:], self.config)

    def __call__(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw and cut one tile.

        Returns
        -------
        image : (1, C, size, size) float32 tensor.
        classes : (1, out, out) int64 tensor, out = size - 2 halo.
        weights : (1, out, out) float32 tensor.
        """
        drawn = self.draw(rng)
        coords = coordinates(drawn, self.input_size, self.basis)
        inner = coords[self.halo : -self.halo, self.halo : -self.halo]
        image = resample(self.images[drawn.index], coords, "bicubic")
        classes = resample(self.classes[drawn.index], inner, "nearest")
        weights = resample(self.weights[drawn.index], inner, "bilinear")
        return change_grey_values(image, drawn)[None], classes.long(), weights
