"""How an image larger than memory is predicted, and what that takes."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from unetcore import geometry
from unetcore.data.stacks import Stack
from unetcore.errors import InputError
from unetcore.free_memory import available_memory, resident_memory
from unetcore.predict import STATISTICS_SIDE, Predictor
from unetcore.tiling import TilePlan, plan_tiles

logger = logging.getLogger(__name__)

CHUNK = 1024  # px, side of a chunk where none is asked for: 4 MB, hundreds of files per slide
FLOAT = 4  # bytes of a float32
KERNELS = 100_000_000  # bytes that libraries take in their first calls, measured

Item = TypeVar("Item")


@dataclass(frozen=True)
class VolumePlan:
    """Chunks and tiles of a prediction, and the memory that it takes.

    Attributes
    ----------
    shape : (N, H, W) of the stack.
    side : of a chunk in px.
    tiles : plan of the tiles of a full chunk; those of smaller ones at the border are the same.
    on_host : bytes in main memory beside libraries and weights, estimated.
    """

    shape: tuple[int, int, int]
    side: int
    tiles: TilePlan
    on_host: int

    @property
    def n_chunks(self) -> int:
        """Number of chunks of the result."""
        return self.shape[0] * math.prod(-(-side // self.side) for side in self.shape[1:])

    def __str__(self) -> str:
        """Plan in a line, for logs."""
        n, height, width = self.shape
        return (
            f"{n} x {height} x {width} px in {self.n_chunks} chunks of {self.side} px, each in "
            f"{self.tiles}"
        )

    def announce(self) -> None:
        """Log what the prediction takes, before it begins."""
        logger.info("%s", self)
        resident = resident_memory()
        if resident is not None:
            logger.info(
                "memory: about %.0f MB, of which %.0f MB are libraries and weights",
                (resident + self.on_host) / 1e6,
                resident / 1e6,
            )

    def check_memory(self, way_out: str) -> None:
        """Refuse what is more than what is free, or than a limit of this process allows.

        Parameters
        ----------
        way_out : what to do then, for the message.

        Raises
        ------
        InputError : the machine, or its GPU, has less.
        """
        needed = {"cpu": self.on_host} | ({"cuda": self.tiles.memory} if self.on_gpu else {})
        for kind, size in needed.items():
            free = available_memory(torch.device(kind))
            if free is not None and size > free:
                where = "of the GPU" if kind == "cuda" else "of the machine"
                raise InputError(
                    f"memory {where}: {size / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are "
                    f"free: {way_out}"
                )

    @property
    def on_gpu(self) -> bool:
        """Whether the network computes on a GPU."""
        return self.tiles.traits.on_gpu


def plan_volume(
    stack: Stack, predictor: Predictor, *, side: int = CHUNK, memory: int | None = None
) -> VolumePlan:
    """Choose chunks and tiles.

    Parameters
    ----------
    stack : images to be predicted.
    predictor : network.
    side : of a chunk in px, a multiple of 16; a smaller image has smaller ones.
    memory : bytes of main memory that a process may take beside libraries and weights; None: what
        the predictor allows its tiles, and what goes with them. Tiles on a GPU are planned for the
        GPU's memory in any case.

    Raises
    ------
    InputError : `side` does not fit the poolings, or `memory` is not enough.
    """
    period = geometry.phase(predictor.depth)
    if side < period or side % period:
        raise InputError(f"chunks of {side} px: need a multiple of {period} px")
    side = min(side, period * -(-max(stack.shape[1:]) // period))
    traits = predictor.traits
    if memory is not None:
        beside = _beside_tiles(stack, predictor, side, side + 2 * geometry.halo(predictor.depth))
        least = beside + _statistics_memory(predictor)
        if memory <= least:
            raise InputError(
                f"memory of {memory / 1e6:.0f} MB: chunks of {side} px take {least / 1e6:.0f} MB "
                "beside their tiles"
            )
        if not traits.on_gpu:
            traits = replace(traits, memory=memory - beside)
    tiles = plan_tiles((side, side), None, predictor.depth, traits)
    return plan_of_tiles(stack, predictor, tiles)


def plan_of_tiles(stack: Stack, predictor: Predictor, tiles: TilePlan) -> VolumePlan:
    """Plan by tiles of a full chunk that were chosen before."""
    side, _ = tiles.shape
    on_host = _beside_tiles(stack, predictor, side, window_side(tiles))
    if not predictor.traits.on_gpu:
        on_host += max(tiles.memory, _statistics_memory(predictor))
    return VolumePlan(stack.shape, side, tiles, on_host)


def part_of(items: Sequence[Item], number: int, n_parts: int) -> Sequence[Item]:
    """Neighbours that are the share of one of so many jobs.

    Parameters
    ----------
    items : all that is to be done.
    number : of the job, 1 to `n_parts`.

    Raises
    ------
    InputError : there is no such job.

    Examples
    --------
    >>> [part_of([1, 2, 3, 4, 5], k, 2) for k in (1, 2)]
    [[1, 2], [3, 4, 5]]
    """
    if not 1 <= number <= n_parts:
        raise InputError(f"part {number} of {n_parts}: parts are counted from 1 to {n_parts}")
    return items[len(items) * (number - 1) // n_parts : len(items) * number // n_parts]


def window_side(tiles: TilePlan) -> int:
    """Side in px of what the tiles of a full chunk read of an image, with their context."""
    return tiles.starts(0)[-1] + tiles.input_shape[0]


def _beside_tiles(stack: Stack, predictor: Predictor, side: int, window: int) -> int:
    """Bytes of what is held beside the feature maps: windows, scores, a chunk, decoded blocks."""
    # One block more is being decoded, and another is what it is decoded from.
    n_blocks = stack.blocks_of(window, window)
    blocks = (n_blocks + 2 * bool(n_blocks)) * stack.block_size
    # The tiles of a call, at most all of a chunk: as the file has them; read, gathered, given to
    # the network; what comes back, and the softmax of it. Of a chunk: values, and values and code
    # of the compressor.
    grey = stack.n_channels * window**2 * (stack.dtype.itemsize + 3 * FLOAT)
    scores = (2 + 3 * predictor.n_classes + 3) * side**2 * FLOAT
    return grey + scores + blocks + KERNELS


def _statistics_memory(predictor: Predictor) -> int:
    """Bytes of main memory that the statistics of a normalised network take."""
    if predictor.traits.on_gpu or not predictor.normalised:
        return 0
    side = geometry.round_up_to_output_tile(STATISTICS_SIDE, predictor.depth)
    traits = replace(predictor.traits, value_size=FLOAT)
    plan = TilePlan((side, side), (side, side), predictor.depth, traits)
    doubles = 4 * traits.map_size(*plan.input_shape)  # a map in float64, and its square
    return plan.memory + doubles
