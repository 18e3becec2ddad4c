"""Overlap-tile strategy: seamless prediction of images of any size (paper Fig. 2).

The image is cut into output tiles; each is computed from an input tile that is larger by the halo
on every side, and where that reaches over the image border the context is mirrored. Because of the
poolings, a tile gives the same values as the whole image if and only if its offset is a multiple
of 16: plans here never use another one. `NaivePlan` does, to show what comes of it.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby, pairwise, product
from typing import Any

import numpy as np

from unetcore import geometry
from unetcore.errors import InputError

# The planner's model of time and memory, in units that do not depend on the speed of a machine.
# Measured on two cores with 1 MiB of L2 cache each and 32 MiB of L3: widths 16 and 64, float32 and
# bfloat16, tiles of 4 to 2052 px in batches of 1 to 16. The model is within 12 % of these times for
# single tiles of 260 px and more, within 25 % for smaller ones down to 68 px and for batches, and
# within 30 % of the memory that processes took beside the weights.
CACHE = 26e6  # bytes of a feature map of the first level that still stay in the cache
WAIT = 14.0  # operations' time lost to memory per operation and channel, for maps far larger
CALL = 3e8  # multiply-accumulates' time that a call of the network takes on a CPU
GPU_CALL = 1e11  # our choice: about 1 ms of launching kernels, not measured
INPUT_MAPS, OUTPUT_MAPS = 2.5, 4  # maps of the first level held at once: input's, output's size
MOST_AT_ONCE = 15  # on a CPU; from 16 on, PyTorch takes another kernel, and the last digits differ
BATCH_PAYS_BELOW = 10  # calls' time that a batch computes: above, a tenth cannot be gained

MEMORY = 2 * 1024**3  # bytes, budget where none is given
MOST_COMPUTED = 1.30  # times what is needed: plans within it come first


@dataclass(frozen=True)
class NetworkTraits:
    """What the planner must know about a network and where it runs.

    A network that is given to `predict_tiled` may carry them as an attribute `traits`.

    Attributes
    ----------
    width : channels of the first level. Where nothing is known a narrow network is the safer guess:
        a wide one loses less by tiles that suit a narrow one than the other way round.
    value_size : bytes of a value in its feature maps: 4, or 2 in bfloat16.
    crops : whether it can be called as `network(tiles, output=(h, w))` and then computes only
        the upper left (h, w) px of each output tile.
    on_gpu : whether it runs on a GPU.
    memory : bytes that one call may take, beside the weights, as estimated within 30 %.
    whole : whether an image must be given to it as one tile, since it cannot be told the statistics
        of an image, or mirrors the context by itself.
    """

    width: int = 16
    value_size: int = 4
    crops: bool = False
    on_gpu: bool = False
    memory: int = MEMORY
    whole: bool = False

    def map_size(self, height: int, width: int) -> int:
        """Bytes of a feature map of the first level, of height x width px."""
        return height * width * self.width * self.value_size

    def slowdown(self, map_size: int) -> float:
        """Time per operation, in units of its time where all feature maps stay in the cache.

        The part of a map that does not fit the cache is waited for. Twice as many channels do twice
        as many operations with each value, so the wait weighs half. GPUs are not slowed down.
        """
        outside = max(0.0, 1 - CACHE / map_size)
        return 1.0 if self.on_gpu else 1 + WAIT / self.width * outside

    @property
    def call(self) -> float:
        """Multiply-accumulates that could be done in the time a call takes beside them."""
        return GPU_CALL if self.on_gpu else CALL


PLAIN = NetworkTraits()  # of a function that says nothing about itself
UNET = NetworkTraits(crops=True)  # of our network


@dataclass(frozen=True)
class Tile:
    """One output tile: its first row and column in the image, and its sides in px."""

    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True)
class TilePlan:
    """Which output tiles cover an image, how they are computed, and what that costs.

    Attributes
    ----------
    shape : (H, W) of the image in px.
    tile : (h, w) of every output tile in px, each 4 + 16 k.
    depth : number of poolings of the network.
    traits : of the network.
    crops : whether only that part of an output tile is computed that it fills of the image.
    batch : number of tiles per call of the network.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    depth: int = geometry.DEPTH
    traits: NetworkTraits = field(default=PLAIN, repr=False)
    crops: bool = False
    batch: int = 1

    @property
    def step(self) -> tuple[int, int]:
        """Distance between tiles: the largest multiple of 16 that leaves no gap (388 -> 384)."""
        period = geometry.phase(self.depth)
        return tuple(side // period * period or period for side in self.tile)

    @property
    def halo(self) -> int:
        """Context in px that each input tile has on every side."""
        return geometry.halo(self.depth)

    @property
    def input_shape(self) -> tuple[int, int]:
        """(h, w) of every input tile in px."""
        return tuple(side + 2 * self.halo for side in self.tile)

    def starts(self, axis: int) -> range:
        """First row (axis 0) or column (axis 1) of the tiles."""
        size, tile, step = self.shape[axis], self.tile[axis], self.step[axis]
        return range(0, max(1, size - (tile - step)), step)

    def __iter__(self) -> Iterator[Tile]:
        """Tiles in row-major order."""
        corners = product(self.starts(0), self.starts(1))
        return (Tile(row, column, *self.tile) for row, column in corners)

    def __len__(self) -> int:
        return len(self.starts(0)) * len(self.starts(1))

    def filled(self, tile: Tile) -> tuple[slice, slice]:
        """Rows and columns of the image that a tile fills; no two tiles fill the same pixel."""
        return self._filled(0, tile.row), self._filled(1, tile.column)

    def output_shape(self, tile: Tile) -> tuple[int, int]:
        """(h, w) that is computed of a tile: all, or the part that it fills."""
        return self._computed(0, tile.row), self._computed(1, tile.column)

    def batches(self) -> Iterator[list[Tile]]:
        """Tiles in row-major order, those that one call computes together.

        At most `batch`, and about as many in each call: a tile that is left over alone would cost
        a call of its own.
        """
        for _, alike in groupby(self, self.output_shape):
            tiles = list(alike)
            n_calls = -(-len(tiles) // self.batch)
            ends = [len(tiles) * k // n_calls for k in range(n_calls + 1)]
            yield from (tiles[a:b] for a, b in pairwise(ends))

    @property
    def operations(self) -> int:
        """Multiply-accumulates of the network for the whole image."""
        return sum(n * self._operations(*part) for part, n in self._parts().items())

    @property
    def cost(self) -> float:
        """Operations computed / operations needed if no halo were ever computed (>= 1).

        Counted for the paper's width; at others, tiles of 260 px and more differ by 2 % at most.
        """
        return self.operations / geometry.needed_multiply_accumulates(*self.shape, depth=self.depth)

    @property
    def time(self) -> float:
        """Estimated time, in multiply-accumulates of the network where its maps stay in cache."""
        scale = (self.traits.width / 64) ** 2  # of operations, which are counted in width 64
        map_size = self.batch * self.traits.map_size(*self.input_shape)
        calls = sum(math.ceil(n / self.batch) for n in self._parts().values())
        return scale * self.operations * self.traits.slowdown(map_size) + calls * self.traits.call

    @property
    def memory(self) -> int:
        """Estimated bytes that a call of the network takes at most, beside its weights."""
        maps = INPUT_MAPS * self.traits.map_size(*self.input_shape)
        maps += OUTPUT_MAPS * self.traits.map_size(*self.tile)
        return int(self.batch * maps)

    def __str__(self) -> str:
        """Plan in a line, for logs."""
        tiles = f"{len(self)} output tile{'s' * (len(self) > 1)}"
        return (
            f"{tiles} of {self.tile[0]} x {self.tile[1]} px, {self.batch} at once: computes "
            f"{self.cost:.2f} times what is needed, takes about {self.memory / 1e6:.0f} MB"
        )

    def _filled(self, axis: int, start: int) -> slice:
        """Rows (axis 0) or columns (axis 1) that tiles at a start fill: a step, or all the rest."""
        is_last = start == self.starts(axis)[-1]
        return slice(start, self.shape[axis] if is_last else start + self.step[axis])

    def _computed(self, axis: int, start: int) -> int:
        """Height (axis 0) or width (axis 1) that is computed of tiles at a start."""
        filled = self._filled(axis, start)
        return filled.stop - filled.start if self.crops else self.tile[axis]

    def _operations(self, *part: int) -> int:
        return geometry.multiply_accumulates(*self.input_shape, depth=self.depth, output=part)

    def _parts(self) -> Counter[tuple[int, int]]:
        """Shapes that are computed of the tiles, and how often each occurs."""
        rows, columns = (self._computed_sides(axis).items() for axis in (0, 1))
        return Counter({(h, w): m * n for (h, m), (w, n) in product(rows, columns)})

    def _computed_sides(self, axis: int) -> Counter[int]:
        """Heights (axis 0) or widths (axis 1) that are computed; all but the last are equal."""
        starts = self.starts(axis)
        sides = Counter({self._computed(axis, starts[0]): len(starts) - 1})
        sides[self._computed(axis, starts[-1])] += 1
        return sides


class NaivePlan(TilePlan):
    """Output tiles side by side, as one would read Fig. 2: not seamless, for demonstration only.

    An output tile is 4 mod 16, so stepping by its side puts all but the first ones at another place
    of the pooling grid, where the network is another function.
    """

    @property
    def step(self) -> tuple[int, int]:
        """Distance between tiles: their own side (388 -> 388)."""
        return self.tile


def plan_tiles(
    shape: tuple[int, int],
    tile: int | None = None,
    depth: int = geometry.DEPTH,
    traits: NetworkTraits = UNET,
) -> TilePlan:
    """Choose output tiles for an image of `shape` (H, W).

    Parameters
    ----------
    shape : (H, W) in px, each >= 1.
    tile : side of the output tile in px, one of 4 + 16 k; every tile is then computed in full. None
        plans it: the least estimated time, within the memory that `traits` allow and, where that is
        possible, 1.30 times the operations needed.
    depth : number of poolings.
    traits : of the network; without them, those of our network in width 16, float32, on a CPU.

    Raises
    ------
    InputError : `shape` is empty; `tile` does not fit the poolings or leaves gaps, or the network
        takes whole images alone; the memory is not enough for any tile.

    Notes
    -----
    The paper takes the tile that the memory of its GPU allows. On a CPU a smaller one is often
    faster, since its feature maps stay in the cache.
    """
    shape = tuple(int(side) for side in shape)
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"image of shape {shape}: need two sides of at least 1 px")
    if traits.whole:
        return _whole(shape, tile, depth, traits)
    return _planned(shape, depth, traits) if tile is None else _given(shape, tile, depth, traits)


def several_tiles(shape: tuple[int, int], tile: int, depth: int = geometry.DEPTH) -> int:
    """Side of an output tile, `tile` or about half of a smaller image, that takes several tiles."""
    half = geometry.round_up_to_output_tile(-(-max(shape) // 2), depth)
    smallest = geometry.round_up_to_output_tile(geometry.phase(depth), depth)
    return tile if tile < max(shape) else max(half, smallest)


def predict_tiled(
    image: Any,
    network: Callable[[np.ndarray], np.ndarray],
    tile: int | None = None,
    depth: int | None = None,
    *,
    memory: int | None = None,
    out: Any = None,
) -> Any:
    """Apply a valid network to an image of any size, tile by tile (paper Fig. 2).

    Parameters
    ----------
    image : (H, W) or (C, H, W) real array, or anything that can be sliced like one: a memory map,
        a Zarr array. Each tile reads its own window only. The network gets float64 if the image
        is, else float32; whole numbers are not scaled.
    network : maps (B, C, h, w) float arrays to (B, K, h - 184, w - 184) scores. It may carry
        `NetworkTraits` as `traits`, its number of poolings as `depth`, and a method `fixed_for`
        that takes the image and returns the network whose tiles equal the whole of it.
    tile : side of the output tile in px, one of 4 + 16 k; None lets `plan_tiles` choose.
    depth : number of poolings of the network; None takes its own, 4 if it does not say.
    memory : bytes that a planned call of the network may take; None takes that of its traits, 2 GiB
        if it has none.
    out : (K, H, W) array, memory map or Zarr array of floats that takes each tile as it is
        finished. None makes an array.

    Returns
    -------
    (K, H, W) array of what the network returns, or `out`.

    Raises
    ------
    InputError : the image is not 2-D or 3-D, `tile` does not fit, `memory` is not enough for any
        tile, `out` has another shape or type, or the network's output has another size.
    FloatingPointError : the network returned NaN or infinity; the tile is named.
    """
    shape = _check_image(image)
    traits = getattr(network, "traits", PLAIN)
    depth = getattr(network, "depth", geometry.DEPTH) if depth is None else depth
    if memory is not None:
        traits = replace(traits, memory=memory)
    plan = plan_tiles(shape, tile, depth, traits)
    if hasattr(network, "fixed_for"):
        network = network.fixed_for(image)
    return stitch(predict_tiles(image, network, plan), shape, out)


def predict_tiles(
    image: Any,
    network: Callable[[np.ndarray], np.ndarray],
    plan: TilePlan,
    origin: tuple[int, int] | None = None,
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Compute the tiles of a plan one after the other, and hold no more than a batch of them.

    Parameters
    ----------
    image, network : as of `predict_tiled`.
    plan : of `plan_tiles`, for the shape of this image or of a part of it.
    origin : first row and column of the part, multiples of 16; None where the plan is for all.

    Yields
    ------
    rows, columns : slices of the image, or of the part, that a tile fills.
    scores : (K, rows, columns) array.

    Raises
    ------
    InputError : the plan is for another shape, the part does not lie in the image or not on the
        pooling grid, or the network's output has another size.
    FloatingPointError : the network returned NaN or infinity; the tile is named.
    """
    top, left = _check_part(_check_image(image), plan, origin)
    crops = getattr(network, "traits", PLAIN).crops
    for tiles in plan.batches():
        places = [replace(tile, row=tile.row + top, column=tile.column + left) for tile in tiles]
        batch = np.stack([input_tile(image, place, plan.halo) for place in places])
        size = plan.output_shape(tiles[0]) if crops else plan.tile
        results = network(batch) if size == plan.tile else network(batch, output=size)
        _check_output(results, size, plan)
        for tile, place, scores in zip(tiles, places, results, strict=True):
            if not np.isfinite(scores).all():
                raise FloatingPointError(f"network output is not finite in the tile at {place}")
            rows, columns = plan.filled(tile)
            height, width = rows.stop - rows.start, columns.stop - columns.start
            yield rows, columns, scores[:, :height, :width]


def stitch(
    tiles: Iterable[tuple[slice, slice, np.ndarray]], shape: tuple[int, int], out: Any = None
) -> Any:
    """Put tiles where they belong, each as it comes.

    Parameters
    ----------
    tiles : rows, columns and scores of each, as `predict_tiles` yields them.
    shape : (H, W) of the image.
    out : as of `predict_tiled`.

    Raises
    ------
    InputError : `out` has another shape than the prediction, or cannot hold its values.
    """
    for rows, columns, scores in tiles:
        whole = (len(scores), *shape)
        if out is None:
            out = np.empty(whole, scores.dtype)
        elif tuple(out.shape) != whole:
            raise InputError(
                f"output array of shape {tuple(out.shape)}: the prediction has {whole}"
            )
        elif not np.can_cast(scores.dtype, getattr(out, "dtype", scores.dtype), "same_kind"):
            raise InputError(f"output array of type {out.dtype}: the prediction is {scores.dtype}")
        out[:, rows, columns] = scores
    return out


def input_tile(image: Any, tile: Tile, margin: int) -> np.ndarray:
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
    if block.dtype.kind not in "buif":
        raise InputError(f"image of type {block.dtype}: need real numbers")
    block = block.reshape(-1, *block.shape[-2:])  # a 2-D image has one channel
    is_double = block.dtype.kind == "f" and block.dtype.itemsize == 8  # of any byte order
    block = block.astype(np.float64 if is_double else np.float32, copy=False)
    return block[:, (rows - top)[:, None], (columns - left)[None, :]]


def _check_image(image: Any) -> tuple[int, int]:
    """(H, W) of an image of two or three dimensions."""
    if len(image.shape) not in (2, 3):
        raise InputError(f"image of shape {tuple(image.shape)}: need (H, W) or (C, H, W)")
    return tuple(image.shape[-2:])


def _check_part(
    shape: tuple[int, int], plan: TilePlan, origin: tuple[int, int] | None
) -> tuple[int, int]:
    """First row and column of what a plan is for, if it lies in the image and on the grid."""
    if origin is None:
        if shape != plan.shape:
            raise InputError(f"image of {shape} px: the plan is for {plan.shape} px")
        return 0, 0
    period = geometry.phase(plan.depth)
    for first, side, whole in zip(origin, plan.shape, shape, strict=True):
        if first % period:
            raise InputError(f"part at {origin} px: tiles begin at multiples of {period} px")
        if not 0 <= first <= first + side <= whole:
            raise InputError(f"part of {plan.shape} px at {origin}: the image has {shape} px")
    return origin


def _check_output(results: np.ndarray, size: tuple[int, int], plan: TilePlan) -> None:
    """Refuse scores that would be put at the wrong place."""
    if results.shape[-2:] != size:
        raise InputError(
            f"network of output {results.shape[-2:]} px for an input of {plan.input_shape} px: "
            f"need {size}, as unpadded convolutions and {plan.depth} poolings make it"
        )


def _whole(shape: tuple[int, int], tile: int | None, depth: int, traits: NetworkTraits) -> TilePlan:
    """Plan of one tile for a network that takes no others."""
    if tile is not None:
        raise InputError(f"output tile of {tile} px: this network takes an image as one tile")
    sides = tuple(geometry.round_up_to_output_tile(side, depth) for side in shape)
    plan = TilePlan(shape, sides, depth, traits, traits.crops)
    if plan.memory > traits.memory:
        raise InputError(
            f"memory of {traits.memory / 1e6:.1f} MB: this network takes an image of {shape[0]} x "
            f"{shape[1]} px as one tile, which needs about {plan.memory / 1e6:.1f} MB"
        )
    return plan


def _given(shape: tuple[int, int], tile: int, depth: int, traits: NetworkTraits) -> TilePlan:
    """Plan with tiles of a side that was asked for."""
    side, period = geometry.check_output_tile(tile, depth), geometry.phase(depth)
    if side < period and max(shape) > side:
        raise InputError(
            f"output tile of {side} px on an image of {shape}: tiles step by multiples of {period} "
            f"px, so the smallest that leaves no gap is {side + period}"
        )
    return _in_batches(TilePlan(shape, (side, side), depth, traits))


@lru_cache(maxsize=64)  # the slices of a stack have one shape
def _planned(shape: tuple[int, int], depth: int, traits: NetworkTraits) -> TilePlan:
    """Plan that is estimated to take the least time."""
    sides = (_candidate_sides(size, depth) for size in shape)
    plans = [TilePlan(shape, tile, depth, traits, traits.crops) for tile in product(*sides)]
    fitting = [plan for plan in plans if plan.memory <= traits.memory]
    if not fitting:
        least = min(plan.memory for plan in plans)
        raise InputError(
            f"memory of {traits.memory / 1e6:.1f} MB: the smallest tile needs about "
            f"{least / 1e6:.1f} MB"
        )
    lean = [plan for plan in fitting if plan.cost <= MOST_COMPUTED]
    return min(map(_in_batches, lean or fitting), key=lambda plan: plan.time)


def _in_batches(plan: TilePlan) -> TilePlan:
    """Plan with as many tiles per call as pay.

    Tiles go together where the time of a call beside its operations counts, and only while their
    feature maps stay in the cache of a CPU and in the memory.
    """
    traits = plan.traits
    scale = (traits.width / 64) ** 2
    per_tile = scale * plan.operations / len(plan)
    paying = math.ceil(BATCH_PAYS_BELOW * traits.call / per_tile)
    room = traits.memory // plan.memory
    if not traits.on_gpu:
        room = min(room, CACHE // traits.map_size(*plan.input_shape), MOST_AT_ONCE)
    return replace(plan, batch=max(1, min(paying, int(room), len(plan))))


def _candidate_sides(size: int, depth: int) -> list[int]:
    """Tile sides that cover `size` px by 1, 2, 3 ... tiles with the least overhang."""
    period = geometry.phase(depth)
    most = max(1, -(-(size - 4) // period))
    return sorted(
        {
            geometry.round_up_to_output_tile(-(-(size + 4 * (n - 1)) // n), depth)
            for n in range(1, most + 1)
        }
    )
