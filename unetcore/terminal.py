"""What the command line shows people: tables, sizes, times, progress."""

import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import typer
from scipy import ndimage
from tqdm import tqdm

from unetcore.data.annotated import AnnotatedImages
from unetcore.data.sizes import in_words
from unetcore.history import Progress, progress_line
from unetcore.instances import EIGHT_NEIGHBOURS
from unetcore.labels import IGNORED, known_labels
from unetcore.tables import MEASURES

logger = logging.getLogger(__name__)

MOST_ROWS = 20  # images that a table lists
REMARKS = {
    "blank": "the same everywhere: teaching nothing",
    "empty": "without a cell: background is taught",
}
_quiet = ContextVar("quiet", default=False)
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
    if is_quiet():
        yield lambda row: None
    elif sys.stderr.isatty():
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


def show_annotated(annotated: AnnotatedImages, guessed: bool) -> None:
    """Print what was found, image by image and in all.

    Parameters
    ----------
    guessed : whether nobody said what the labels are.
    """
    facts = facts_of(annotated)
    rows = [("image", "px", "channels", "grey values", "cells", "interior", "ignored", "")]
    rows += [_row(image) for image in facts["images"][:MOST_ROWS]]
    if (left := len(facts["images"]) - MOST_ROWS) > 0:
        rows.append((f"and {left} more", *[""] * (len(rows[0]) - 1)))
    print_table(rows)
    said = "; --labels-are says otherwise" if guessed else ""
    held = f", {facts['held_out']} held out" if facts["held_out"] else ""
    size = facts["pixel_size_um"]
    say()
    print_table(
        [
            ("images", count(len(facts["images"]), "image") + held),
            ("labels", f"{annotated.kind}{said}"),
            ("label map", facts["label_map"] or "0 is background, all else cell"),
            ("cells", f"{100 * facts['interior']:.1f} % of what is known"),
            ("ignored", f"{100 * facts['ignored']:.1f} %"),
            ("pixel size", f"{size:g} um" if size else "as the images have it"),
        ]
    )
    for name in ("blank", "empty"):
        if n := sum(image[name] for image in facts["images"]):
            say(f"{count(n, 'image')} {REMARKS[name]}")


def facts_of(annotated: AnnotatedImages) -> dict:
    """What is to be known of images and labels, as plain JSON values."""
    found = zip(annotated.names, annotated.images, annotated.labels, strict=True)
    images = [_facts_of_image(*image, annotated.kind) for image in found]
    n_known = sum(image["n_known"] for image in images)
    return {
        "images": images,
        "held_out": annotated.n_held_out,
        "labels_are": annotated.kind,
        "label_map": str(annotated.settings.label_map),
        "pixel_size_um": annotated.settings.pixel_size_um,
        "interior": sum(image["interior"] * image["n_known"] for image in images) / n_known,
        "ignored": annotated.ignored_share(),
    }


def _facts_of_image(name: str, image: np.ndarray, labels: np.ndarray, kind: str) -> dict:
    known, cells = labels != IGNORED, known_labels(labels)
    n_known = int(known.sum())
    parts = ndimage.label(cells, EIGHT_NEIGHBOURS)[0] if kind == "mask" else cells
    return {
        "name": name,
        "shape": list(labels.shape),
        "channels": len(image),
        "lowest": float(image.min()),
        "highest": float(image.max()),
        "cells": int(np.count_nonzero(np.unique(parts))),
        "interior": float((cells > 0).sum() / max(n_known, 1)),
        "ignored": float(1 - known.mean()),
        "n_known": n_known,
        "blank": is_blank(image),
        "empty": bool(known.any() and not cells.any()),
    }


def _row(image: Mapping) -> tuple[str, ...]:
    remarks = [short for key, short in (("blank", "blank"), ("empty", "no cell")) if image[key]]
    return (
        image["name"],
        in_words(image["shape"]),
        str(image["channels"]),
        f"{image['lowest']:.5g} to {image['highest']:.5g}",
        str(image["cells"]),
        f"{100 * image['interior']:.1f} %",
        f"{100 * image['ignored']:.1f} %",
        ", ".join(remarks),
    )


def is_blank(image: np.ndarray) -> bool:
    """Whether an image (..., H, W) has one value in each channel, and so shows nothing."""
    return bool((image.min(axis=(-2, -1)) == image.max(axis=(-2, -1))).all())


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Print rows of cells with aligned columns."""
    for line in table_lines(rows):
        say(line)


def table_lines(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of cells as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [map(str.ljust, row, widths) for row in rows]
    return ["  ".join(cells).rstrip() for cells in padded]


def be_quiet(quiet: bool) -> None:
    """Show people nothing from now on, or show it again."""
    _quiet.set(quiet)


def is_quiet() -> bool:
    """Whether nobody wants to be told how it goes."""
    return _quiet.get()


def say(text: str = "") -> None:
    """Print a line for people, who may have asked for quiet. Results are printed otherwise."""
    if not is_quiet():
        typer.echo(text)


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
