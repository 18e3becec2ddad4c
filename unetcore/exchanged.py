"""Notices labels that call cell what a prediction calls background, as marked membranes do."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetcore.data.label_map import BACKGROUND, CELL, LabelMap
from unetcore.data.rois import SUFFIXES as OF_REGIONS

MARGIN = 0.1  # a probability that is lower in cells by less tells nothing


@dataclass(frozen=True)
class Sides:
    """Probability on both sides of the labels.

    Attributes
    ----------
    cells, outside : mean probability; NaN where there is no such pixel.
    values : numbers that the labels give to cells, two of them at most.
    """

    cells: float
    outside: float
    values: tuple[int, ...]

    @property
    def look_exchanged(self) -> bool:
        """Whether the probability is lower in cells than outside, and clearly so."""
        return self.cells + MARGIN < self.outside


def sides_of(labels, probability, ignored=None) -> Sides:
    """Mean probability in cells and outside of them.

    Parameters
    ----------
    labels : (N, H, W) array of whole numbers, 0 = background, or anything with slices.
    probability : of the same shape, in [0, 1].
    ignored : bool, pixels that do not count; None: there are none.
    """
    sums, sizes, values = np.zeros(2), np.zeros(2), set()
    for z in range(labels.shape[0]):
        page, grey = labels[z], probability[z]
        known = True if ignored is None else ~ignored[z]
        for k, side in enumerate((page > 0, page == 0)):
            side = side & known
            sums[k] += grey[side].sum(dtype=np.float64)
            sizes[k] += np.count_nonzero(side)
        if len(values) < 2:
            values |= set(np.unique(page[page > 0])[:2].tolist())
    cells, outside = np.divide(sums, sizes, out=np.full(2, np.nan), where=sizes > 0).tolist()
    return Sides(cells, outside, tuple(sorted(values)[:2]))


def remark(labels: Path, sides: Sides, label_map: LabelMap, more: int = 0) -> str:
    """One line that says how to exchange cells and background.

    Parameters
    ----------
    labels : their file or folder, or that of the first of several.
    sides : as found with these labels.
    label_map : by which they were read.
    more : number of other files of which the same holds.
    """
    if labels.suffix.lower() in OF_REGIONS:
        advice = "draw regions around cells"
    elif exchanged := exchanged_map(label_map, sides.values):
        advice = f"give --label-map {exchanged}"
    else:
        advice = "say by --label-map what values mean"
    others = f" and {more} more" if more else ""
    return (
        f"warning: {labels}{others}: the probability is lower in cells (mean {sides.cells:.2f}) "
        f"than outside ({sides.outside:.2f}); if membranes or background are marked, {advice}"
    )


def exchanged_map(label_map: LabelMap, values: Collection[int]) -> LabelMap | None:
    """Map in which cell and background are exchanged; None of instances, where none is.

    Parameters
    ----------
    label_map : by which labels were read.
    values : numbers that they give to cells; of a map that names these, none is asked for.
    """
    meanings = dict(label_map.meanings)
    if not label_map.names_cells:
        if len(values) != 1:
            return None
        around = {} if BACKGROUND in meanings.values() else {0: BACKGROUND}
        meanings |= around | {next(iter(values)): CELL}
    other = {CELL: BACKGROUND, BACKGROUND: CELL}
    return LabelMap({value: other.get(what, what) for value, what in sorted(meanings.items())})
