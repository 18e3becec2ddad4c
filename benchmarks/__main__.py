"""Measure everything: `python -m benchmarks`, or some of it: `python -m benchmarks rand plans`."""

import datetime
import json
import logging
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks import (
    augmentation,
    determinism,
    memory,
    metrics,
    network,
    tiling,
    training,
    weights,
    workflow,
)
from benchmarks.goals import read_goals, verdict, without_row
from benchmarks.network import precisions
from benchmarks.page import cells, write_csv, write_page
from unetcore.devices import choose_device, gpu_name
from unetcore.provenance import hardware

COMPARISONS = {
    function.__name__: function
    for function in (
        metrics.all_metrics,
        metrics.rand,
        metrics.seg_of_cells,
        weights.weight_map,
        tiling.plans,
        tiling.seams,
        augmentation.elastic,
        augmentation.training_step,
        training.training_speed,
        network.forward,
        network.prediction,
        memory.freed_memory,
        determinism.determinism,
        workflow.dry_run,
    )
}
FOLDER = Path("results/bench")
PAGE = Path("docs/benchmarks.md")
LIBRARIES = (
    "torch",
    "numpy",
    "numba",
    "scipy",
    "scikit-image",
    "monai",
    "opencv-python-headless",
    "py-ctcmetrics",
)
WIDTHS = (50, 42, 20, 10, 10, 8, 26, 8)


def main(names: list[str]) -> None:
    if unknown := set(names) - set(COMPARISONS):
        sys.exit(f"{', '.join(sorted(unknown))}: need some of {', '.join(COMPARISONS)}")
    logging.getLogger("monai").setLevel(logging.ERROR)
    goals, failed, measured = read_goals(), [], []
    for name in names or COMPARISONS:
        measured += (rows := COMPARISONS[name]())
        write_csv(FOLDER / f"{name}.csv", rows)
        for row in rows:
            goal = goals.get((row.name, row.peer_name))
            print(*map(str.ljust, cells(row, goal), WIDTHS), flush=True)
            if verdict(goal, row) == "FAILED":
                failed.append(row.name)
    if not names:  # the page shows one run of everything
        (FOLDER / "machine.json").write_text(json.dumps(machine(), indent=1), encoding="utf-8")
        write_page(PAGE, FOLDER, COMPARISONS, goals)
        failed += [f"{name} (no row)" for name in without_row(goals, measured, precisions())]
    if failed:
        sys.exit(f"below the floor: {'; '.join(failed)}")


def machine() -> dict[str, str]:
    """Where and when the numbers were taken."""
    return {
        "date": datetime.date.today().isoformat(),
        "hardware": hardware(gpu_name(choose_device())),
        "threads of torch": str(torch.get_num_threads()),
        "Python": platform.python_version(),
        "libraries": ", ".join(f"{name} {_version(name)}" for name in LIBRARIES),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main(sys.argv[1:])
