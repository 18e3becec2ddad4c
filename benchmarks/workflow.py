"""The graph of jobs."""

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.timing import Row, smaller_is_better

LIMIT = 3.0  # CPU seconds


def dry_run() -> list[Row]:
    """CPU time of planning the whole paper, with whatever results this folder already holds."""
    ours = statistics.median(_cpu_seconds() for _ in range(3))
    return [
        smaller_is_better(
            "dry run of the whole paper", ours, LIMIT, unit="CPU s", peer_name="the limit we set"
        )
    ]


def _cpu_seconds() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [Path(sys.executable).with_name("snakemake"), "paper", "-n", "--quiet", "all"]
    subprocess.run(command, check=True, env=os.environ, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
