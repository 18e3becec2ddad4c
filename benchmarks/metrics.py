"""The challenges' metrics."""

import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from benchmarks import images, peers
from benchmarks.timing import Row, compare, medians, smaller_is_better
from unetcore.evaluate import OF_MEMBRANES, evaluate
from unetcore.metrics import rand_error, seg
from unetcore.metrics.components import label_components

# CPU seconds that the official program took for each sweep over 30 x 512 x 512 with about 140
# components a slice, on one thread of another machine. It is not run here.
OFFICIAL_SECONDS = {"warping": 72, "Rand": 37, "V_rand": 32, "V_info": 60, "pixel": 1}


def all_metrics() -> list[Row]:
    """Warping, Rand and pixel error, V_rand and V_info of a whole stack at all their thresholds.

    The official program is not run here: its time is that of one thread of another machine, on maps
    of the same size with fewer components, about 140 a slice.
    """
    labels, probability = images.sections(30)
    (ours,) = medians(
        [lambda: evaluate(OF_MEMBRANES, labels, probability)], repeats=3, clock=time.process_time
    )
    return [
        smaller_is_better(
            "five metrics, 30 x 512 x 512, all thresholds",
            ours,
            sum(OFFICIAL_SECONDS.values()),
            unit="CPU s",
            peer_name="official program, on another machine",
        )
    ]


def rand() -> list[Row]:
    """Rand error of one 512 slice at 100 thresholds."""
    labels, probability = images.sections(1)
    thresholds = np.arange(100) / 100
    return compare(
        "Rand error, 512 slice, 100 thresholds",
        lambda: rand_error(labels, probability, thresholds=thresholds),
        {
            "scikit-image adapted_rand_error in a loop": lambda: peers.rand_errors(
                labels[0], probability[0], thresholds
            )
        },
        repeats=7,
    )


def seg_of_cells() -> list[Row]:
    """SEG of ten frames, read from files on both sides, as py-ctcmetrics does."""
    labels, probability = images.sections(10)
    with tempfile.TemporaryDirectory() as folder:
        references, segmentations = (
            [_write(Path(folder, f"{name}{z}.tif"), white) for z, white in enumerate(stack)]
            for name, stack in (("r", labels > 0), ("s", probability > 0.5))
        )

        def ours():
            stacks = (
                np.stack([tifffile.imread(path) for path in paths])
                for paths in (references, segmentations)
            )
            return seg(*stacks)

        def theirs():
            return peers.ctc_seg(references, segmentations)

        if abs(ours() - theirs()) > 1e-12:
            raise ArithmeticError(f"SEG {ours()}, of py-ctcmetrics {theirs()}: must be equal")
        return compare(
            "SEG, 10 frames of 512", ours, {"py-ctcmetrics": theirs}, repeats=5, warm_up=False
        )


def _write(path: Path, white: np.ndarray) -> Path:
    tifffile.imwrite(path, label_components(np.ascontiguousarray(white))[0].astype(np.uint16))
    return path
