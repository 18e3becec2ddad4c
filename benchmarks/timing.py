"""Times of several functions, taken in turns, so that a busy machine slows all of them down."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

MILLISECONDS = 1000


@dataclass(frozen=True)
class Row:
    """One comparison; the columns of the csv files.

    Attributes
    ----------
    name : what is measured, on what.
    ours, peer : a time, a cost, a rate or a difference, in `unit`.
    ratio : how many times better we are.
    unit : of `ours` and `peer`.
    peer_name : what does the same job otherwise, or the limit that we are held against.
    """

    name: str
    ours: float
    peer: float
    ratio: float
    unit: str
    peer_name: str


def compare(
    name: str,
    ours: Callable,
    peers: dict[str, Callable],
    *,
    repeats: int,
    warm_up: bool = True,
) -> list[Row]:
    """Median times in ms of our function against each peer's.

    Parameters
    ----------
    name : of the rows.
    ours : function of no arguments.
    peers : functions by the name of the peer.
    repeats : rounds; in each one every function is called once.
    warm_up : whether a first round, in which functions compile and allocate, is left out.
    """
    median, *others = medians([ours, *peers.values()], repeats=repeats, warm_up=warm_up)
    return [
        smaller_is_better(
            name, MILLISECONDS * median, MILLISECONDS * other, unit="ms", peer_name=peer_name
        )
        for peer_name, other in zip(peers, others, strict=True)
    ]


def medians(
    functions: list[Callable],
    *,
    repeats: int,
    warm_up: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Median seconds of each function; they take turns."""
    seconds = [[] for _ in functions]
    for round_ in range(repeats + warm_up):
        for function, of_function in zip(functions, seconds, strict=True):
            started = clock()
            function()
            if round_ or not warm_up:
                of_function.append(clock() - started)
    return [statistics.median(of_function) for of_function in seconds]


def smaller_is_better(name: str, ours: float, peer: float, *, unit: str, peer_name: str) -> Row:
    """Row of times, costs or differences; nothing at all is infinitely better."""
    ratio = peer / ours if ours else float("inf")
    return Row(name, ours, peer, ratio, unit, peer_name)


def larger_is_better(name: str, ours: float, peer: float, *, unit: str, peer_name: str) -> Row:
    """Row of rates."""
    return Row(name, ours, peer, ours / peer, unit, peer_name)
