"""Training: one large tile per step, momentum 0.99, weighted energy (paper Sec. 3)."""

import logging
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from unetcore.augment import AugmentConfig, TileAugmenter
from unetcore.data.files import write_if_there_is_room
from unetcore.data.intensity import normalise
from unetcore.devices import choose_device, gpu_name, repeatable, resolve_precision
from unetcore.distributed import check_batch, own_processes, processes
from unetcore.errors import InputError, Interrupted
from unetcore.failures import refuse_repetition, save_failure
from unetcore.families import build_network
from unetcore.history import Progress, history_table
from unetcore.loss import constant_loss
from unetcore.model import initialise
from unetcore.optimisation import learning_rate, set_rate
from unetcore.settings import NetworkConfig, TrainConfig, check_seed
from unetcore.states import States
from unetcore.stopping import StopRequest
from unetcore.training_memory import (
    TrainingStep,
    check_both_classes,
    check_contrast,
    check_memory,
    check_tile_fits,
    explain_out_of_memory,
)
from unetcore.update import Update
from unetcore.watch import Watch

logger = logging.getLogger(__name__)

MINUTE = 60  # seconds


@dataclass(frozen=True)
class TrainingData:
    """Slices, their classes and their loss weights.

    Attributes
    ----------
    images : (N, H, W) or (N, C, H, W) float32 array, normalised, finite.
    classes : (N, H, W) integer array, 0 background, 1 cell interior.
    weights : (N, H, W) float32 array, finite, >= 0.

    Raises
    ------
    InputError : no slices or no pixels, shapes that do not match, or values out of these ranges.
    """

    images: np.ndarray
    classes: np.ndarray
    weights: np.ndarray

    def __post_init__(self):
        flat = (len(self.images), *self.images.shape[-2:])
        if not len(self.images):
            raise InputError("no training slices: need at least one with labels")
        if self.classes.shape != flat or self.weights.shape != flat:
            raise InputError(
                f"images of shape {self.images.shape}, classes {self.classes.shape}, weights "
                f"{self.weights.shape}: need the same slices, rows and columns"
            )
        if not self.images.size:
            raise InputError(f"images of shape {self.images.shape}: need at least one pixel")
        self._check_values()

    def _check_values(self):
        slices = zip(self.images, self.classes, self.weights, strict=True)
        for k, (image, classes, weights) in enumerate(slices):
            if not np.isfinite(image).all():
                raise InputError(
                    f"image of training slice {k}: holds NaN or infinite values, finite ones are "
                    f"needed"
                )
            if not np.isin(classes, (0, 1)).all():
                raise InputError(
                    f"classes of training slice {k}: {classes.min()} to {classes.max()}, 0 and 1 "
                    f"are needed"
                )
            if not (np.isfinite(weights).all() and weights.min() >= 0):
                raise InputError(
                    f"weights of training slice {k}: {weights.min()} to {weights.max()}, finite "
                    f"ones >= 0 are needed"
                )

    @property
    def with_channels(self) -> np.ndarray:
        """Images as an (N, C, H, W) array."""
        return self.images if self.images.ndim == 4 else self.images[:, None]

    def checksum(self) -> int:
        """Number that differs if any value differs."""
        return checksum(self.images, self.classes, self.weights)


def read_normalised(source, pages: Sequence[int], normalisation: str) -> tuple[np.ndarray, ...]:
    """Images, classes and weights of some slices, as a network learns from them.

    Parameters
    ----------
    source : `unetcore.data.dataset.Dataset`, or what else has its methods.
    pages : which slices.
    normalisation : of the images, see `unetcore.data.intensity.normalise`.
    """
    return normalise(source.read_grey(pages), normalisation), *source.read_targets(pages)


def checksum(*arrays: np.ndarray) -> int:
    """Number that differs if any value of the arrays differs."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array), crc)
    return crc


class Validate(Protocol):
    """Looks at held-out slices now and then; see `unetcore.validation.Validation`."""

    def __call__(self, network: nn.Module, step: int) -> object:
        """Judge the network after so many updates, and leave everything as it was.

        A resumed training asks again about the step that it goes on from.
        """

    def rewind(self, step: int) -> None:
        """Forget what was seen after so many updates: they will be made again."""


def train(
    data: TrainingData,
    *,
    network: NetworkConfig,
    augmentation: AugmentConfig,
    training: TrainConfig,
    seed: int,
    code: str = "",
    states: Path | None = None,
    take_over: bool = False,
    history_so_far: Path | None = None,
    device: str = "auto",
    report: Callable[[Progress], None] = lambda progress: None,
    validate: Validate | None = None,
    deliver: Callable[[nn.Module, list[Progress], States | None], None] | None = None,
) -> tuple[nn.Module, list[Progress]]:
    """Train a network.

    Tiles, augmentation and drop-out of a step depend on (seed, step) only, so a training that was
    interrupted and started again with the same `states` ends as if it had never stopped. Under
    torchrun all processes train one network together, each on its share of every batch.

    Parameters
    ----------
    data : slices to train on.
    network, augmentation, training : settings.
    seed : of the initial weights and of every step, from 0 to `unetcore.settings.LARGEST_SEED`.
    code : digest of the training code.
    states : folder that keeps the states of an unfinished training, and a file that reproduces a
        failure; None keeps none. Whoever has written the network away calls `States.clear` or
        `States.finish`.
    take_over : whether a process of this machine that still trains here is told to stop, so that
        this one goes on from its state.
    history_so_far : history.csv to look into meanwhile: written where a state would be saved, and
        where the training fails. No output of a rule: Snakemake deletes these of a failed job.
    device : "cpu", "gpu" or "auto", see `unetcore.devices.choose_device`.
    report : called after every `log_every` steps, by the first process.
    validate : called after every `validate_every` steps and the last, by the first process.
    deliver : called with network, history and states of a complete training, by the first process,
        while no other can begin in the folder of the states: the place to write them away.

    Returns
    -------
    network in evaluation mode, on the CPU, and the history.

    Raises
    ------
    InputError : data or settings that do not fit together, a state of other settings, no GPU where
        one is asked for, or too little memory; the message says which tile would fit.
    FloatingPointError : a loss or gradient became NaN or infinite; step and tiles are named.
    Interrupted : a signal asked to stop; the state is saved.
    """
    check_seed(seed)
    place = choose_device(device, own_processes().local_rank)
    if training.deterministic:
        repeatable(place)
    shape = data.images.shape[-2:]
    if network.family != "sliding-window":  # whose windows are small
        check_tile_fits(shape, training.output_tile, network.depth)
    check_both_classes(data.classes, data.weights)
    check_contrast(data.images)
    if training.warmup_steps >= training.steps > 1:
        logger.warning(
            "the rate rises during all of the %d steps: warmup_steps is %d",
            *(training.steps, training.warmup_steps),
        )
    with ExitStack() as stack:
        group = stack.enter_context(processes(place))
        check_batch(training.batch, group.size, training.accumulate)
        stack.enter_context(torch.random.fork_rng([place] if place.type == "cuda" else []))
        stop = stack.enter_context(StopRequest())
        kept = None
        if states is not None:
            precise = replace(training, precision=resolve_precision(training.precision, place))
            settings = _decisive(data, network, augmentation, precise, seed, code, group.size)
            kept = States(states, settings, environment=_environment(place), take_over=take_over)
            group.on_first(lambda: _open(kept, stack))
        sizes = {"in_channels": data.with_channels.shape[1], "n_processes": group.size}
        available = check_memory(TrainingStep.of(network, training, place, **sizes), place)
        try:
            keeps = (kept, history_so_far) if group.is_first else (None, None)
            run = _Training(data, network, augmentation, training, seed, place, group, *keeps)
            model, history = run.run(stop, report, validate)
        except (RuntimeError, MemoryError) as error:
            said = explain_out_of_memory(
                error, network, training, place, available=available, **sizes
            )
            if said is None:
                raise
            raise said from error
        if deliver is not None:
            group.on_first(lambda: deliver(model, history, kept))
    return model, history


def _open(states: States, stack: ExitStack) -> None:
    """Hold the folder of the states until the stack is closed."""
    stack.enter_context(states)
    refuse_repetition(states.folder, states.settings)


def _decisive(data, network, augmentation, training, seed, code, n_processes) -> dict:
    """All that decides which network comes out: a state is taken up only where it is the same."""
    return {
        "seed": seed,
        "network": asdict(network),
        "augmentation": asdict(augmentation),
        "training": training.decisive(),
        "images and labels": data.checksum(),
        "processes": n_processes,
        "code": code,
    }


def _environment(device: torch.device) -> dict:
    """What may change the last digits of a result."""
    return {
        "torch": torch.__version__,
        "device": gpu_name(device) or torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "tiles cut by": "numba" if device.type == "cpu" and find_spec("numba") else "torch",
    }


class _Training:
    """One training: what it is given, and the state that a resumed one takes up."""

    def __init__(
        self, data, network, augmentation, training, seed, device, group, states, history_so_far
    ):
        self.config, self.seed, self.device = training, seed, device
        self.group, self.states, self.history_so_far = group, states, history_so_far
        model = build_network(network, data.with_channels.shape[1])
        initialise(model, torch.Generator().manual_seed(seed), training.initial_weights)
        self.model = model.to(device, memory_format=torch.channels_last).train()
        self.update = Update(self.model, training, group)
        self.augmenter = TileAugmenter(
            data.with_channels,
            data.classes,
            data.weights,
            input_size=network.input_tile(training.output_tile),
            halo=model.halo,
            config=augmentation,
            device=device,
        )
        self.tiles_per_part = training.batch // group.size // training.accumulate
        pixels = training.output_tile**2
        nothing = constant_loss(
            data.classes, data.weights, training.reduction, pixels, training.dice
        )
        self.watch = Watch(nothing, training)
        self.step, self.history = 0, []
        self.started = self.saved = time.monotonic()

    def run(self, stop, report, validate):
        self._resume(validate)
        watched = self.group.share(validate is not None)
        if self.step:
            self._look_if_due(watched, validate)  # the run before may have stopped before it
        while self.step < self.config.steps:
            self._advance()
            if self._is_due(self.config.log_every):
                row = self._log()
                if self.group.is_first:
                    self.watch(row)
                    report(row)
            self._save_if_due()  # before the look, which may take minutes
            self._stop_if_asked(stop)
            self._look_if_due(watched, validate)
        self.update.single = None  # a cycle that would keep the memory of a captured graph
        return self.model.cpu().eval(), self.history

    def _is_due(self, every):
        """Whether something happens after this step that happens after so many, and the last."""
        return every > 0 and (self.step % every == 0 or self.step == self.config.steps)

    def _advance(self):
        """Make one update."""
        set_rate(self.update.optimiser, learning_rate(self.step, self.config))
        self.update(*self._batch(self.step))
        self.step += 1
        if self.device.type == "cpu":  # a GPU is asked only where it is waited for anyway
            self._check()

    def _batch(self, step):
        """Tiles of a step that this process computes, in parts, and the seed of each part."""
        return self._parts(step, self.group.tiles(self.config.batch))

    def _parts(self, step, numbers):
        tiles, seeds = zip(*(self._tile(step, number) for number in numbers), strict=True)
        n = self.tiles_per_part
        return [_joined(tiles[k : k + n]) for k in range(0, len(tiles), n)], list(seeds[::n])

    def _tile(self, step, number):
        """Tile and seed of its drop-out, which follow from (seed, step, number in the batch)."""
        rng = np.random.default_rng([self.seed, step, number])
        return self.augmenter(rng), int(rng.integers(2**62))

    def _seconds(self):
        """Seconds of training so far, earlier runs included."""
        return time.monotonic() - self.started

    def _look_if_due(self, watched, validate):
        """Judge the network on held-out slices, in the first process, while the others wait."""
        if watched and self._is_due(self.config.validate_every):
            self._pause(lambda: self.group.on_first(lambda: self._look(validate)))

    def _look(self, validate):
        """Judge the network; what comes of it stays in this process."""
        validate(self.model, self.step)

    def _pause(self, function):
        """Call a function whose time is not that of the training."""
        self.update.tally.failed.item()  # waits for a GPU, whose time until here counts
        paused = time.monotonic()
        function()
        self.started += time.monotonic() - paused

    def _log(self):
        """Close one row of the history."""
        self._check()  # waits for the device
        tally, seconds = self.update.tally, self._seconds()
        last = self.history[-1].seconds if self.history else 0.0
        n_steps = int(tally.steps)
        row = Progress(
            step=self.step,
            loss=float(tally.loss) / n_steps,
            learning_rate=learning_rate(self.step - 1, self.config),
            gradient_norm=float(tally.gradient_norm),
            foreground=float(tally.foreground) / n_steps,
            tiles_per_second=n_steps * self.config.batch / max(seconds - last, 1e-9),
            seconds=seconds,
        )
        tally.clear()
        self.history.append(row)
        return row

    def _check(self):
        """Stop a training that has failed."""
        if not self.update.tally.failed.item():
            return
        tally = self.update.tally
        last = self.history[-1].step if self.history else 0
        step = last + int(tally.steps)  # those before it were counted
        message = (
            f"loss {float(tally.last_loss):g}, norm of the gradient {float(tally.last_norm):g} at "
            f"step {step} (seed {self.seed}), on {self._describe_tiles(step)}: look at it, or "
            f"lower the learning rate of {self.config.learning_rate:g}"
        )
        if self.states is not None:
            message += self._keep_failure(step, message)
        with suppress(OSError):  # what failed is said, whatever else does
            self._write_history()
        # Waits for the first process, which torchrun would else end while it writes.
        raise FloatingPointError(self.group.share(message))

    def _keep_failure(self, step, message):
        """Write what reproduces a failure; returns how to."""
        parts, seeds = self._parts(step, range(self.config.batch))
        settings = self.states.settings
        try:
            path = save_failure(
                self.states.folder,
                self.update,
                step=step,
                parts=parts,
                seeds=seeds,
                message=message,
                settings=settings,
            )
        except OSError as error:
            return f"; the file to compute it again could not be written ({error.strerror})"
        return f"; to compute it again: python -m unetcore.failures {path}"

    def _describe_tiles(self, step):
        """Name the tiles of a step, which follow from (seed, step)."""
        tiles = []
        for number in range(self.config.batch):
            tile = self.augmenter.draw(np.random.default_rng([self.seed, step, number]))
            row, column = tile.centre
            tiles.append(
                f"the tile around row {row:.0f}, column {column:.0f} of training slice {tile.index}"
            )
        return " and ".join(tiles)

    def _save_if_due(self):
        """Save the state, if this process does so, of a training that is well."""
        due = self._is_due(self.config.checkpoint_every)
        if due:
            self._check()
        waited = time.monotonic() - self.saved >= MINUTE * self.config.checkpoint_minutes
        if due or (waited and self._is_due(self.config.log_every)):  # then it was checked too
            self._save()

    def _save(self):
        """Save history and state; False if the disk is full, or none is wanted."""
        self.saved = time.monotonic()
        self._write_history()
        if self.states is None:
            return False
        goes_on = self.step < self.config.steps
        return self.states.save(
            self.step,
            {
                "model": self.model.state_dict(),
                "optimiser": self.update.optimiser.state_dict()["state"] if goes_on else {},
                "tally": self.update.tally.state(),
                "step": self.step,
                "seconds": self._seconds(),
                "history": [asdict(row) for row in self.history],
            },
        )

    def _write_history(self):
        """Bring the file that tells of the training so far up to date."""
        if self.history_so_far is not None:
            write_if_there_is_room(self.history_so_far, history_table(self.history))

    def _stop_if_asked(self, stop):
        """Save and stop if a signal asked any process to."""
        number = self.group.max(stop.signal or 0)
        if not number or self.step == self.config.steps:
            return
        kept = self.group.on_first(self._keep)
        message = f"stopped at step {self.step} of {self.config.steps}: {kept}"
        raise Interrupted(number, message)

    def _keep(self):
        """Save the state before the end; says what is kept."""
        if self._save():
            return f"the state is in {self.states.folder}"
        if self.states is not None and (step := self.states.newest_step()):
            return f"{self.states.folder} keeps that of step {step}"
        return "nothing is kept"

    def _resume(self, validate):
        """Take up the state of an interrupted training."""
        state = self.group.on_first(lambda: self.states.load() if self.states is not None else None)
        if state is not None:
            self.model.load_state_dict(state["model"])
            optimiser = self.update.optimiser
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": state["optimiser"], "param_groups": groups})
            self.update.tally.restore(state["tally"])
            self.step = state["step"]
            self.started = time.monotonic() - state["seconds"]
            self.history = [Progress(**row) for row in state["history"]]
            self.watch.take_up(self.history)
            logger.info("continuing at step %d of %d", self.step, self.config.steps)
        if validate and self.group.is_first:
            validate.rewind(self.step)


def _joined(tiles):
    """Tiles of one batch as the network takes them: images channels last."""
    images, classes, weights = (torch.cat(each) for each in zip(*tiles, strict=True))
    return images.contiguous(memory_format=torch.channels_last), classes, weights
