"""Overlap-tile strategy: seamless prediction of images of any size (paper Fig. 2).

The image is cut into output tiles; each is computed from an input tile that is larger by the halo
on every side, and where that reaches over the image border the context is mirrored. Because of the
poolings, a tile gives the same values as the whole image if and only if its offset is a multiple
of 16: plans here never use another one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from unetcore import geometry
from unetcore.errors import InputError

LARGEST_PLANNED_TILE = 516  # px; larger output tiles leave the caches of a CPU


@dataclass(frozen=True)
class Tile:
    """One output tile: rows and columns [start, stop) of the image, before it is cropped to it."""

    row: int
    column: int
    height: int
    width: int

    def crop(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Part of the image this tile fills."""
        return (
            slice(self.row, min(self.row + self.height, shape[0])),
            slice(self.column, min(self.column + self.width, shape[1])),
        )


@dataclass(frozen=True)
class TilePlan:
    """Which output tiles cover an image, and what that costs.

    Attributes
    ----------
    shape : (H, W) of the image in px.
    tile : (h, w) of every output tile in px, each 4 + 16 k.
    depth : number of poolings of the network.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    depth: int = geometry.DEPTH

    @property
    def step(self) -> tuple[int, int]:
        """Distance between tiles: the largest multiple of 16 that leaves no gap (388 -> 384)."""
        period = geometry.phase(self.depth)
        return tuple(side // period * period or period for side in self.tile)

    @property
    def halo(self) -> int:
        """Context in px that each input tile has on every side."""
        return geometry.halo(self.depth)

    def __iter__(self) -> Iterator[Tile]:
        """Tiles in row-major order."""
        starts = (
            range(0, max(1, size - (tile - step)), step)
            for size, tile, step in zip(self.shape, self.tile, self.step, strict=True)
        )
        return (Tile(row, column, *self.tile) for row, column in product(*starts))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def cost(self) -> float:
        """Operations computed / operations needed if no halo were ever computed (>= 1)."""
        sides = [side + 2 * self.halo for side in self.tile]
        computed = len(self) * geometry.multiply_accumulates(*sides, depth=self.depth)
        return computed / geometry.needed_multiply_accumulates(*self.shape, depth=self.depth)


def plan_tiles(
    shape: tuple[int, int], tile: int | None = None, depth: int = geometry.DEPTH
) -> TilePlan:
    """Choose output tiles for an image of `shape` (H, W).

    Parameters
    ----------
    shape : (H, W) in px, each >= 1.
    tile : side of the output tile in px, one of 4 + 16 k; None picks the tile of at most 516 px
        per side with the least computation.
    depth : number of poolings.

    Raises
    ------
    InputError : `shape` is empty, or `tile` does not fit the poolings or leaves gaps.
    """
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"image of shape {tuple(shape)}: need two sides of at least 1 px")
    if tile is not None:
        side = geometry.check_output_tile(tile, depth)
        if side < geometry.phase(depth) and max(shape) > side:
            raise InputError(
                f"output tile of {side} px on an image of {tuple(shape)}: tiles step by multiples "
                f"of {geometry.phase(depth)} px, so the smallest that leaves no gap is "
                f"{side + geometry.phase(depth)}"
            )
        return TilePlan(tuple(shape), (side, side), depth)
    sides = (_candidate_sides(size, depth) for size in shape)
    plans = [TilePlan(tuple(shape), candidate, depth) for candidate in product(*sides)]
    return min(plans, key=lambda plan: (plan.cost, len(plan)))


def predict_tiled(
    image: np.ndarray,
    network: Callable[[np.ndarray], np.ndarray],
    tile: int | None = None,
    depth: int = geometry.DEPTH,
) -> np.ndarray:
    """Apply a valid network to an image of any size, tile by tile (paper Fig. 2).

    Parameters
    ----------
    image : (H, W) or (C, H, W) float array, or anything that can be sliced like one.
    network : maps (B, C, h, w) float arrays to (B, K, h - 184, w - 184) scores.
    tile : side of the output tile in px, one of 4 + 16 k; None lets `plan_tiles` choose.
    depth : number of poolings of the network.

    Returns
    -------
    (K, H, W) array of what the network returns.

    Raises
    ------
    InputError : the image is not 2-D or 3-D, or `tile` does not fit.
    FloatingPointError : the network returned NaN or infinity; the tile is named.
    """
    if len(image.shape) not in (2, 3):
        raise InputError(f"image of shape {tuple(image.shape)}: need (H, W) or (C, H, W)")
    shape = tuple(image.shape[-2:])
    result = None
    for part in (plan := plan_tiles(shape, tile, depth)):
        scores = network(input_tile(image, part, plan.halo)[None])[0]
        if not np.isfinite(scores).all():
            raise FloatingPointError(f"network output is not finite in the tile at {part}")
        if result is None:
            result = np.empty((scores.shape[0], *shape), scores.dtype)
        rows, columns = part.crop(shape)
        result[:, rows, columns] = scores[
            :, : rows.stop - rows.start, : columns.stop - columns.start
        ]
    return result


def input_tile(image: np.ndarray, tile: Tile, margin: int) -> np.ndarray:
    """Cut the input of one output tile out of a (C, H, W) image, mirrored where it reaches over.

    Only the part of `image` that the tile touches is read, so `image` may be a memory map.

    Returns
    -------
    (C, h + 2 margin, w + 2 margin) array, float64 if the image is, else float32.
    """
    rows = geometry.mirror_index(
        tile.row - margin, tile.row + tile.height + margin, image.shape[-2]
    )
    columns = geometry.mirror_index(
        tile.column - margin, tile.column + tile.width + margin, image.shape[-1]
    )
    top, left = rows.min(), columns.min()
    block = np.asarray(image[..., top : rows.max() + 1, left : columns.max() + 1])
    block = block.reshape(-1, *block.shape[-2:])  # a 2-D image has one channel
    block = block.astype(np.float64 if block.dtype == np.float64 else np.float32, copy=False)
    return block[:, (rows - top)[:, None], (columns - left)[None, :]]


def _candidate_sides(size: int, depth: int) -> list[int]:
    """Tile sides that cover `size` px by 1, 2, 3 ... tiles with the least overhang."""
    smallest = max(1, -(-(size - 4) // (LARGEST_PLANNED_TILE - 4)))
    return sorted(
        {
            geometry.round_up_to_output_tile(-(-(size + 4 * (n - 1)) // n), depth)
            for n in range(smallest, smallest + 3)
        }
    )
