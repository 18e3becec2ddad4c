"""How fast a training runs here: `python benchmarks/training.py`, with torch and NumPy alone.

What is measured is the loop of `unetcore.train` on random slices of 30 x 512 x 512 px, with every
augmentation, and the network's predictions. The columns of the table:

- steps/s, tiles/s, ms: of whole updates, between two rows of a training's history, of which the
  first is left out. A GPU is waited for at these rows only.
- augmentation: time of drawing and cutting the tiles of a step, alone, over that of the step. On a
  GPU both go on at once, so it is what a step would gain at most.
- TFLOP/s: operations of the convolutions over time. A training step counts three forward passes,
  less the gradient that the image does not need: 902.2 GFLOP at width 64 for one tile of 572 px.
- of conv., of mm: that rate over the rates of one 3x3 convolution, 256 to 256 channels, and of one
  product of large matrices, measured here in the same precision. A GPU multiplies float32 in TF32
  in convolutions, as torch lets it, and in full in the product of matrices.
- memory: largest so far of the process on a CPU (Linux only), of torch's tensors on a GPU.
"""

import argparse
import contextlib
import json
import logging
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a folder, not installed

from benchmarks.timing import Row, larger_is_better
from unetcore import cuda_graph, geometry
from unetcore.augment import AugmentConfig, TileAugmenter
from unetcore.cuda_graph import WARM_UP, CapturedStep
from unetcore.devices import DEVICES, choose_device, gpu_name, resolve_precision
from unetcore.errors import InputError
from unetcore.history import Progress
from unetcore.memory import keep_freed_memory
from unetcore.model import UNet, initialise
from unetcore.provenance import hardware
from unetcore.settings import NetworkConfig, TrainConfig
from unetcore.train import TrainingData, train
from unetcore.training_memory import is_out_of_memory

PAPERS_TILE = 388  # px
SLICES = (30, 512, 512)
CHANNELS = 256  # in and out of the convolution that is the measure of all
TILES_ON_A_GPU = 16  # of one prediction; a CPU is as fast with one
ROWS = 5  # of the history that a median is taken of
IN_FLIGHT = 20  # calls that a GPU is asked for before the first of them is waited for
TERA, MEBI = 1e12, 2**20

AUGMENTATION = AugmentConfig(
    shift=True,
    rotation=180,
    mirror=True,
    displacement_std=10,
    grid=3,
    kernel="bicubic",
    grey_shift=0.1,
    grey_scale=0.1,
)


@dataclass(frozen=True)
class Case:
    """What a row is measured for.

    Attributes
    ----------
    task : "training"; "image", prediction of a whole one; "tiles", prediction of a batch of them.
    width : of the network.
    batch : tiles of one update or prediction.
    precision : "float32" or "bfloat16".
    graph : whether a GPU replays a captured graph; a CPU has none.
    """

    task: str
    width: int
    batch: int
    precision: str
    graph: bool


@dataclass(frozen=True)
class Measurement(Case):
    """A row of the table; numbers are NaN where the memory did not suffice, or for no meaning.

    Attributes
    ----------
    seconds : of one update or prediction, median.
    augmentation : of it, were the tiles cut by themselves, 0 to 1 and above; NaN for predictions.
    operations : of the convolutions of one update or prediction.
    memory : bytes, largest so far.
    """

    seconds: float
    augmentation: float
    operations: int
    memory: float

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


@dataclass(frozen=True)
class Ceiling:
    """Operations per second of what a library does best, in one precision."""

    convolution: float
    matrix_product: float


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
        return geometry.input_size(self.output_tile)

    def measure(self, case: Case) -> Measurement:
        """Measure one row; one that needs too much memory has no numbers."""
        _forget_memory(self.device)
        kind = "training" if case.task == "training" else "prediction"
        operations = getattr(self, f"{kind}_operations")(case)
        try:
            with _graphs(case.graph):
                seconds, augmentation = getattr(self, kind)(case)
        except (InputError, RuntimeError, MemoryError) as error:
            if not _lacked_memory(error):
                raise
            seconds = augmentation = math.nan
        memory = _largest_memory(self.device)
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
            network=NetworkConfig(
                "figure1", case.width, geometry.DEPTH, dropout=0.5, normalised=False
            ),
            augmentation=AUGMENTATION,
            training=TrainConfig(
                steps=steps,
                batch=case.batch,
                accumulate=1,
                output_tile=self.output_tile,
                normalisation="slice",
                initial_weights="he",
                optimiser="sgd",
                learning_rate=1e-4,
                momentum=0.99,
                weight_decay=0.0,
                schedule="constant",
                warmup_steps=0,
                reduction="weighted-mean",
                dice=0,
                clip=None,
                precision=case.precision,
                deterministic=False,
                log_every=steps_per_row,
                checkpoint_every=steps,
                checkpoint_minutes=math.inf,
                validate_every=0,
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
        output = self.data.images.shape[-1]
        return geometry.input_size(geometry.round_up_to_output_tile(output)), output

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


def median_seconds(function: Callable, device: torch.device, seconds: float) -> float:
    """Median time of a call, in calls for some seconds, without waiting for each on a GPU."""
    for _ in range(WARM_UP + 1 if device.type == "cuda" else 1):
        function()
    marks = [_mark(device)]
    end = time.perf_counter() + seconds
    while len(marks) < 4 or time.perf_counter() < end:
        function()
        marks.append(_mark(device))
        if device.type == "cuda" and len(marks) > IN_FLIGHT:
            marks[-IN_FLIGHT].synchronize()
    return statistics.median(_between(*pair, device) for pair in pairwise(marks))


def _mark(device):
    """Moment between two calls, on the device's own clock."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def _between(before, after, device):
    if device.type != "cuda":
        return after - before
    after.synchronize()
    return before.elapsed_time(after) / 1000


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


def _forget_memory(device):
    """Begin anew to look for the largest memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # of the process; Linux only
        Path("/proc/self/clear_refs").write_text("5")


def _largest_memory(device) -> float:
    """Bytes, NaN where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return math.nan


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


HEADER = (
    "task", "width", "batch", "precision", "graph", "ms", "steps/s", "tiles/s", "augmentation",
    "TFLOP/s", "of conv.", "of mm", "memory, MiB",
)  # fmt: skip


def line(measured: Measurement, ceiling: Ceiling) -> list[str]:
    """Cells of a row of the table, as `HEADER` names them."""
    numbers = {
        "ms": (1000 * measured.seconds, ".2f"),
        "steps/s": (1 / measured.seconds, ".2f"),
        "tiles/s": (measured.batch / measured.seconds, ".2f"),
        "augmentation": (measured.augmentation, ".1%"),
        "TFLOP/s": (measured.rate / TERA, ".3f"),
        "of conv.": (measured.rate / ceiling.convolution, ".2f"),
        "of mm": (measured.rate / ceiling.matrix_product, ".2f"),
        "memory, MiB": (measured.memory / MEBI, ".0f"),
    }
    return [
        measured.task,
        str(measured.width),
        str(measured.batch),
        measured.precision,
        "yes" if measured.graph else "no",
        *("-" if math.isnan(number) else format(number, form) for number, form in numbers.values()),
    ]


def formatted(cells: list[str] | tuple[str, ...]) -> str:
    """Row of the table, in columns as wide as their heads need: words left, numbers right."""
    widths = (10, 5, 5, 9, 5, 9, 8, 8, 12, 8, 8, 6, 11)
    words = {0, 3, 4}
    return "  ".join(
        cell.ljust(width) if k in words else cell.rjust(width)
        for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )


def machine(device: torch.device) -> dict[str, str | int | bool]:
    """Where the numbers were taken."""
    return {
        "hardware": hardware(gpu_name(device)),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "TF32 in convolutions": device.type == "cuda" and torch.backends.cudnn.allow_tf32,
    }


def training_speed() -> list[Row]:
    """Rate of whole training steps against that of one large convolution.

    Steps of the training itself, with augmentation and update, at the paper's tile of 572 px. What
    is missing to the convolution is mostly in the gradients of convolutions, which the library
    computes more slowly. `python benchmarks/training.py` shows more, on any device, also where only
    torch and NumPy are installed.
    """
    bench = Bench(choose_device(), 5.0, PAPERS_TILE, random_slices())
    rows = []
    for width, precision in product((16, 64), precisions(bench.device)):
        graph = bench.device.type == "cuda"
        measured = bench.measure(Case("training", width, 1, precision, graph))
        rows.append(
            larger_is_better(
                f"training step, 572 tile, width {width}, {precision}",
                measured.rate / TERA,
                bench.ceiling(precision).convolution / TERA,
                unit="TFLOP/s",
                peer_name=f"3x3 convolution, {CHANNELS} to {CHANNELS} channels",
            )
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    asked = _parse(arguments)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("unetcore.watch").setLevel(logging.ERROR)  # noise teaches nothing
    bench = Bench(choose_device(asked.device), asked.seconds, asked.tile, random_slices())
    about = machine(bench.device)
    print(", ".join(f"{name}: {value}" for name, value in about.items()))
    ceilings = {precision: bench.ceiling(precision) for precision in precisions(bench.device)}
    for precision, ceiling in ceilings.items():
        print(
            f"{precision}: 3x3 convolution {ceiling.convolution / TERA:.3f} TFLOP/s, "
            f"product of matrices {ceiling.matrix_product / TERA:.3f} TFLOP/s"
        )
    rows, columns = SLICES[1:]
    print(
        f"image: prediction of {rows} x {columns} px; training, tiles: input tiles of "
        f"{bench.input_tile} px"
    )
    print(formatted(HEADER))
    measurements = []
    for case in cases(asked.width, asked.batch, bench.device):
        keep_freed_memory(False)  # what the row before has left is given back
        keep_freed_memory()  # as our programs do
        measurements.append(measured := bench.measure(case))
        print(formatted(line(measured, ceilings[case.precision])), flush=True)
    if asked.json:
        found = {
            "machine": about,
            "ceilings": {precision: asdict(ceiling) for precision, ceiling in ceilings.items()},
            "rows": [_without_nan(asdict(row)) for row in measurements],
        }
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _without_nan(row):
    """Numbers that JSON knows."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in row.items()
    }


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--batch", type=int, nargs="+", help="1, and 8 on a GPU, by default")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each row")
    parser.add_argument("--tile", type=int, default=PAPERS_TILE, help="output tile, in px")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--threads", type=int, help="of torch on a CPU")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
