"""Augmentation of training tiles: shift, rotation, elastic deformation, grey values (paper 3.1).

All geometry of a tile is one field of positions, and image, classes and weights are each resampled
once with it; `unetcore.resampling` defines how. Context outside the slice is mirrored, as in
prediction. Random numbers are few and drawn with NumPy, so that a tile is a function of
(seed, step) whatever device resamples it.
"""

from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
import torch

from unetcore.errors import InputError
from unetcore.resampling import bspline_basis, cut_tile, prepare_slices, spline_coefficients

KERNELS = ("bicubic", "bspline")


@dataclass(frozen=True)
class AugmentConfig:
    """Strength of every augmentation; 0 switches one off.

    Attributes
    ----------
    shift : whether a tile's centre lies anywhere on the slice, on a pixel that weighs anything;
        else tiles are drawn from the fewest that cover the slice, evenly spaced.
    balanced : whether the pixel in the middle of a tile is of either class equally often (Ciresan
        et al. 2012); else any pixel is as likely.
    rotation : largest angle in degrees, 0 to 180, drawn uniformly in [-rotation, rotation].
    mirror : whether half of the tiles are mirrored.
    displacement_std : std in px of the random vectors on the 3x3 grid (paper: 10).
    grid : number of grid nodes per side, at least 2 (paper: 3).
    kernel : "bicubic", which passes through the vectors, or "bspline", which smooths them.
    grey_shift : largest change of the grey level, in the unit of the image.
    grey_scale : largest relative change of the contrast, at least 0 and below 1.

    Raises
    ------
    InputError : a value outside these bounds.
    """

    shift: bool
    balanced: bool
    rotation: float
    mirror: bool
    displacement_std: float
    grid: int
    kernel: str
    grey_shift: float
    grey_scale: float

    def __post_init__(self):
        for name, kind, holds, rule in (
            ("shift", bool, lambda _: True, "true or false"),
            ("balanced", bool, lambda _: True, "true or false"),
            ("rotation", Real, lambda a: 0 <= a <= 180, "a number of degrees from 0 to 180"),
            ("mirror", bool, lambda _: True, "true or false"),
            ("displacement_std", Real, lambda s: 0 <= s < np.inf, "a finite number of px, >= 0"),
            ("grid", Integral, lambda n: n >= 2, "a whole number >= 2"),
            ("grey_shift", Real, lambda g: 0 <= g < np.inf, "a finite number >= 0"),
            ("grey_scale", Real, lambda g: 0 <= g < 1, "a number >= 0 and below 1"),
        ):
            value = getattr(self, name)
            if not (isinstance(value, kind) and holds(value)):
                raise InputError(f"{name} {value!r}: need {rule}")
        _check_kernel(self.kernel)
        if self.balanced and not self.shift:
            raise InputError("balanced tiles are drawn from anywhere: need shift true")


@dataclass(frozen=True)
class TileDraw:
    """The random numbers of one training tile.

    Attributes
    ----------
    index : which training slice.
    centre : (row, column) in px of the tile's centre on the slice.
    angle : rotation in radians; positive turns the tile's content counter-clockwise.
    mirrored : whether the columns of the rotated tile are reversed.
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
    rng: np.random.Generator,
    n_slices: int,
    shape: tuple[int, int],
    config: AugmentConfig,
    output_tile: int,
) -> TileDraw:
    """Draw the random numbers of one tile.

    The centre is uniform over the slice of `shape` (H, W); this is the "shift" of the paper.
    Without it the centre is that of one of the output tiles, of `output_tile` px a side, that cover
    the slice. The same numbers are drawn whatever is switched on, and the vectors last, so that
    experiments that differ in one augmentation see the same tiles otherwise.
    """
    index = int(rng.integers(n_slices))
    centre = [rng.uniform(0, side - 1) for side in shape]
    if not config.shift:
        centre = [
            _nearest_centre(c, side, output_tile) for c, side in zip(centre, shape, strict=True)
        ]
    return TileDraw(
        index=index,
        centre=tuple(centre),
        angle=np.deg2rad(rng.uniform(-config.rotation, config.rotation)),
        mirrored=bool(rng.integers(2)) and config.mirror,
        grey_shift=rng.uniform(-config.grey_shift, config.grey_shift),
        grey_scale=1 + rng.uniform(-config.grey_scale, config.grey_scale),
        vectors=rng.normal(0, config.displacement_std, (2, config.grid, config.grid)),
    )


def _nearest_centre(position, side, tile):
    """Centre, next to a position in px, of the fewest tiles that cover a side, evenly spaced."""
    n = -(-side // tile)
    k = min(int((position + 0.5) * n / side), n - 1)
    return (k + 0.5) * side / n - 0.5


def elastic_basis(size: int, grid: int, kernel: str) -> np.ndarray:
    """Matrix that up-samples `grid` node values, spread over `size` px, to every pixel.

    The first and the last node stand on the first and the last pixel. Both kernels are uniform
    cubic B-splines, mirrored at the ends. "bspline" takes the node values as coefficients, which
    halves a random displacement; "bicubic" first solves for the coefficients that pass through
    the node values.

    Returns
    -------
    (size, grid) float64 array B; the field of vectors v is B v B^T. Rows sum to 1.

    Raises
    ------
    InputError : unknown kernel.
    """
    _check_kernel(kernel)
    basis = bspline_basis(np.linspace(0, grid - 1, size), grid)
    if kernel == "bspline":
        return basis
    return basis @ spline_coefficients(np.eye(grid), axes=(0,))


def _check_kernel(kernel):
    if kernel not in KERNELS:
        raise InputError(f"kernel {kernel!r}: need one of {', '.join(KERNELS)}")


def tile_basis(size: int, grid: int, kernel: str) -> np.ndarray:
    """Basis of all positions that a tile can have: `elastic_basis`, ones, and the axis itself.

    Returns
    -------
    (size, grid + 2) float64 array; the last column is the distance in px from the tile's centre.
    """
    axis = np.arange(size) - (size - 1) / 2
    return np.column_stack((elastic_basis(size, grid, kernel), np.ones(size), axis))


def tile_field(drawn: TileDraw) -> np.ndarray:
    """Positions on the slice of every pixel of a tile, as numbers on `tile_basis`.

    A pixel at (y, x) from the tile's centre is moved by its displacement, mirrored, rotated, and
    shifted to the centre drawn. All of this is linear in what the basis holds.

    Returns
    -------
    (2, grid + 2, grid + 2) float64 array F; the rows on the slice are B F[0] B^T, the columns
    B F[1] B^T, in px.
    """
    cos, sin = np.cos(drawn.angle), np.sin(drawn.angle)
    along_x = -1 if drawn.mirrored else 1
    turn = np.array([[cos, sin * along_x], [-sin, cos * along_x]])
    grid = drawn.vectors.shape[-1]
    ones, axis = grid, grid + 1  # the last two columns of the basis
    field = np.zeros((2, grid + 2, grid + 2))
    field[:, :grid, :grid] = np.tensordot(turn, drawn.vectors, axes=1)
    field[:, ones, ones] = drawn.centre
    field[:, axis, ones] = turn[:, 0]
    field[:, ones, axis] = turn[:, 1]
    return field


class TileAugmenter:
    """Cuts augmented training tiles out of slices.

    Parameters
    ----------
    images : (N, C, H, W) real array.
    classes : (N, H, W) integer array of class numbers.
    weights : (N, H, W) real array of loss weights.
    input_size : side of the input tile in px.
    halo : pixels the network loses on each side.
    config : strength of the augmentation.
    device : where tiles are cut, and stay.

    Raises
    ------
    InputError : the arrays do not match, or have nothing along an axis.
    """

    def __init__(self, images, classes, weights, *, input_size, halo, config, device="cpu"):
        self.slices = prepare_slices(images, classes, weights, device)
        self.n_slices, self.shape = len(images), images.shape[-2:]
        means = images.mean(axis=(2, 3), dtype=np.float64)
        self.means = torch.as_tensor(means, dtype=torch.float32, device=device)  # (N, C)
        basis = tile_basis(input_size, config.grid, config.kernel)
        self.basis = torch.as_tensor(basis, device=device)
        self.halo, self.config = halo, config
        self.output_tile = input_size - 2 * halo
        self.places = _places(classes, weights, config)

    def draw(self, rng: np.random.Generator) -> TileDraw:
        """Draw the random numbers of a tile."""
        drawn = draw_tile(rng, self.n_slices, self.shape, self.config, self.output_tile)
        if not self.places:
            return drawn
        places = self.places[rng.integers(len(self.places))]
        index, *centre = np.unravel_index(
            places[rng.integers(len(places))], (self.n_slices, *self.shape)
        )
        return replace(drawn, index=int(index), centre=tuple(map(float, centre)))

    def cut(self, drawn: TileDraw) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Cut one tile.

        Returns
        -------
        image : (1, C, size, size) float32 tensor.
        classes : (1, out, out) int64 tensor, out = size - 2 halo.
        weights : (1, out, out) float32 tensor.
        """
        tile = cut_tile(self.slices, drawn.index, tile_field(drawn), self.basis, self.halo)
        image, classes, weights = tile
        change_grey_values(image, self.means[drawn.index], drawn)
        return image[None], classes[None], weights[None]

    def __call__(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw and cut one tile, as `draw` and `cut` do."""
        return self.cut(self.draw(rng))


def _places(classes, weights, config):
    """Pixels in whose middle tiles may lie, by what is drawn first; empty where any pixel may.

    They are counted through the whole stack. Pixels that weigh nothing are nobody's: tiles around
    them would teach little, or nothing.
    """
    counted = weights > 0
    if config.balanced:
        classes = [(classes == c) & counted for c in range(int(classes.max()) + 1)]
    elif config.shift and not counted.all():
        classes = [counted]
    else:
        return []
    return [np.flatnonzero(of_class) for of_class in classes]


def change_grey_values(image: torch.Tensor, mean: torch.Tensor, drawn: TileDraw) -> None:
    """Change brightness and contrast of a (C, h, w) tile as drawn, in place.

    The contrast changes around the `mean` (C,) of the whole slice, one for each channel. A mean of
    the tile would be a sum whose last digits depend on the number of threads.
    """
    offset = mean * (1 - drawn.grey_scale) + drawn.grey_shift
    image.mul_(drawn.grey_scale).add_(offset[:, None, None])
