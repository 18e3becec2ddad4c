"""Evaluation by name: the metrics of Table 1 and Table 2, as plain JSON values."""

from dataclasses import asdict

import numpy as np

from unetcore import metrics
from unetcore.data.frames import OFFICIAL
from unetcore.errors import InputError

OF_MEMBRANES = ("warping_error", "rand_error", "pixel_error", "v_rand", "v_info")
OF_CELLS = ("seg", "iou")


def evaluate(names, labels, probability, *, segmentation=None, complete=None):
    """Compute metrics by name.

    Parameters
    ----------
    names : metrics out of `OF_MEMBRANES` and `OF_CELLS`.
    labels : (N, H, W) int array, mask or instance ids; reference.
    probability : (N, H, W) float32 array in [0, 1], of cell interior.
    segmentation : (N, H, W) int array of instances; needed by "seg" and "iou".
    complete : (N,) bool sequence, frames of which every cell is labelled; None: all. "iou" is
        measured on these only, since elsewhere a cell without label would count as background.

    Returns
    -------
    dict of metric -> dict with "value" and, for metrics of membranes, "threshold", "thresholds" and
    "values" (one per threshold).

    Raises
    ------
    InputError : unknown metric, or no segmentation where one is needed.
    """
    complete = np.ones(len(labels), bool) if complete is None else np.asarray(complete, bool)
    results = {}
    for name in names:
        if name in OF_MEMBRANES:
            results[name] = _of_membranes(name, labels, probability)
        elif name not in OF_CELLS:
            raise InputError(f"metric {name!r}: need one of {', '.join(OF_MEMBRANES + OF_CELLS)}")
        elif segmentation is None:
            raise InputError(f"metric {name!r} compares cells: it needs a segmentation")
        elif name == "seg":
            results[name] = {"value": float(metrics.seg(labels, segmentation))}
        else:
            iou = metrics.foreground_iou(labels[complete], segmentation[complete])
            results[name] = {"value": float(iou)}
    return results


def _of_membranes(name, labels, probability):
    result = asdict(getattr(metrics, name)(labels, probability))
    kept = ("value", "threshold", "thresholds", "values")
    return {key: np.asarray(result[key]).tolist() for key in kept}


def measured_on(frames, split, fold):
    """Say on which images a number was measured, in words that are the same for all folds.

    Parameters
    ----------
    frames : all frames of the dataset.
    split : scheme of the folds, as `unetcore.data.frames.split_frames` takes it.
    fold : the fold tested.

    Returns
    -------
    str, such as "cross-validation on the 30 labelled training slices, 5 contiguous blocks".
    """
    if fold == OFFICIAL:
        n = sum(frame.split == "test" for frame in frames)
        return f"the {n} test slices"
    n = sum(frame.split == "train" and frame.labelled for frame in frames)
    if "blocks" in split:
        return (
            f"cross-validation on the {n} labelled training slices, "
            f"{split['blocks']} contiguous blocks"
        )
    return f"labelled training frames ({n} in all), trained on one sequence and tested on the other"
