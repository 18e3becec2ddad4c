"""Evaluation by name: the metrics of Table 1 and Table 2, as plain JSON values."""

import numpy as np

from unetcore import metrics
from unetcore.data.frames import OFFICIAL
from unetcore.errors import InputError

OF_MEMBRANES = ("warping_error", "rand_error", "pixel_error", "v_rand", "v_info")
OF_CELLS = ("seg", "iou")
THINNED = ("v_rand", "v_info")  # scores, where more is better; the others are errors
CURVE = ("value", "threshold", "thresholds", "values")
PLACES = ("splits", "mergers")
MOST_SHOWN = 20  # places of one kind in the JSON


def evaluate(
    names, labels, probability, *, segmentation=None, complete=None, ignored=None, threads=1
):
    """Compute metrics by name.

    Parameters
    ----------
    names : metrics out of `OF_MEMBRANES` and `OF_CELLS`.
    labels : (N, H, W) array of whole numbers, mask or instance ids; reference. This and the next
        two may be anything that `metrics.Slices` takes, which is read slice by slice, and such
        `Slices` themselves, which are called by their own names in messages.
    probability : (N, H, W) array in [0, 1], of cell interior; 8-bit maps unscaled.
    segmentation : (N, H, W) array of whole numbers, instances; needed by "seg" and "iou".
    complete : N bools, frames of which every cell is labelled; None: all. "iou" is measured on
        these only, see `metrics.foreground_iou`.
    ignored : (N, H, W) bool array, pixels of which nothing is known; None: there are none. They
        count as background on both sides, so that nothing that is said of them is right or wrong;
        objects end where they begin.
    threads : int >= 1, slices are judged on so many threads; the result is the same for any.

    Returns
    -------
    dict of metric -> dict with "value" and, for metrics of membranes, "threshold", "thresholds" and
    "values" (one per threshold). Warping and Rand error also say where their "splits" and "mergers"
    are at the best threshold: a dict of "n", how many; "largest", the most costly of them, see
    `metrics.WarpingPlace` and `metrics.RandPlace`; and "left_out", how many are not among these.
    The "z" of a place counts the slices that were given, from 0.

    Raises
    ------
    InputError : unknown metric, no segmentation where one is needed, or what the metric refuses.
    """
    _refuse_unknown(names, segmentation)
    if ignored is not None:
        return _evaluate_known(names, labels, probability, segmentation, complete, ignored, threads)
    thinned = [name for name in THINNED if name in names]
    pair = (labels, probability)
    scores = metrics.thinned_scores(*pair, names=thinned, threads=threads) if thinned else {}
    results = {}
    for name in names:
        if name in OF_MEMBRANES:
            results[name] = _as_json(
                scores.get(name) or getattr(metrics, name)(*pair, threads=threads)
            )
        elif name == "seg":
            results[name] = {"value": metrics.seg(labels, segmentation)}
        else:
            iou = metrics.foreground_iou(labels, segmentation, complete=complete)
            results[name] = {"value": iou}
    return results


def _evaluate_known(names, labels, probability, segmentation, complete, ignored, threads) -> dict:
    """Compute metrics of what is known.

    Of all metrics, the warping error alone divides by a number that ignored pixels are part of.
    """
    named = {"labels": labels, "probability": probability, "segmentation": segmentation}
    ignored = metrics.Slices.of(ignored, "ignored pixels")
    known = {
        name: None if stack is None else metrics.Slices.of(stack, name).without(ignored)
        for name, stack in named.items()
    }
    results = evaluate(names, **known, complete=complete, threads=threads)
    if "warping_error" in results:
        shares = [np.count_nonzero(~page) / page.size for page in ignored]
        share, found = sum(shares) / len(shares), results["warping_error"]
        found["value"] /= share
        found["values"] = [value / share for value in found["values"]]
    return results


def over_images(results):
    """Mean of metrics over images, where all are cut at one threshold.

    Parameters
    ----------
    results : what `evaluate` returned of each image, at least one, of the same metrics.

    Returns
    -------
    dict of metric -> dict with "value", the mean over images. Metrics of membranes are swept: of
    these "values" are the means at each of the "thresholds", "value" is the best of them, at
    "threshold", and "mean_of_best" is the mean of what every image has at a threshold of its own.
    """
    return {name: _mean(name, [result[name] for result in results]) for name in results[0]}


def _mean(name, found) -> dict:
    """Mean of one metric, which says by its curve whether it is swept."""
    own = float(np.mean([one["value"] for one in found]))
    if "values" not in found[0]:
        return {"value": own}
    means = np.mean([one["values"] for one in found], axis=0)
    best = int(means.argmax() if name in THINNED else means.argmin())
    thresholds = found[0]["thresholds"]
    return {
        "value": float(means[best]),
        "threshold": thresholds[best],
        "thresholds": thresholds,
        "values": means.tolist(),
        "mean_of_best": own,
    }


def _refuse_unknown(names, segmentation) -> None:
    """Refuse what cannot be computed, before anything is."""
    for name in names:
        if name not in OF_MEMBRANES + OF_CELLS:
            raise InputError(f"metric {name!r}: need one of {', '.join(OF_MEMBRANES + OF_CELLS)}")
        if name in OF_CELLS and segmentation is None:
            raise InputError(f"metric {name!r} compares cells: it needs a segmentation")


def _as_json(sweep: metrics.Sweep) -> dict:
    """Value and curve of a metric, and its places if it has some."""
    curve = {key: np.asarray(getattr(sweep, key)).tolist() for key in CURVE}
    return curve | {kind: _shown(getattr(sweep, kind)) for kind in PLACES if hasattr(sweep, kind)}


def _shown(places: metrics.Places) -> dict:
    largest = [_named(place) for place in places.largest[:MOST_SHOWN]]
    return {"n": places.n, "largest": largest, "left_out": places.n - len(largest)}


def _named(place) -> dict:
    """Fields of a place by name; those of its parts as well."""
    fields = place._asdict()
    if "parts" in fields:
        fields["parts"] = [part._asdict() for part in fields["parts"]]
    return fields


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
    labelled = f"labelled training frames ({n} in all)"
    n_sequences = len({frame.sequence for frame in frames if frame.split == "train"})
    if n_sequences > 2:
        return f"{labelled}, {n_sequences} stacks, each tested by the others"
    return f"{labelled}, trained on one sequence and tested on the other"
