"""What a training needs of its machine and its data, said before it fails or when it has failed."""

import logging
import traceback
from bisect import bisect_right
from dataclasses import dataclass, replace

import numpy as np
import torch

from unetcore import geometry
from unetcore.devices import resolve_precision
from unetcore.errors import InputError
from unetcore.free_memory import available_memory
from unetcore.geometry import largest_tile_for
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.sliding_window import HIDDEN_PER_MAP, KERNELS

logger = logging.getLogger(__name__)

STATES = {"sgd": 1, "adamw": 2}  # numbers that an optimiser keeps for each weight
LARGEST_TILE = 2**16  # px; no slice is larger

# Measured on a CPU: 4 to 64 channels, tiles of 196 to 516 px, float32 and bfloat16. What is alive
# follows from the shapes, to within a few percent. The process is larger by what the library makes
# for itself, and by holes that freed maps leave: several maps of the first level.
LIBRARY = 10_000_000  # bytes of compiled kernels
HOLES_KEPT = 5  # maps, where `unetcore.memory.keep_freed_memory` is on
HOLES = 3  # maps, else; larger blocks than LARGEST_HOLE then go back to the system
LARGEST_HOLE = 2**25  # bytes, glibc's largest threshold
TRUSTED = 0.9  # share of the memory that an estimate may fill for a promise that a step fits

OUT_OF_MEMORY = (  # how allocators say so that raise a plain RuntimeError
    "can't allocate memory",
    "out of memory",
    "std::bad_alloc",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
WITHOUT_REASON = ("could not create a primitive", "could not execute a primitive")  # of oneDNN


@dataclass(frozen=True)
class TrainingStep:
    """What is computed at once in a weight update, as far as memory goes.

    Attributes
    ----------
    network : shape of the network; of drop-out only whether there is any.
    output_tile : side in px.
    tiles : computed at once.
    value_size : bytes of a value in a feature map: 4, or 2 in bfloat16.
    optimiser : "sgd" or "adamw".
    in_channels, n_classes : of the image and of the scores.
    keeps_freed : whether the process keeps what it frees, see `unetcore.memory`; it is larger then.
    """

    network: NetworkConfig
    output_tile: int
    tiles: int = 1
    value_size: int = 4
    optimiser: str = "sgd"
    in_channels: int = 1
    n_classes: int = 2
    keeps_freed: bool = True

    @classmethod
    def of(
        cls,
        network: NetworkConfig,
        training: TrainConfig,
        device: torch.device,
        *,
        in_channels: int = 1,
        n_processes: int = 1,
    ) -> "TrainingStep":
        """Step of a training, on one of the processes that share its batches."""
        return cls(
            network,
            training.output_tile,
            tiles=training.batch // training.accumulate // n_processes,
            value_size=2 if resolve_precision(training.precision, device) == "bfloat16" else 4,
            optimiser=training.optimiser,
            in_channels=in_channels,
        )


def training_memory(step: TrainingStep) -> int:
    """Bytes that weight updates take at most, weights and state of the optimiser included.

    Parameters
    ----------
    step : what is computed at once.

    Returns
    -------
    int, an estimate: from 200 MB on it was 11 % below to 15 % above what processes on a CPU took.
    Kernels of a GPU may take more. Training slices are not counted, nor are the copies of gradients
    by which several processes exchange them.

    Raises
    ------
    InputError : the output tile does not fit the poolings.
    """
    first = step.network.input_tile(step.output_tile) - 2
    hole = step.tiles * step.network.width * first**2 * step.value_size
    holes = HOLES_KEPT * hole if step.keeps_freed else HOLES * min(hole, LARGEST_HOLE)
    return live_memory(step) + LIBRARY + holes


def live_memory(step: TrainingStep) -> int:
    """Bytes of all tensors at the moment of a weight update when they are most.

    The backward pass is followed layer by layer. Before it goes through a layer there are the maps
    that this one and all before it have kept; it adds the gradients of what the layer made and
    took. Maps that were copied to the expansive path get their gradients long before the
    contracting path needs them, and these wait.
    """
    layers = _Walk(step).layers
    weights = sum(layer.weights for layer in layers)
    kept = sum(layer.kept for layer in layers)
    waiting = gradients = most = 0
    for layer in reversed(layers):
        most = max(most, kept + waiting + gradients + layer.working)
        kept -= layer.kept
        waiting += layer.left
        gradients += layer.weights
    return _tiles(step) + weights * (1 + STATES[step.optimiser]) + max(most, gradients)


def largest_tile(available: int, step: TrainingStep) -> int | None:
    """Largest output tile in px with which a step is estimated to fit into `available` bytes.

    None if not even the smallest does. The tile of `step` itself does not matter.
    """
    sizes = step.network.output_tiles(LARGEST_TILE)
    fitting = bisect_right(
        sizes, available, key=lambda size: training_memory(replace(step, output_tile=size))
    )
    return sizes[fitting - 1] if fitting else None


def check_memory(step: TrainingStep, device: torch.device) -> int | None:
    """Warn of a training that is estimated to take more memory than there is.

    It may still fit, as estimates err; so nothing is refused. Linux may end a process that takes
    more than there is without a word, and then this warning is all that a user gets to read.

    Returns
    -------
    Bytes that are available now, None if unknown: for `explain_out_of_memory`, as nobody can tell
    any more when the memory is full. To be called when the slices are there and the network is not.
    """
    available, needed = available_memory(device), training_memory(step)
    if available is not None and needed > available:
        logger.warning("memory may not be enough: %s", _describe(step, available))
    return available


def explain_out_of_memory(
    error: BaseException,
    network: NetworkConfig,
    training: TrainConfig,
    device: torch.device,
    *,
    in_channels: int = 1,
    n_processes: int = 1,
    available: int | None = None,
) -> InputError | None:
    """What to tell a user whose training ran out of memory.

    Parameters
    ----------
    error : what a weight update raised.
    network, training, device, in_channels, n_processes : of the training.
    available : bytes that there were before it, from `check_memory`. None takes what there is once
        the failed step's tensors are gone; what the process keeps for itself is then missing.

    Returns
    -------
    InputError that names what the step takes, what there was, and which tile or how many parts
    would fit; None if `error` is about something else. An error of the CPU's kernels that has no
    reason is about memory if the step is estimated to take more than there was.
    """
    step = TrainingStep.of(
        network, training, device, in_channels=in_channels, n_processes=n_processes
    )
    unclear = isinstance(error, RuntimeError) and str(error) in WITHOUT_REASON
    if not unclear and not is_out_of_memory(error):
        return None
    if available is None:
        traceback.clear_frames(error.__traceback__)
        available = available_memory(device)
    if unclear and (available is None or training_memory(step) < TRUSTED * available):
        return None
    return InputError(f"out of memory: {_describe(step, available)}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that no memory was left, on a CPU or on a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def check_tile_fits(shape: tuple[int, int], output_tile: int, depth: int = geometry.DEPTH) -> None:
    """Refuse tiles so large that the mirrored context of a slice would be mirrored again.

    A tile may reach over the slice and its mirror images on both sides. One that is turned, or
    drawn from near the edge, may reach further; the image is continued there in the same way.

    Parameters
    ----------
    shape : (H, W) of the slices in px.
    output_tile : side in px.
    depth : number of poolings.

    Raises
    ------
    InputError : the tile is too large, or is no output tile; the largest that fits is named.
    """
    needed = geometry.input_size(output_tile, depth)
    given = geometry.mirrored_size(min(shape))
    if needed > given:
        largest = largest_tile_for(shape, depth)
        raise InputError(
            f"output tile of {output_tile} px needs an input of {needed} px: a slice of "
            f"{shape[0]} x {shape[1]} px and its mirror images give {given} px; the largest output "
            f"tile that fits is {largest} px"
        )


def check_both_classes(classes: np.ndarray, weights: np.ndarray) -> None:
    """Refuse training slices from which nothing can be learnt.

    Parameters
    ----------
    classes : (N, H, W) integer array, 0 = background.
    weights : (N, H, W) array of loss weights >= 0; pixels of weight 0 count for nothing.

    Raises
    ------
    InputError : all pixels that count are background, or all are cell, or none counts.
    """
    slices = "the training slice" if len(classes) == 1 else f"the {len(classes)} training slices"
    counted = classes[weights > 0]
    if not counted.size:
        raise InputError(f"loss weights of {slices} are 0 everywhere: nothing to learn")
    n_cell = np.count_nonzero(counted)
    if n_cell in (0, counted.size):
        missing = "background" if n_cell else "cell"
        where = " where the loss weight is above 0" if counted.size < classes.size else ""
        raise InputError(f"labels of {slices} hold no {missing}{where}: nothing to learn")


def check_contrast(images: np.ndarray) -> None:
    """Refuse training slices, an (N, H, W) or (N, C, H, W) array, that are all of one grey value.

    Raises
    ------
    InputError : every channel of every slice is the same everywhere.
    """
    if (images == images[..., :1, :1]).all():
        slices = f"{len(images)} training slice{'s' if len(images) > 1 else ''}"
        raise InputError(f"images of {slices} are the same everywhere: nothing to learn")


def _describe(step, available):
    """What a step takes, what there is, and what would fit."""
    tiles = f"{step.tiles} output tiles of" if step.tiles > 1 else "output tile"
    there = "" if available is None else f", {_size(available)} are free"
    return (
        f"a training step with {tiles} {step.output_tile} px at width {step.network.width} "
        f"takes about {_size(training_memory(step))}{there}: {_what_would_fit(step, available)}"
    )


def _what_would_fit(step, available):
    """A smaller tile, or more parts, or else a smaller width."""
    most = training_memory(step)
    budget = int(TRUSTED * (most if available is None else min(available, most)))
    ways = []
    if tile := largest_tile(budget, step):
        ways.append(f"{tile} px would fit (training.output_tile)")
    if parts := _fewest_parts(budget, step):
        ways.append(
            f"{step.tiles // parts} at once would fit (a smaller batch, or {parts} times as many "
            f"parts: training.accumulate)"
        )
    return ", or ".join(ways) or "no output tile would fit, take a smaller width (network.width)"


def _fewest_parts(budget, step):
    """Number of parts in which the tiles fit that are too many at once, None if there is none."""
    for parts in range(2, step.tiles + 1):
        part = replace(step, tiles=step.tiles // parts)
        if step.tiles % parts == 0 and training_memory(part) <= budget:
            return parts
    return None


def _size(n_bytes):
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _tiles(step):
    """Bytes of the images, of their copies for the network, and of their classes and weights."""
    values = step.in_channels * step.network.input_tile(step.output_tile) ** 2
    in_order = 4 if step.in_channels > 1 else 0  # channels last
    in_16_bits = step.value_size if step.value_size < 4 else 0
    return step.tiles * ((4 + in_order + in_16_bits) * values + (8 + 4) * step.output_tile**2)


def _blocks_of_16(channels):
    return -(-channels // 16) * 16


@dataclass(frozen=True)
class _Layer:
    """Bytes that one operation takes.

    Attributes
    ----------
    kept : from the forward pass until the backward pass has gone through this operation.
    working : while the backward pass goes through it: gradients of what it made and took, copies.
    left : gradient that then waits for an operation nearer to the input; negative where that has
        come.
    weights : of 32 bits; their gradients stay.
    """

    kept: int = 0
    working: int = 0
    left: int = 0
    weights: int = 0


class _Walk:
    """Goes through a network and notes its operations, as the modules of the families make them.

    Attributes
    ----------
    layers : list of `_Layer`, in the order of the forward pass.
    """

    def __init__(self, step):
        self.step, self.layers = step, []
        self.channels = step.in_channels
        self.side = step.network.input_tile(step.output_tile)
        if step.network.family == "sliding-window":
            self._window()
        else:
            self._unet()
        self._scores()

    def _unet(self):
        """The network of Fig. 1; one that only adds scores of classes takes less."""
        step, skips = self.step, []
        depth, width = step.network.depth, step.network.width
        for level in range(depth):
            self._contracting(width * 2**level, dropped=level == depth - 1)
            copied = self.channels if step.network.skip_connections else 0
            skips.append((copied, self.side))
            self._pool()
        self._contracting(width * 2**depth, dropped=True)
        given = step.network.expansive_width or width
        for level in reversed(range(depth)):
            self._expansive(given * 2**level, *skips[level], keep_channels=level == 0)

    def _window(self):
        """Single windows, pooled to their end; tiles of windows keep maps of their own size."""
        width = self.step.network.width
        for kernel in KERNELS:
            self._convolution(width, kernel)
            if self.step.output_tile == 1:  # the rectifier comes after the pooling
                self.layers[-1] = replace(self.layers[-1], working=0)
                self._pool()
            else:
                self.side -= 1
        self._convolution(round(HIDDEN_PER_MAP * width), 3)

    def _map(self, channels, side):
        return self.step.tiles * channels * side**2 * self.step.value_size

    def _contracting(self, c_out, dropped):
        self._convolution(c_out)
        self._convolution(c_out)
        if dropped and self.step.network.dropout:
            size = self._map(self.channels, self.side)
            self.layers.append(_Layer(kept=2 * size, working=2 * size))  # factors, and product

    def _expansive(self, c_out, c_skip, skip_side, *, keep_channels):
        """Up-convolution, copy and crop, two convolutions; `c_skip` is 0 if nothing is copied."""
        release = self.step.network.variant == "release"
        c_up = self.channels if release and keep_channels else c_out
        taken, side = self._map(self.channels, self.side), 2 * self.side
        up, joined = self._map(c_up, side), self._map(c_up + c_skip, side)
        skip = self._map(c_skip, skip_side)
        copy = joined if c_skip else 0  # else the convolution takes the up-convolution's own map
        self._weighted(4 * self.channels * c_up + c_up, working=copy + up + taken)
        if release:
            self.layers.append(_Layer(kept=up if copy else 0, working=joined + up))
        self.layers.append(_Layer(working=joined + 2 * skip, left=skip))  # each side is cut off
        self.channels, self.side = c_up + c_skip, side
        self._convolution(c_out, kept=joined)
        self._convolution(c_out)

    def _convolution(self, c_out, kernel=3, kept=0):
        """A convolution; `kept` are bytes of what it takes where no other operation keeps them."""
        taken, made_side = self._map(self.channels, self.side), self.side - kernel + 1
        made = self._map(c_out, made_side)
        working = made + (taken if self.layers else 0)  # the image needs no gradient
        if self.step.value_size < 4:  # kernels for 16 bits rearrange both maps, by 16 channels
            working += self._map(_blocks_of_16(self.channels), self.side)
            working += self._map(_blocks_of_16(c_out), made_side)
        n_weights = kernel**2 * self.channels * c_out + c_out
        self._weighted(n_weights, kept=kept, working=working)
        self.channels, self.side = c_out, made_side
        if kernel > 1 and self.step.network.normalised:  # keeps what it takes
            self.layers.append(_Layer(kept=made, working=2 * made))
        if kernel > 1:  # ReLU, in place: it keeps what the convolution made
            self.layers.append(_Layer(kept=made, working=2 * made))

    def _weighted(self, n_weights, *, working, kept=0):
        """An operation with weights: 16 bits need a copy of them; their gradients are reordered."""
        size, reordered = 4 * n_weights, 2 * n_weights * self.step.value_size
        copy = n_weights * self.step.value_size if self.step.value_size < 4 else 0
        working += reordered + size
        self.layers.append(_Layer(kept=kept + copy, working=working, weights=size))

    def _pool(self):
        """Keeps the maxima and their 64-bit places, and takes up a gradient that has waited."""
        taken = self._map(self.channels, self.side)
        self.side //= 2
        made = self._map(self.channels, self.side)
        places = self.step.tiles * self.channels * self.side**2 * 8
        copied = self.step.network.family != "sliding-window" and self.step.network.skip_connections
        left = -taken if copied else 0
        self.layers.append(_Layer(kept=made + places, working=made + taken, left=left))

    def _scores(self):
        """The last convolution, and the energy in float32."""
        self._convolution(self.step.n_classes, kernel=1)
        pixels = 4 * self.step.tiles * self.side**2
        maps = self.step.n_classes * pixels
        self.layers.append(_Layer(kept=2 * (maps + pixels), working=2 * maps + pixels))
