"""Measures weight updates made of few large tiles and of many small ones (paper Sec. 3)."""

import logging
import math
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch

from unetcore.cuda_graph import WARM_UP
from unetcore.devices import choose_device, gpu_name, repeatable, resolve_precision
from unetcore.distributed import Processes
from unetcore.errors import InputError
from unetcore.families import build_network
from unetcore.memory import keep_freed_memory
from unetcore.model import initialise
from unetcore.provenance import hardware
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.tile_cost import Grid, TileCost, check_counted, operations
from unetcore.training_memory import TrainingStep, is_out_of_memory, training_memory
from unetcore.update import Tiles, Update

logger = logging.getLogger(__name__)

TURN = 1.0  # seconds of updates that a turn times, at least one update
STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux only


@dataclass(frozen=True)
class Measured:
    """What one process has measured.

    Attributes
    ----------
    seconds : of each update.
    memory_bytes : see `unetcore.tile_cost.TileCost`.
    machine : hardware, threads, precision, torch.
    """

    seconds: Sequence[float]
    memory_bytes: float
    machine: str


def tile_costs(
    experiment: str,
    network: NetworkConfig,
    training: TrainConfig,
    grid: Grid,
    *,
    device: str = "auto",
    threads: int = 1,
    code: str = "",
) -> list[TileCost]:
    """Measure the updates of a grid, by turns, each time in a process of its own.

    Parameters
    ----------
    experiment : name.
    network, training : its settings; batch and output tile are those of the grid, a batch is
        computed at once.
    grid : what is measured.
    device : "cpu", "gpu" or "auto", see `unetcore.devices.choose_device`.
    threads : of torch.
    code : digest of the code, for the provenance.

    Returns
    -------
    list of TileCost, by tile, then batch, without what is estimated to take more than the memory
    of the grid: that is named in the log.

    Raises
    ------
    InputError : a network whose operations are not counted, a tile that does not fit it, nothing
        that fits into the memory, or an update that took more than there was.
    """
    check_counted(network)
    trials = _within_memory(network, training, grid, device)
    turns = []
    for turn in range(1, grid.repeats + 1):
        turns.append([_in_a_process(network, trial, device, threads) for trial in trials])
        logger.info("turn %d of %d: %d updates measured", turn, grid.repeats, len(trials))
    return [
        _cost(experiment, network, trial, measured, code)
        for trial, measured in zip(trials, zip(*turns, strict=True), strict=True)
    ]


def measure(network: NetworkConfig, training: TrainConfig, device: str, threads: int) -> Measured:
    """Measure updates on random tiles in this process, whose memory nothing else may use."""
    torch.set_num_threads(threads)
    keep_freed_memory()  # as trainings do
    place = choose_device(device)
    if training.deterministic:
        repeatable(place)
    small = replace(training, output_tile=4, batch=1)
    narrow = replace(network, width=2, expansive_width=None)
    _new_update(narrow, small, place)()  # libraries are loaded, threads started
    before = _memory_now(place)
    update = _new_update(network, training, place)
    for _ in range(WARM_UP + 1 if place.type == "cuda" else 1):
        update()
    seconds = _timed(update)
    memory = _largest_memory(place) - before
    return Measured(seconds, memory, _machine(training, place))


def seconds_per_update(network: NetworkConfig, training: TrainConfig, device: str) -> float:
    """Median time of an update on random tiles here; to find out takes a second or two.

    Parameters
    ----------
    network, training : as of the training to come.
    device : "cpu", "gpu" or "auto".
    """
    place = choose_device(device)
    update = _new_update(network, training, place)
    for _ in range(WARM_UP + 1 if place.type == "cuda" else 1):
        update()
    return statistics.median(_timed(update))


def random_tiles(network: NetworkConfig, training: TrainConfig, device: torch.device) -> Tiles:
    """Batch of noise with two classes and weights around 1, as the augmentation delivers tiles."""
    draw = torch.Generator().manual_seed(0)
    output = training.batch, training.output_tile, training.output_tile
    side = network.input_tile(training.output_tile)
    images = torch.randn(training.batch, 1, side, side, generator=draw)
    classes = torch.randint(2, output, generator=draw)
    weights = 0.5 + torch.rand(output, generator=draw)
    images = images.to(device).contiguous(memory_format=torch.channels_last)
    return images, classes.to(device), weights.to(device)


def _within_memory(network, training, grid, device) -> list[TrainConfig]:
    """Settings of the updates that are measured; the others are named in the log."""
    place, trials = choose_device(device), []
    for output_tile, batch in product(grid.tiles, grid.batches):
        trial = replace(training, output_tile=output_tile, batch=batch, accumulate=1)
        needed = training_memory(TrainingStep.of(network, trial, place)) / 1e6
        if needed <= grid.memory_mb:
            trials.append(trial)
            continue
        logger.info(
            "left out: output tile %d px, batch %d: about %.0f MB, above memory_mb %d",
            *(output_tile, batch, needed, grid.memory_mb),
        )
    if not trials:
        raise InputError(f"tiles_or_batches.memory_mb {grid.memory_mb}: no update takes so little")
    return trials


def _in_a_process(network, trial, device, threads) -> Measured:
    """Measure in a process that begins and ends with it, so that no other's memory is counted."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch"])  # which takes longer to load than most updates take
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(measure, network, trial, device, threads).result()
    except (BrokenProcessPool, RuntimeError, MemoryError) as error:
        if not isinstance(error, BrokenProcessPool) and not is_out_of_memory(error):
            raise
        raise InputError(
            f"output tile {trial.output_tile} px, batch {trial.batch}: the process ended, as where "
            "memory runs out; lower tiles_or_batches.memory_mb"
        ) from error


def _cost(experiment, network, trial, turns, code) -> TileCost:
    """Median time over the updates of all turns, largest memory."""
    computed, needed = operations(network, trial.output_tile, trial.batch)
    seconds = [second for measured in turns for second in measured.seconds]
    about = f"width {network.width}; {turns[0].machine}; {len(turns)} turn(s)"
    return TileCost(
        experiment,
        trial.output_tile,
        trial.batch,
        statistics.median(seconds),
        max(measured.memory_bytes for measured in turns),
        computed,
        needed,
        f"{about}; code {code}" if code else about,
    )


def _new_update(network, training, device) -> Callable[[], None]:
    """Make a function that updates a new network and waits until that is done."""
    model = build_network(network)
    initialise(model, torch.Generator().manual_seed(0), training.initial_weights)
    model = model.to(device, memory_format=torch.channels_last).train()
    update = Update(model, training, Processes())
    tiles = random_tiles(network, training, device)

    def updated():
        update([tiles], [0])
        update.tally.failed.item()  # waits for a GPU

    return updated


def _timed(update) -> list[float]:
    """Seconds of each update, for a turn."""
    seconds = []
    while sum(seconds) < TURN:
        started = time.perf_counter()
        update()
        seconds.append(time.perf_counter() - started)
    return seconds


def _memory_now(device) -> float:
    """Bytes of the process, or of all tensors on a GPU, whose largest is looked for from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return 0
    with suppress(OSError):
        FORGET.write_text("5")  # the largest memory so far
    return _status("VmRSS")


def _largest_memory(device) -> float:
    """Bytes at most: of the process on a CPU, of all tensors on a GPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def _status(key) -> float:
    """Bytes that the system counts for this process; NaN where it does not say."""
    if not STATUS.exists():
        return math.nan
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return 1024 * next(int(words[1]) for words in lines if words[0] == f"{key}:")


def _machine(training, device) -> str:
    precision = resolve_precision(training.precision, device)
    threads = f"{torch.get_num_threads()} thread(s)"
    return f"{precision}; {hardware(gpu_name(device))}; {threads}; torch {torch.__version__}"
