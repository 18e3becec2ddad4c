"""Times of two functions, taken in turns, so that a busy machine slows both down."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One comparison; the columns of the csv files."""

    name: str
    ours: float
    peer: float
    ratio: float  # peer / ours: how many times better we are
    unit: str
    peer_name: str


def compare(
    name: str, ours: Callable, peer: Callable, *, peer_name: str, repeats: int, warm_up: bool = True
) -> Row:
    """Median times in ms; each function is first called once to compile and allocate."""
    times = {ours: [], peer: []}
    for round_ in range(repeats + warm_up):
        for function, seconds in times.items():
            started = time.perf_counter()
            function()
            if round_ or not warm_up:
                seconds.append(time.perf_counter() - started)
    medians = [1000 * statistics.median(seconds) for seconds in times.values()]
    return ratio_row(name, *medians, unit="ms", peer_name=peer_name)


def ratio_row(name: str, ours: float, peer: float, *, unit: str, peer_name: str) -> Row:
    return Row(name, ours, peer, peer / ours, unit, peer_name)
