"""What the measures make of labels that differ as those of two annotators may.

Needs the slices that the workflow has read: `python -m benchmarks.label_noise`
"""

import argparse
import datetime
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.page import write_measured
from unetcore.data.frames import read_frames, split_frames
from unetcore.data.io import read_labels
from unetcore.errors import InputError
from unetcore.evaluate import OF_MEMBRANES, evaluate
from unetcore.script import one_line_errors
from unetcore.tables import MEASURES, markdown_table, mean_and_spread

PAGE = Path("docs/label-noise.md")
DATA = Path("results/data/isbi2012")
BLOCKS = 5
SMOOTH = 10  # px, standard deviation of the Gaussian that makes displacements smooth
RADIUS = 3  # px, of a gap
SQUARE = ndimage.generate_binary_structure(2, 2)

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # of an (H, W) mask of cells


def widened(cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Membranes of an (H, W) mask of cells one pixel wider to each side, corners included."""
    return ndimage.binary_erosion(cells, SQUARE, border_value=1)


def displaced(cells: np.ndarray, rng: np.random.Generator, std: float) -> np.ndarray:
    """An (H, W) mask moved by smooth random vectors, standard deviation in px along each axis."""
    field = [ndimage.gaussian_filter(rng.normal(size=cells.shape), SMOOTH) for _ in cells.shape]
    moved = np.indices(cells.shape) + np.stack([std * axis / axis.std() for axis in field])
    return ndimage.map_coordinates(cells, moved, order=0, mode="nearest")


def with_gaps(cells: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
    """An (H, W) mask of cells with n discs of cell on membranes, each of which joins two cells.

    Raises
    ------
    InputError : there are fewer places where exactly two cells face each other across a membrane.
    """
    ids, _ = ndimage.label(cells)
    rows, columns = np.indices(cells.shape)
    opened, places = cells.copy(), rng.permutation(np.argwhere(~cells))
    for row, column in places:
        disc = (rows - row) ** 2 + (columns - column) ** 2 <= RADIUS**2
        if len(np.setdiff1d(ids[disc], [0])) != 2:
            continue
        opened |= disc
        n -= 1
        if not n:
            return opened
    raise InputError(f"no place is left for {n} more gaps")


CHANGES: dict[str, Change] = {
    "none": lambda cells, rng: cells,
    "borders moved by 0.5 px": partial(displaced, std=0.5),
    "borders moved by 1 px": partial(displaced, std=1),
    "borders moved by 2 px": partial(displaced, std=2),
    "membranes 1 px wider to each side": widened,
    "one gap per slice": partial(with_gaps, n=1),
    "3 gaps per slice": partial(with_gaps, n=3),
    "10 gaps per slice": partial(with_gaps, n=10),
}


def measure(labels: np.ndarray, change: Change, seed: int = 0) -> dict[str, float]:
    """Score changed labels as if they were a prediction of the labels.

    Parameters
    ----------
    labels : (N, H, W) array, 0 = membrane.
    change : what another annotator did.
    seed : of the random numbers.

    Returns
    -------
    dict of the metrics of membranes, by name; errors in [0, 1], V_rand and V_info in [0, 1].
    """
    rng = np.random.default_rng(seed)
    changed = np.stack([change(page > 0, rng) for page in labels]).astype(np.float32)
    judged = evaluate(OF_MEMBRANES, labels, changed)
    return {metric: judged[metric]["value"] for metric in OF_MEMBRANES}


def table(measured: dict[str, Sequence[dict[str, float]]]) -> str:
    """One line per change; mean ± standard deviation over blocks of slices."""
    titles = [f"{MEASURES[metric].title} {MEASURES[metric].arrow}" for metric in OF_MEMBRANES]
    body = [
        (
            name,
            *(
                mean_and_spread([block[metric] for block in blocks], MEASURES[metric].decimals)
                for metric in OF_MEMBRANES
            ),
        )
        for name, blocks in measured.items()
    ]
    return markdown_table(["change", *titles], body)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="canonical dataset")
    folder = parser.parse_args(arguments).data
    frames, labels = read_frames(folder / "frames.csv"), read_labels(folder / "labels.tif")
    blocks = [
        labels[[frame.index for frame in split_frames(frames, {"blocks": BLOCKS}, str(k))[1]]]
        for k in range(BLOCKS)
    ]
    measured = {
        name: [measure(block, change, seed=k) for k, block in enumerate(blocks)]
        for name, change in CHANGES.items()
    }
    facts = (
        f"{sum(map(len, blocks))} labelled slices of {folder.name} in {BLOCKS} blocks, "
        f"{datetime.date.today().isoformat()}."
    )
    write_measured(PAGE, facts, table(measured))


if __name__ == "__main__":
    with one_line_errors():
        main()
