"""What was measured here: the metrics of one prediction, and how each metric is shown."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unetcore.duration import duration
from unetcore.errors import InputError
from unetcore.tables.grouping import distinct
from unetcore.tables.records import flat, read_record


@dataclass(frozen=True)
class Measure:
    """How a metric is shown: its name in a heading, its decimals, and which way is better."""

    title: str
    decimals: int
    arrow: str


# In the order of the columns. One pixel of 30 x 512 x 512 is a warping error of 1.27e-7.
MEASURES = {
    "warping_error": Measure("warping error", 7, "↓"),
    "rand_error": Measure("Rand error", 4, "↓"),
    "pixel_error": Measure("pixel error", 4, "↓"),
    "v_rand": Measure("V_rand", 4, "↑"),
    "v_info": Measure("V_info", 4, "↑"),
    "seg": Measure("SEG", 4, "↑"),
    "iou": Measure("IoU", 4, "↑"),
}

_REQUIRED = ("experiment", "dataset", "fold", "method", "seed", "measured_on", "metrics")

# What a line of provenance tells of a training, in this order, and how.
_FACTS = {
    "family": "{}",
    "variant": "network {}",
    "width": "width {}",
    "steps": "{} steps",
    "training.optimiser": "{}",
    "precision": "{}",
    "hardware": "{}",
    "threads": "{} thread(s)",
    "torch": "torch {}",
    "code": "code {}",
    "grey_level": "above grey level {}",
    "prediction_code": "predicted by code {}",
    "prediction_precision": "predicted in {}",
    "evaluation_code": "evaluated by code {}",
}


@dataclass(frozen=True)
class Measurement:
    """The metrics of one prediction: one method, trained once, on the test frames of one fold.

    Attributes
    ----------
    experiment, dataset, fold, method : names.
    seed : of the training; None for a method without one.
    measured_on : on which images, a sentence.
    values : number by metric.
    provenance : what is known of the training: code, steps, hardware ...
    """

    experiment: str
    dataset: str
    fold: str
    method: str
    seed: int | None
    measured_on: str
    values: Mapping[str, float]
    provenance: Mapping[str, object]


def read_measurement(path: Path) -> Measurement:
    """Read a metrics.json.

    Parameters
    ----------
    path : file as the evaluation writes it.

    Returns
    -------
    Measurement

    Raises
    ------
    InputError : no such file, no JSON, a key is missing, or a metric is unknown or no number.
    """
    content = read_record(path)
    if missing := [key for key in _REQUIRED if key not in content]:
        raise InputError(f"{path}: key {missing[0]!r} is missing")
    return Measurement(
        experiment=str(content["experiment"]),
        dataset=str(content["dataset"]),
        fold=str(content["fold"]),
        method=str(content["method"]),
        seed=content["seed"],
        measured_on=content["measured_on"],
        values=_values(content["metrics"], path),
        provenance=content.get("provenance", {}),
    )


def describe_network(measurements: Sequence[Measurement]) -> str:
    """Say what was trained, in a few words; nothing for a method without training.

    Examples
    --------
    >>> trained = {"width": 16, "steps": 2400, "training": {"optimiser": "sgd"}}
    >>> describe_network([Measurement("em", "isbi2012", "0", "u-net", 3, "slices", {}, trained)])
    'width 16, 2400 steps, sgd'
    """
    records = [flat(m.provenance) for m in measurements]
    facts = {"width": "width {}", "steps": "{} steps", "training.optimiser": "{}"}
    known = ((phrase, distinct(_known(records, key))) for key, phrase in facts.items())
    return ", ".join(_said(phrase, values) for phrase, values in known if values)


def describe_provenance(measurements: Sequence[Measurement]) -> str:
    """One line on where the numbers of some measurements of one experiment come from.

    Where trainings differ, every value is named once. Items are separated by semicolons.

    Examples
    --------
    >>> m = Measurement("em", "isbi2012", "0", "u-net", 3, "slices", {}, {"steps": 600})
    >>> describe_provenance([m])
    'experiment em; fold 0; seed 3; 600 steps'
    """
    items = [
        f"experiment {measurements[0].experiment}",
        _counted("fold", [m.fold for m in measurements]),
    ]
    if seeds := [m.seed for m in measurements if m.seed is not None]:
        items.append(_counted("seed", seeds))
    records = [flat(m.provenance) for m in measurements]
    for key, phrase in _FACTS.items():
        if values := distinct(_known(records, key)):
            items.append(_said(phrase, values))
    if seconds := _known(records, "train_seconds"):
        items.append(f"trained {duration(statistics.fmean(seconds))} each")
    return "; ".join(items)


def _values(metrics: Mapping[str, Mapping], path: Path) -> dict[str, float]:
    """Number of each metric, once it is one."""
    values = {}
    for metric, result in metrics.items():
        if metric not in MEASURES:
            raise InputError(f"{path}: metric {metric!r} is not among {', '.join(MEASURES)}")
        value = result.get("value")
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{path}: {metric} {value!r}, expected a finite number")
        values[metric] = float(value)
    return values


def _known(records: Iterable[Mapping[str, object]], key: str) -> list:
    """Values of a key in those records that have one."""
    return [record[key] for record in records if record.get(key) is not None]


def _said(phrase: str, values: Sequence[str]) -> str:
    """Values in a phrase.

    Examples
    --------
    >>> _said("{} steps", ["600", "1200"]), _said("{} steps", ["1"])
    ('600 / 1200 steps', '1 step')
    """
    text = phrase.format(" / ".join(values))
    return "1 step" if text == "1 steps" else text


def _counted(noun: str, values: Iterable[object]) -> str:
    """Noun and names, as in "fold 0" and "folds 0, 1"."""
    names = distinct(values)
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(names)}"
