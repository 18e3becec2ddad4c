"""The challenge's metrics: warping, Rand and pixel error, the later V_rand and V_info, SEG and IoU.

All of the first five compare a label stack (white = cell interior) with a probability map over a
sweep of thresholds, slice by slice; `seg` and `foreground_iou` compare two instance stacks.
"""

from unetcore.metrics.info import v_info
from unetcore.metrics.pixel import PixelError, pixel_error
from unetcore.metrics.rand import RandError, rand_error, v_rand
from unetcore.metrics.seg import foreground_iou, seg
from unetcore.metrics.sweep import Sweep
from unetcore.metrics.warping import (
    Mismatch,
    MismatchCounts,
    WarpingError,
    warped_label,
    warping_error,
    warping_mismatches,
)

__all__ = [
    "Mismatch",
    "MismatchCounts",
    "PixelError",
    "RandError",
    "Sweep",
    "WarpingError",
    "foreground_iou",
    "pixel_error",
    "rand_error",
    "seg",
    "v_info",
    "v_rand",
    "warped_label",
    "warping_error",
    "warping_mismatches",
]
