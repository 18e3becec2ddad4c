"""What the command line shows people: tables, sizes, times, progress."""

import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import typer
from tqdm import tqdm

from unetcore.data.annotated import AnnotatedImages
from unetcore.history import Progress, progress_line
from unetcore.tables import MEASURES

logger = logging.getLogger(__name__)

LINE_SECONDS = 10  # between two lines of progress where there is no terminal
BAR = "{percentage:3.0f} % |{bar}| {n}/{total} steps, {remaining} left{postfix}"


@contextmanager
def progress(steps: int, done: int, tiles_per_step: int = 1) -> Iterator[Callable]:
    """Show how far a training is: a bar on a terminal, else a line now and then.

    Messages of `logging` come through `tqdm.write` above the bar, see `unetcore.cli`.

    Parameters
    ----------
    steps : of the whole training.
    done : of these, by an earlier run.
    tiles_per_step : the training's `batch`.

    Yields
    ------
    Function to be called with each `Progress`.
    """
    if sys.stderr.isatty():
        with tqdm(total=steps, initial=done, bar_format=BAR, dynamic_ncols=True) as bar:
            yield lambda row: _advance(bar, row)
    else:
        yield _Lines(steps, tiles_per_step)


def _advance(bar: tqdm, row: Progress) -> None:
    bar.set_postfix_str(
        f"loss {row.loss:.3f}, rate {row.learning_rate:.0e}, {row.tiles_per_second:.1f} tiles/s",
        refresh=False,
    )
    bar.update(row.step - bar.n)


class _Lines:
    """Logs a line of progress at times, and always the last."""

    def __init__(self, steps: int, tiles_per_step: int):
        self.steps, self.tiles_per_step = steps, tiles_per_step
        self.last = time.monotonic()

    def __call__(self, row: Progress) -> None:
        if row.step == self.steps or time.monotonic() - self.last > LINE_SECONDS:
            self.last = time.monotonic()
            logger.info("%s", progress_line(row, self.steps, self.tiles_per_step))


def show_annotated(
    images: Path, labels: Path, annotated: AnnotatedImages, guessed: str | None
) -> None:
    """Print what was found."""
    grey, ids, kind = annotated.images, annotated.labels, annotated.kind
    values = np.unique(ids)
    interior = 100 * np.mean(ids > 0)
    empty = (ids.max(axis=(1, 2)) == 0) & ~annotated.ignored.all(axis=(1, 2))
    blank = int((grey.min(axis=(1, 2)) == grey.max(axis=(1, 2))).sum())
    said = "" if guessed else "; --labels-are says otherwise"
    if kind == "mask":
        what = f"a mask of {values[0]} and {values[1]}"
    else:
        what = f"instances, {len(values) - (values[0] == 0)} different numbers"
    rows = [
        ("images", str(images), f"{count(len(grey), 'image')} of {size_of(grey)} px"),
        ("", "", f"grey values {grey.min():.2f} to {grey.max():.2f} (0 black, 1 white)"),
        ("labels", str(labels), f"{what}{said}"),
        ("", "", f"{interior:.1f} % cell interior"),
    ]
    if blank:
        rows.insert(2, ("", "", f"{count(blank, 'image')} the same everywhere: teaching nothing"))
    if empty.any():
        n_empty = count(int(empty.sum()), "image")
        rows.append(("", "", f"{n_empty} without a cell: background is taught"))
    print_table(rows)


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Print rows of cells with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def metrics_table(values: dict) -> str:
    """One line for each metric, with its best threshold and which way is better."""
    lines = []
    for name, result in values.items():
        measure = MEASURES[name]
        value = f"{result['value']:.{measure.decimals}f}"
        best = "1 is best" if measure.arrow == "↑" else "0 is best"
        at = f"threshold {result['threshold']:.2f}" if "threshold" in result else ""
        lines.append(f"{name:14}  {value:9}   {best}   {at}".rstrip())
    return "\n".join(lines)


def command(*words: object) -> str:
    """Spell a call of `unet`, quoted as a shell needs it."""
    return shlex.join(["unet", *map(str, words)])


def count(n: int, what: str) -> str:
    """Count things, as in "1 image" and "2 images"."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def size_of(stack: np.ndarray) -> str:
    """Height and width of a stack's pages, as in "512 x 696"."""
    return " x ".join(map(str, stack.shape[-2:]))
