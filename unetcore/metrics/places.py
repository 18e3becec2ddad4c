"""Where the errors of a stack are: the most costly ones, and how many there are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

Place = TypeVar("Place")

MOST_PLACES = 1000  # of one kind that a result carries, so that noise does not fill the memory


def most_costly(costs: np.ndarray) -> np.ndarray:
    """Numbers of the places of one slice that can be kept, the most costly first."""
    return np.argsort(-costs, kind="stable")[:MOST_PLACES]


@dataclass(frozen=True)
class Places(Generic[Place]):
    """The places of one kind of error in a stack.

    Attributes
    ----------
    n : int, how many there are.
    largest : tuple of at most `MOST_PLACES` of them, the most costly first.
    """

    n: int
    largest: tuple[Place, ...]


class Collected(Generic[Place]):
    """Places as they come in, slice by slice, of which only the most costly are kept.

    Parameters
    ----------
    cost : what a place costs; of equals the one that came first stays in front.
    """

    def __init__(self, cost: Callable[[Place], int]):
        self._cost = cost
        self._n = 0
        self._largest: list[Place] = []

    def add(self, n: int, largest: list[Place]) -> None:
        """Add the places of a slice: how many, and at least the `most_costly`."""
        self._n += n
        self._largest = sorted([*self._largest, *largest], key=self._cost, reverse=True)
        del self._largest[MOST_PLACES:]

    def places(self) -> Places[Place]:
        """All that was added."""
        return Places(self._n, tuple(self._largest))
