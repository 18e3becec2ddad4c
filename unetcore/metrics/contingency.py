"""How many pixels each label component shares with each proposal component."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from unetcore.metrics.components import label_components, members_of


@dataclass(frozen=True)
class Overlaps:
    """The cells of a contingency table that are not 0, over the white pixels of the label.

    Attributes
    ----------
    label : (K,) int array, 1.. = component i of the label, ascending.
    proposal : (K,) int array, component j of the proposal; 0 = its background.
    pixels : (K,) int64 array, the overlap c_ij in pixels, > 0.
    first : (K,) int array, flat position of the first pixel of the overlap in memory order.
    """

    label: np.ndarray
    proposal: np.ndarray
    pixels: np.ndarray
    first: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """(L,) overlaps with a component of the proposal, j >= 1."""
        return self.pixels[self.proposal > 0]

    @property
    def missed(self) -> int:
        """Pixels z on the proposal's background: each counts as a component of its own."""
        return int(self.pixels[self.proposal == 0].sum())

    @property
    def label_sizes(self) -> np.ndarray:
        """Sizes c_i. of the label's components, background of the proposal included."""
        return np.bincount(self.label, weights=self.pixels)[1:]

    @property
    def proposal_sizes(self) -> np.ndarray:
        """Sizes c_.j of the proposal's components within the label's white pixels, j >= 1."""
        return np.bincount(self.proposal, weights=self.pixels)[1:]


class LabelComponents:
    """The white pixels of one label slice, grouped by 4-connected component.

    Grouped once, it is held against the proposal at every threshold.

    Parameters
    ----------
    white : (X, Y) bool array.
    """

    def __init__(self, white: np.ndarray):
        self.image, count = label_components(white)
        self._members, self._starts = members_of(self.image, count)

    @property
    def sizes(self) -> np.ndarray:
        """(I,) int64 array, pixels of each component."""
        return np.diff(self._starts[1:])

    def overlaps(self, proposal: np.ndarray, count: int) -> Overlaps:
        """Overlaps with a proposal of `count` components, (X, Y) int32 with 0 = background."""
        return Overlaps(*_overlaps(self._members, self._starts, proposal.ravel(), count))


@njit(cache=True, nogil=True)
def _overlaps(members, starts, proposal, count):
    """Cells c_ij > 0 in the order of i, by the cell that each j was last met in."""
    label = np.empty(len(members), np.int32)
    partner = np.empty(len(members), np.int32)
    pixels = np.zeros(len(members), np.int64)
    first = np.empty(len(members), np.int32)
    cell_of = np.full(count + 1, -1, np.int64)
    end = 0
    for i in range(1, len(starts) - 1):
        begin = end
        for position in members[starts[i] : starts[i + 1]]:
            j = proposal[position]
            if cell_of[j] < begin:  # last met in a component before this one, or never
                cell_of[j] = end
                label[end], partner[end], first[end] = i, j, position
                end += 1
            pixels[cell_of[j]] += 1
    return label[:end].copy(), partner[:end].copy(), pixels[:end].copy(), first[:end].copy()
