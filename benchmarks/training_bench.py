"""What is measured of a training's speed: updates of `unetcore.train`, and predictions."""

import contextlib
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise, product

import numpy as np
import torch
from torch.nn import functional

from benchmarks.device_timing import forget_memory, largest_memory, median_seconds
from benchmarks.settings import AUGMENTATION, NETWORK, TRAINING
from benchmarks.training_results import CHANNELS, Case, Ceiling, Measurement
from unetcore import cuda_graph, geometry
from unetcore.augment import TileAugmenter
from unetcore.cuda_graph import WARM_UP, CapturedStep
from unetcore.devices import resolve_precision
from unetcore.errors import InputError
from unetcore.history import Progress
from unetcore.model import UNet, initialise
from unetcore.train import TrainingData, train
from unetcore.training_memory import is_out_of_memory

SLICES = (30, 512, 512)
TILES_ON_A_GPU = 16  # of one prediction; a CPU is as fast with one
ROWS = 5  # of the history that a median is taken of


@dataclass(frozen=True)
class Bench:
    """What all measurements of a run share.

    Attributes
    ----------
    device : where they are taken.
    seconds : that each should take, at least three calls or rows in any case.
    output_tile : side in px.
    data : slices to train on.
    """

    device: torch.device
    seconds: float
    output_tile: int
    data: TrainingData

    @property
    def input_tile(self) -> int:
        """Side in px."""
        return geometry.input_size(self.output_tile)

    @property
    def image(self) -> int:
        """Side in px."""
        return self.data.images.shape[-1]

    def measure(self, case: Case) -> Measurement:
        """Measure one row; one that needs too much memory has no numbers."""
        forget_memory(self.device)
        kind = "training" if case.task == "training" else "prediction"
        operations = getattr(self, f"{kind}_operations")(case)
        try:
            with _graphs(case.graph):
                seconds, augmentation = getattr(self, kind)(case)
        except (InputError, RuntimeError, MemoryError) as error:
            if not _lacked_memory(error):
                raise
            seconds = augmentation = math.nan
        memory = largest_memory(self.device)
        return Measurement(**asdict(case), seconds=seconds, augmentation=augmentation,
                           operations=operations, memory=memory)  # fmt: skip

    def training_operations(self, case: Case) -> int:
        return case.batch * training_operations(case.width, self.input_tile)

    def training(self, case: Case) -> tuple[float, float]:
        """Seconds of an update, and the share of it that its tiles take to be cut."""
        trial = self._train(case, rows=2, steps_per_row=1 + WARM_UP * case.graph)
        steps = max(1, round(self.seconds / ROWS / _seconds_per_step(trial)))
        update = _seconds_per_step(self._train(case, rows=1 + ROWS, steps_per_row=steps))
        cutting = median_seconds(self._cutting(case.batch), self.device, self.seconds / ROWS)
        return update, cutting / update

    def _train(self, case, rows, steps_per_row) -> list[Progress]:
        steps = rows * steps_per_row
        _, history = train(
            self.data,
            network=replace(NETWORK, width=case.width),
            augmentation=AUGMENTATION,
            training=replace(
                TRAINING,
                steps=steps,
                batch=case.batch,
                output_tile=self.output_tile,
                learning_rate=1e-4,  # noise must not make a training diverge
                warmup_steps=0,
                precision=case.precision,
                deterministic=False,
                log_every=steps_per_row,
                checkpoint_every=steps,  # a GPU is waited for at rows only
            ),
            seed=0,
            device="gpu" if self.device.type == "cuda" else "cpu",
        )
        return history

    def _cutting(self, batch) -> Callable:
        augmenter = TileAugmenter(
            self.data.with_channels,
            self.data.classes,
            self.data.weights,
            input_size=self.input_tile,
            halo=geometry.halo(),
            config=AUGMENTATION,
            device=self.device,
        )
        rng = np.random.default_rng(0)
        return lambda: [augmenter(rng) for _ in range(batch)]

    def prediction_operations(self, case: Case) -> int:
        side, output = self._sides(case)
        macs = geometry.multiply_accumulates(side, side, case.width, output=(output, output))
        return 2 * case.batch * macs

    def _sides(self, case) -> tuple[int, int]:
        """Sides in px of what goes into a prediction and of what comes out."""
        if case.task == "tiles":
            return self.input_tile, self.output_tile
        return geometry.input_size(geometry.round_up_to_output_tile(self.image)), self.image

    @torch.inference_mode()
    def prediction(self, case: Case) -> tuple[float, float]:
        """Seconds from an image, mirrored at its borders, in memory to its scores there."""
        side, output = self._sides(case)
        network = UNet(width=case.width).eval()
        initialise(network, torch.Generator().manual_seed(0))
        like = dict(device=self.device, dtype=getattr(torch, case.precision))
        network = network.to(**like, memory_format=torch.channels_last)
        image = torch.randn(case.batch, 1, side, side, generator=torch.Generator().manual_seed(0))
        step = CapturedStep(
            lambda tiles: (network(tiles, (output, output)).float(),), [image.to(**like)]
        )

        def predict():
            return step(image.to(**like))[0].cpu()

        return median_seconds(predict, self.device, self.seconds), math.nan

    def ceiling(self, precision: str) -> Ceiling:
        """Rates of a convolution and of a product of matrices."""
        on_gpu = self.device.type == "cuda"
        kind = getattr(torch, precision)
        shape = (16 if on_gpu else 1, CHANNELS, 140, 140)
        image, kernel = (
            torch.randn(*shape, device=self.device, dtype=kind).contiguous(
                memory_format=torch.channels_last
            )
            for shape in (shape, (CHANNELS, CHANNELS, 3, 3))
        )
        n = 8192 if on_gpu else 2048
        a, b = torch.randn(2, n, n, device=self.device, dtype=kind)
        pixels = shape[0] * (shape[2] - 2) * (shape[3] - 2)
        convolution, matrix_product = (
            operations / median_seconds(function, self.device, min(2.0, self.seconds))
            for operations, function in (
                (2 * 9 * CHANNELS**2 * pixels, lambda: functional.conv2d(image, kernel)),
                (2 * n**3, lambda: a @ b),
            )
        )
        return Ceiling(convolution, matrix_product)


def training_operations(width: int, input_tile: int) -> int:
    """Operations of the convolutions in one update by one tile.

    The forward pass, the gradient of each layer's input and that of its weights cost the same; the
    first layer's input is the image, which needs no gradient.

    Examples
    --------
    >>> round(training_operations(64, 572) / 1e9, 1)
    902.2
    """
    forward = geometry.multiply_accumulates(input_tile, input_tile, width)
    first_layer = 9 * width * (input_tile - 2) ** 2
    return 2 * (3 * forward - first_layer)


def _seconds_per_step(history: list[Progress]) -> float:
    """Median over the rows of a history but the first."""
    return statistics.median(
        (after.seconds - before.seconds) / (after.step - before.step)
        for before, after in pairwise(history)
    )


@contextlib.contextmanager
def _graphs(allowed: bool) -> Iterator[None]:
    """Let steps be captured or not: one that always warms up never is."""
    cuda_graph.WARM_UP = WARM_UP if allowed else sys.maxsize
    try:
        yield
    finally:
        cuda_graph.WARM_UP = WARM_UP


def _lacked_memory(error):
    """Whether memory did not suffice, as torch says it or as the training does."""
    return any(is_out_of_memory(e) for e in (error, error.__cause__))


def random_slices(shape: tuple[int, int, int] = SLICES) -> TrainingData:
    """Slices of noise with two classes and weights around 1."""
    rng = np.random.default_rng(0)
    return TrainingData(
        rng.standard_normal(shape, dtype=np.float32),
        rng.integers(2, size=shape, dtype=np.uint8),
        rng.uniform(0.5, 1.5, shape).astype(np.float32),
    )


def cases(widths: list[int], batches: list[int] | None, device: torch.device) -> list[Case]:
    """Rows to measure: every training, and two predictions for each width and precision."""
    on_gpu = device.type == "cuda"
    batches = batches or ([1, 8] if on_gpu else [1])
    tasks = [
        *(("training", batch) for batch in batches),
        ("image", 1),
        ("tiles", TILES_ON_A_GPU if on_gpu else 1),
    ]
    graphs = (False, True) if on_gpu else (False,)
    return [
        Case(task, width, batch, precision, graph)
        for width, (task, batch), precision, graph in product(
            widths, tasks, precisions(device), graphs
        )
    ]


def precisions(device: torch.device) -> list[str]:
    """Float32, and bfloat16 where the hardware computes in it."""
    return sorted({"float32", resolve_precision("auto", device)}, reverse=True)
