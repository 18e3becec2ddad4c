"""The challenge's metrics: warping, Rand and pixel error, the later V_rand and V_info, SEG and IoU.

All of the first five compare a label stack (white = cell interior) with a probability map over a
sweep of thresholds, slice by slice; `seg` and `foreground_iou` compare two instance stacks.
"""

from unetcore.metrics.pixel import PixelError, pixel_error
from unetcore.metrics.places import Places
from unetcore.metrics.rand import Part, RandError, RandPlace, rand_error
from unetcore.metrics.seg import foreground_iou, seg
from unetcore.metrics.slices import Slices
from unetcore.metrics.sweep import Sweep
from unetcore.metrics.thinned import thinned_scores, v_info, v_rand
from unetcore.metrics.topology import Mismatch
from unetcore.metrics.warping import (
    MismatchCounts,
    WarpingError,
    WarpingPlace,
    warped_label,
    warping_error,
    warping_mismatches,
    warping_places,
)

__all__ = [
    "Mismatch",
    "MismatchCounts",
    "Part",
    "PixelError",
    "Places",
    "RandError",
    "RandPlace",
    "Slices",
    "Sweep",
    "WarpingError",
    "WarpingPlace",
    "foreground_iou",
    "pixel_error",
    "rand_error",
    "seg",
    "thinned_scores",
    "v_info",
    "v_rand",
    "warped_label",
    "warping_error",
    "warping_mismatches",
    "warping_places",
]
