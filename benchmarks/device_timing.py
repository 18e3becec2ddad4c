"""Time and memory of a function on the device that it runs on."""

import contextlib
import math
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch

from unetcore.cuda_graph import WARM_UP

IN_FLIGHT = 20  # calls that a GPU is asked for before the first of them is waited for


def median_seconds(function: Callable, device: torch.device, seconds: float) -> float:
    """Median time of a call, in calls for some seconds, without waiting for each on a GPU."""
    for _ in range(WARM_UP + 1 if device.type == "cuda" else 1):
        function()
    marks = [_mark(device)]
    end = time.perf_counter() + seconds
    while len(marks) < 4 or time.perf_counter() < end:
        function()
        marks.append(_mark(device))
        if device.type == "cuda" and len(marks) > IN_FLIGHT:
            marks[-IN_FLIGHT].synchronize()
    return statistics.median(_between(*pair, device) for pair in pairwise(marks))


def _mark(device):
    """Moment between two calls, on the device's own clock."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def _between(before, after, device):
    if device.type != "cuda":
        return after - before
    after.synchronize()
    return before.elapsed_time(after) / 1000


def forget_memory(device: torch.device) -> None:
    """Begin anew to look for the largest memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # of the process; Linux only
        Path("/proc/self/clear_refs").write_text("5")


def largest_memory(device: torch.device) -> float:
    """Bytes since then: of the process on a CPU, of torch's tensors on a GPU; NaN if not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return math.nan
