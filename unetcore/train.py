"""Training: one large tile per step, momentum 0.99, weighted energy (paper Sec. 3)."""

import csv
import io
import logging
import math
import time
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from unetcore import geometry
from unetcore.augment import AugmentConfig, TileAugmenter
from unetcore.checkpoint import load_state, save_state, write_atomically
from unetcore.data.intensity import NORMALISATIONS
from unetcore.errors import InputError
from unetcore.loss import weighted_cross_entropy
from unetcore.model import UNet, initialise

logger = logging.getLogger(__name__)

OPTIMISERS = ("sgd", "adamw")
PRECISIONS = ("auto", "float32", "bfloat16")
SCHEDULES = ("step", "cosine")


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the network; the arguments of `unetcore.model.UNet`."""

    variant: str
    width: int
    depth: int
    dropout: float


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained.

    Attributes
    ----------
    steps : number of weight updates.
    output_tile : side of the output tile in px (paper: 388), one of 4 + 16 k.
    normalisation : of the images, see `unetcore.data.intensity`; kept with the model.
    optimiser : "sgd" (paper) or "adamw".
    learning_rate : largest rate, for a loss that is a mean over pixels.
    momentum : of SGD (paper: 0.99); AdamW's first decay rate.
    weight_decay : on weights, not on biases.
    schedule : "step" multiplies the rate by 0.1 after 70 % of the steps, "cosine" ends at 0.
    warmup_steps : steps over which the rate rises linearly from 0.
    precision : "float32", "bfloat16" (mixed, with float32 weights and loss), or "auto": bfloat16
        where the hardware computes in it.
    log_every : steps between two rows of the history.
    checkpoint_every : steps between two saved states.
    """

    steps: int
    output_tile: int
    normalisation: str
    optimiser: str
    learning_rate: float
    momentum: float
    weight_decay: float
    schedule: str
    warmup_steps: int
    precision: str
    log_every: int
    checkpoint_every: int

    def __post_init__(self):
        for name, known in (
            ("normalisation", NORMALISATIONS),
            ("optimiser", OPTIMISERS),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
        ):
            if (value := getattr(self, name)) not in known:
                raise InputError(f"{name} {value!r}: need one of {', '.join(known)}")


@dataclass(frozen=True)
class TrainingData:
    """Slices, their classes and their loss weights.

    Attributes
    ----------
    images : (N, H, W) or (N, C, H, W) float32 array, normalised, finite.
    classes : (N, H, W) integer array.
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
        for k, (image, weights) in enumerate(zip(self.images, self.weights, strict=True)):
            if not np.isfinite(image).all():
                raise InputError(
                    f"image of training slice {k}: holds NaN or infinite values, finite ones are "
                    f"needed"
                )
            if not (np.isfinite(weights).all() and weights.min() >= 0):
                raise InputError(
                    f"weights of training slice {k}: {weights.min()} to {weights.max()}, finite "
                    f"ones >= 0 are needed"
                )

    def checksum(self) -> int:
        """Number that differs if any value differs."""
        crc = 0
        for array in (self.images, self.classes, self.weights):
            crc = zlib.crc32(np.ascontiguousarray(array), crc)
        return crc


@dataclass(frozen=True)
class Progress:
    """State of a training at a log step; one row of history.csv.

    Attributes
    ----------
    step : weight updates done.
    loss : mean over the steps since the last row.
    learning_rate : of the last step.
    tiles_per_second : since the last row.
    seconds : of training so far, earlier runs of a resumed training included.
    """

    step: int
    loss: float
    learning_rate: float
    tiles_per_second: float
    seconds: float


def train(
    data: TrainingData,
    *,
    network: NetworkConfig,
    augmentation: AugmentConfig,
    training: TrainConfig,
    seed: int,
    code: str = "",
    state_path: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> tuple[UNet, list[Progress]]:
    """Train a network.

    Tile, augmentation and drop-out of a step depend on (seed, step) only, so a training that was
    interrupted and started again with the same `state_path` ends as if it had never stopped.

    Parameters
    ----------
    data : slices to train on.
    network, augmentation, training : settings.
    seed : of the initial weights and of every step.
    code : digest of the training code; the state that other code has left is not taken up.
    state_path : file that keeps the state of an unfinished training; None keeps none.
    report : called after every `log_every` steps.

    Returns
    -------
    network in evaluation mode, on the CPU, and the history.

    Raises
    ------
    InputError : data or settings that do not fit together.
    FloatingPointError : the loss became NaN or infinite; the step and the tile are named.
    """
    return _Training(data, network, augmentation, training, seed, code, state_path).run(report)


class _Training:
    """One training: what it is given, and the state that a resumed one takes up."""

    def __init__(self, data, network, augmentation, training, seed, code, state_path):
        self.config, self.seed, self.state_path = training, seed, state_path
        self.device = best_device()
        n_channels = data.images.shape[1] if data.images.ndim == 4 else 1
        model = UNet(in_channels=n_channels, **asdict(network))
        initialise(model, torch.Generator().manual_seed(seed))
        self.model = model.to(self.device, memory_format=torch.channels_last).train()
        self.optimiser = make_optimiser(self.model, training)
        self.augmenter = self._make_augmenter(data, augmentation)
        self.autocast = autocast(training.precision, self.device)
        self.losses = []  # since the last row of the history
        self.identity = repr((network, augmentation, training, seed, code, data.checksum()))
        self.step, self.history = 0, []
        self.started = time.perf_counter()

    def _make_augmenter(self, data, augmentation):
        halo = geometry.halo(self.model.depth)
        size = geometry.input_size(self.config.output_tile, self.model.depth)
        return TileAugmenter(
            data.images if data.images.ndim == 4 else data.images[:, None],
            data.classes,
            data.weights,
            input_size=size,
            halo=halo,
            config=augmentation,
            device=self.device,
        )

    def run(self, report):
        self._resume()
        while self.step < self.config.steps:
            self.losses.append(self._update())
            self.step += 1
            if self.step % self.config.log_every == 0 or self.step == self.config.steps:
                report(self._log())
            if self.step % self.config.checkpoint_every == 0:
                self._save()
        return self.model.cpu().eval(), self.history

    def _seconds(self):
        """Seconds of training so far, earlier runs included."""
        return time.perf_counter() - self.started

    def _log(self):
        """Close one row of the history."""
        loss, seconds = self._mean_loss(), self._seconds()  # waits for the device
        last_row = self.history[-1].seconds if self.history else 0.0
        row = Progress(
            step=self.step,
            loss=loss,
            learning_rate=learning_rate(self.step - 1, self.config),
            tiles_per_second=len(self.losses) / (seconds - last_row),
            seconds=seconds,
        )
        self.losses = []
        self.history.append(row)
        return row

    def _update(self):
        """One weight update; returns the loss as a tensor, so that a GPU need not wait."""
        rng = np.random.default_rng([self.seed, self.step])
        image, classes, weights = self.augmenter(rng)
        rate = learning_rate(self.step, self.config)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["lr_factor"]
        self.optimiser.zero_grad(set_to_none=True)
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(cuda):  # drop-out draws from the global generators
            torch.manual_seed(int(rng.integers(2**62)))
            with self.autocast():
                scores = self.model(image.to(memory_format=torch.channels_last))
            loss = weighted_cross_entropy(scores, classes, weights)
            loss.backward()
        self.optimiser.step()
        return loss.detach()

    def _mean_loss(self):
        values = torch.stack(self.losses).tolist()
        for step, value in enumerate(values, start=self.step - len(values)):
            if not np.isfinite(value):
                raise FloatingPointError(self._describe_failure(step, value))
        return float(np.mean(values))

    def _describe_failure(self, step, loss):
        """Name the tile of a step, which follows from (seed, step)."""
        tile = self.augmenter.draw(np.random.default_rng([self.seed, step]))
        row, column = tile.centre
        return (
            f"loss is {loss} at step {step} (seed {self.seed}), on the tile around row {row:.0f}, "
            f"column {column:.0f} of training slice {tile.index}: look at it, or lower the "
            f"learning rate of {self.config.learning_rate}"
        )

    def _save(self):
        if self.state_path is None:
            return
        if self.losses:
            self._mean_loss()  # a state is kept only of a training that is well
        save_state(
            self.state_path,
            {
                "identity": self.identity,
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "seconds": self._seconds(),
                "losses": self.losses,
                "history": [asdict(row) for row in self.history],
            },
        )

    def _resume(self):
        state = load_state(self.state_path) if self.state_path else None
        if state is None:
            return
        if state["identity"] != self.identity:
            logger.warning("%s is of another training: starting anew", self.state_path)
            return
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self.started = time.perf_counter() - state["seconds"]
        self.losses = [loss.to(self.device) for loss in state["losses"]]
        self.history = [Progress(**row) for row in state["history"]]
        logger.info("continuing at step %d of %d", self.step, self.config.steps)


def make_optimiser(model: torch.nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Optimiser with the authors' rule for biases: twice the rate, no decay (release of 2015)."""
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    weights = [p for name, p in model.named_parameters() if not name.endswith("bias")]
    groups = [
        {"params": weights, "weight_decay": config.weight_decay, "lr_factor": 1.0},
        {"params": biases, "weight_decay": 0.0, "lr_factor": 2.0},
    ]
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rate of update number `step` (from 0): linear warm-up, then the schedule."""
    warm_up = min(1.0, (step + 1) / max(1, config.warmup_steps))
    done = step / config.steps
    if config.schedule == "cosine":
        return config.learning_rate * warm_up * 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * warm_up * (0.1 if done >= 0.7 else 1.0)


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def gpu_name() -> str | None:
    """Name of the GPU that `best_device` chooses, None on a CPU."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def resolve_precision(precision: str, device: torch.device | None = None) -> str:
    """Turn "auto" into "bfloat16" where the hardware computes in it, else into "float32"."""
    if precision != "auto":
        return precision
    device = device or best_device()
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.ops.mkldnn._is_mkldnn_bf16_supported() and "bf16" in _cpu_flags()
    return "bfloat16" if native else "float32"


def autocast(precision: str, device: torch.device) -> Callable:
    """Make the context in which a network computes in `precision`."""
    if resolve_precision(precision, device) == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, torch.bfloat16)


def _cpu_flags() -> str:
    """Instruction sets of the CPU as Linux names them; empty elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def progress_line(progress: Progress, steps: int) -> str:
    """One line of a log: "step 200/700  loss 0.4120  rate 1.0e-03  6.1 tiles/s  1:22 left"."""
    left = round((steps - progress.step) / max(progress.tiles_per_second, 1e-9))
    return (
        f"step {progress.step}/{steps}  loss {progress.loss:.4f}  "
        f"rate {progress.learning_rate:.1e}  {progress.tiles_per_second:.1f} tiles/s  "
        f"{left // 60}:{left % 60:02d} left"
    )


def write_history(path: Path, history: list[Progress]) -> None:
    """Write history.csv: one row per log step, columns as in `Progress`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Progress.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in history)
    write_atomically(path, text.getvalue().encode())
