"""The table of training speed; docs/training-speed.md says what its columns mean."""

import math

from benchmarks.training_results import CHANNELS, Ceiling, Measurement, Results

TERA, MEBI = 1e12, 2**20
CONVOLUTION = f"3x3 convolution, {CHANNELS} to {CHANNELS} channels"  # that rates stand against

HEADER = (
    "task", "width", "batch", "precision", "graph", "ms", "steps/s", "tiles/s", "augmentation",
    "TFLOP/s", "of conv.", "of mm", "memory, MiB",
)  # fmt: skip


def facts(results: Results) -> dict[str, str | int | bool]:
    """What a reader has to know of a run, by name."""
    ceilings = {
        f"ceilings, {precision}": f"{CONVOLUTION}: {ceiling.convolution / TERA:.3f} TFLOP/s; "
        f"product of matrices: {ceiling.matrix_product / TERA:.3f} TFLOP/s"
        for precision, ceiling in results.ceilings.items()
    }
    sides = {
        "image": f"{results.image} px a side",
        "input tiles": f"{results.input_tile} px a side",
    }
    return results.machine | ceilings | sides


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
