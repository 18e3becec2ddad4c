"""The page of training speed, docs/training-speed.md, with a section for each kind of device."""

import math
from dataclasses import dataclass
from pathlib import Path

from benchmarks.goals import read_goals
from benchmarks.page import around, judged, put_between
from benchmarks.settings import NETWORK, TRAINING
from benchmarks.timing import MILLISECONDS, Row, larger_is_better, smaller_is_better
from benchmarks.training_results import Measurement, Results
from benchmarks.training_table import CONVOLUTION, HEADER, facts, line
from unetcore import geometry
from unetcore.tables.text import markdown_table

NAMES = {"cpu": "CPU", "gpu": "GPU"}  # of devices
INPUT = geometry.input_size(TRAINING.output_tile)
NARROW = 16  # width whose steps are so short that augmentation matters


@dataclass(frozen=True)
class Page:
    """The page in the documentation.

    Raises
    ------
    InputError : it is not there, or has no place for the numbers of a device.
    """

    path: Path

    def __post_init__(self):
        for device in NAMES:
            around(self.path, _mark(device))

    def write(self, results: Results) -> None:
        """Put results into the section of their device; the other one stays as it is."""
        put_between(self.path, _mark(results.device), section(results))


def _mark(device):
    return f"measured on a {device}"


def section(results: Results) -> str:
    """Where the numbers were taken, all of them, and what was to be reached."""
    cells = [line(row, results.ceilings[row.precision]) for row in results.rows]
    parts = [
        "\n".join(f"- {name}: {value}" for name, value in facts(results).items()),
        markdown_table(HEADER, cells),
    ]
    if rows := compared(results):
        parts.append(judged(rows, read_goals()))
    return "\n\n".join(parts)


def compared(results: Results) -> list[Row]:
    """Rows that figures to reach are set for, each in the way that is fastest on the device.

    Rates of the network at the paper's width stand against those that its convolutions would allow,
    ran they all as fast as the largest. Cutting tiles stands against the step that it is for, on a
    CPU only, as a GPU does both at once, and for the paper's tile.
    """
    precision = "bfloat16" if "bfloat16" in results.ceilings else "float32"
    way = (precision, results.device == "gpu")
    fastest = [
        row
        for row in results.rows
        if (row.precision, row.graph) == way and not math.isnan(row.seconds)
    ]
    cutting = [
        _cutting(row)
        for row in fastest
        if (row.task, row.width, row.batch) == ("training", NARROW, 1)
        and (results.device, results.input_tile) == ("cpu", INPUT)
    ]
    return cutting + [
        _against_convolution(row, results) for row in fastest if row.width == NETWORK.width
    ]


def _cutting(row: Measurement) -> Row:
    """The row of `benchmarks.augmentation.training_step`, measured here."""
    step = MILLISECONDS * row.seconds
    return smaller_is_better(
        f"augmentation in a training step, width {row.width}",
        row.augmentation * step,
        step,
        unit="ms",
        peer_name="the whole step",
    )


def _against_convolution(row: Measurement, results: Results) -> Row:
    """Time of an image, or rate of tiles."""
    bound = row.operations / results.ceilings[row.precision].convolution
    kind = "training" if row.task == "training" else "prediction"
    place = f"{kind} on a {NAMES[results.device]}"
    if row.task == "image":
        return smaller_is_better(
            f"{place}, {results.image} image, width {row.width}, {row.precision}",
            MILLISECONDS * row.seconds,
            MILLISECONDS * bound,
            unit="ms",
            peer_name=CONVOLUTION,
        )
    return larger_is_better(
        f"{place}, {results.input_tile} tile, width {row.width}, batch {row.batch}, "
        f"{row.precision}",
        row.batch / row.seconds,
        row.batch / bound,
        unit="tiles/s",
        peer_name=CONVOLUTION,
    )
