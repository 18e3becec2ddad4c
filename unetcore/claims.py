"""The paper's claims put to the test: comparisons whose verdict rule is fixed before the runs.

A claim says that one method is better than another by some quantity, or better than a limit. It is
measured on the same folds with the same seeds on both sides. Every pair gives a gain, a difference
or a ratio. Trainings that differ in the seed alone are independent given the images, so the gains
of a seed are averaged over its folds, and the interval is over seeds. Folds share training images:
an interval over them would be too narrow, and a single seed decides nothing.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy import stats

from unetcore.duration import duration
from unetcore.errors import InputError
from unetcore.tables import (
    MEASURES,
    Measure,
    Measurement,
    describe_network,
    describe_provenance,
    read_measurement,
)
from unetcore.tables.grouping import distinct, grouped
from unetcore.tables.records import read_record

SUPPORTED = "supported"
NOT_SUPPORTED = "not supported"
UNDECIDED = "not decided by this evidence"

SECONDS = "seconds_per_frame"
ONE_BY_ONE = "seconds_per_frame_one_by_one"
DIFFERENCE = "window_difference"
SEAM = "seam"
QUANTITIES = MEASURES | {
    SECONDS: Measure("seconds per frame", 3, "↓"),
    ONE_BY_ONE: Measure("seconds per frame, window by window", 0, "↓"),
    DIFFERENCE: Measure("largest difference between single windows and all at once", 9, "↓"),
    SEAM: Measure("largest difference between tiled and whole", 9, "↓"),
}


@dataclass(frozen=True)
class Claim:
    """A claim and the comparison that tests it.

    Attributes
    ----------
    claim : the sentence, in our words.
    source : where the paper says so, or who asks.
    experiment, method : what is claimed to be better.
    metric : by which of `QUANTITIES`.
    against_experiment, against_method : than what; None where a limit is given.
    against_metric : quantity of the other side, None for the same.
    limit : than which number every measurement shall be better, None for a comparison.
    ratio : whether the effect is a quotient, which shall be above 1, and not a difference.

    Raises
    ------
    InputError : neither or both of another method and a limit, or a ratio to a limit.
    """

    claim: str
    source: str
    experiment: str
    method: str
    metric: str
    against_experiment: str | None = None
    against_method: str | None = None
    against_metric: str | None = None
    limit: float | None = None
    ratio: bool = False

    def __post_init__(self):
        other = (self.against_experiment, self.against_method)
        if (None in other) == (self.limit is None):
            raise InputError(f"claim {self.claim!r}: need either a limit or another method")
        if self.ratio and self.limit is not None:
            raise InputError(f"claim {self.claim!r}: a limit is compared by difference")

    @property
    def null_effect(self) -> int:
        """Effect if neither side is better."""
        return 1 if self.ratio else 0


@dataclass(frozen=True)
class Pair:
    """What one fold and seed says of a claim.

    Attributes
    ----------
    fold, seed : which; the seed is None for a method without one.
    value : of what is claimed to be better.
    against : of the other side, or the limit.
    gain : difference or ratio of the two, as in `Verdict.effect`.
    """

    fold: str
    seed: int | None
    value: float
    against: float
    gain: float


@dataclass(frozen=True)
class Verdict:
    """One row of the table of claims.

    Attributes
    ----------
    claim : the sentence.
    experiment : the comparison that tested it.
    effect : mean improvement, above 0 where the claim holds; for a ratio above 1.
    low, high : confidence interval of the effect, None for a single seed; of a limit the least and
        the largest gain.
    n : number of seeds that the interval is over; of a limit the number of measurements.
    verdict : "supported" if the whole interval is above 0 (1), "not supported" if it is below, else
        "not decided by this evidence".
    provenance : where the numbers come from, and what they cost.
    source, cost : for readers: where the claim stands, and what the trainings took.
    ratio : whether the effect is a quotient.
    limited : whether there is a limit that every measurement has to keep.
    measure : what was compared in which networks, as "Rand error; width 8, 600 steps, adamw".
    evidence : what was averaged, as "3 seeds, 5 folds".
    gains : differences or ratios, one per seed; of a limit one per measurement.
    pairs : every fold and seed behind them.
    """

    claim: str
    experiment: str
    effect: float
    low: float | None
    high: float | None
    n: int
    verdict: str
    provenance: str
    source: str = ""
    cost: str = ""
    ratio: bool = False
    limited: bool = False
    measure: str = ""
    evidence: str = ""
    gains: tuple[float, ...] = ()
    pairs: tuple[Pair, ...] = ()


def read_quantities(path: Path) -> Measurement:
    """Read metrics.json with the times of its prediction, or seam.json.

    Raises
    ------
    InputError : no such file, damaged, or without what it should hold.
    """
    if SEAM in (record := read_record(path)):
        return Measurement(
            experiment=record["experiment"],
            dataset=record["dataset"],
            fold=record["fold"],
            method=record["method"],
            seed=record["seed"],
            measured_on="the first frame",
            values={SEAM: float(record[SEAM])},
            provenance=record["provenance"],
        )
    measured = read_measurement(path)
    return replace(measured, values={**measured.values, **_times(measured.provenance)})


@dataclass(frozen=True)
class _Compared:
    """A pair and the measurements that it was made from; there is no other side to a limit."""

    pair: Pair
    ours: Measurement
    theirs: Measurement | None


def judge(claim: Claim, measurements: Sequence[Measurement], confidence: float) -> list[Verdict]:
    """Test one claim, on each set of images that both sides were measured on.

    Parameters
    ----------
    claim : what to compare.
    measurements : of both sides, and of others, which are passed over.
    confidence : of the interval, in (0, 1), by Student's t over seeds; of the logarithms where the
        effect is a ratio.

    Returns
    -------
    list of Verdict, one per set of images: held-out training images and official test images are
    never averaged. Where there are several, `experiment` and `measure` name them.

    Raises
    ------
    InputError : no fold and seed was measured on both sides; or times of different machines.
    """
    compared = _compare(claim, measurements)
    if not compared:
        raise InputError(f"claim {claim.claim!r}: no fold and seed with {_sides(claim)}")
    by_images = grouped(compared, lambda c: c.ours.measured_on)
    return [
        _verdict_on(claim, group, confidence, f"; on {images}" if len(by_images) > 1 else "")
        for images, group in by_images.items()
    ]


def _compare(claim: Claim, measurements: Sequence[Measurement]) -> list[_Compared]:
    """Every fold and seed of a claim that was measured on both sides, or that has a limit."""
    ours = _values(measurements, claim.experiment, claim.method, claim.metric)
    theirs = _values(
        measurements,
        claim.against_experiment,
        claim.against_method,
        claim.against_metric or claim.metric,
    )
    compared = []
    for (images, fold, seed), (value, measured) in ours.items():
        if claim.limit is not None:
            against, other = claim.limit, None
        elif partner := theirs.get((images, fold, seed)) or theirs.get((images, fold, None)):
            against, other = partner
        else:
            continue
        pair = Pair(fold, seed, value, against, _gain(claim, value, against))
        compared.append(_Compared(pair, measured, other))
    return compared


def _verdict_on(
    claim: Claim, compared: Sequence[_Compared], confidence: float, images: str
) -> Verdict:
    """Verdict by measurements on the same images, which `images` names where there are others."""
    ours = [c.ours for c in compared]
    theirs = [c.theirs for c in compared if c.theirs]
    _check_machines(claim, [*ours, *theirs])
    pairs = tuple(c.pair for c in compared)
    if claim.limit is None:
        gains = _by_seed(pairs, claim.ratio)
        effect, low, high = _effect(gains, confidence, claim.ratio)
    else:
        gains = [pair.gain for pair in pairs]
        effect, low, high = statistics.fmean(gains), min(gains), max(gains)
    cost, networks = describe_cost([*ours, *theirs]), _networks(ours, theirs)
    tested = f"{_comparison(claim)} ({networks})" if networks else _comparison(claim)
    measure = "; ".join(filter(None, (QUANTITIES[claim.metric].title, networks)))
    origins = [describe_provenance(ours), *_other_provenance(claim, theirs)]
    return Verdict(
        claim=claim.claim,
        experiment=tested + images,
        effect=effect,
        low=low,
        high=high,
        n=len(gains),
        verdict=_verdict(low, high, claim.null_effect),
        provenance=f"{'; against '.join(origins)}; cost: {cost}",
        source=claim.source,
        cost=cost,
        ratio=claim.ratio,
        limited=claim.limit is not None,
        measure=measure + images,
        evidence=_evidence(pairs),
        gains=tuple(gains),
        pairs=pairs,
    )


def interval(gains: Sequence[float], confidence: float) -> tuple[float | None, float | None]:
    """Confidence interval of a mean by Student's t; None, None for fewer than two numbers.

    Examples
    --------
    >>> low, high = interval([1.0, 2.0, 3.0], 0.95)
    >>> round(low, 3), round(high, 3)  # 2 -+ 4.303 / sqrt(3)
    (-0.484, 4.484)
    """
    n = len(gains)
    if n < 2:
        return None, None
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * statistics.stdev(gains) / n**0.5
    mean = statistics.fmean(gains)
    return float(mean - half), float(mean + half)


def describe_cost(measurements: Iterable[Measurement]) -> str:
    """What the trainings behind some measurements took; each counts once.

    Examples
    --------
    >>> m = Measurement("em", "isbi2012", "0", "u-net", 3, "slices", {}, {"train_seconds": 5400})
    >>> describe_cost([m, m])
    '1 training, 90 min'
    """
    seconds = {
        (m.experiment, m.fold, m.seed): m.provenance["train_seconds"]
        for m in measurements
        if m.provenance.get("train_seconds") is not None
    }
    if not seconds:
        return "no training"
    noun = "training" if len(seconds) == 1 else "trainings"
    return f"{len(seconds)} {noun}, {duration(sum(seconds.values()))}"


def _times(provenance: Mapping[str, object]) -> dict[str, float]:
    """Times of a prediction; of single windows those of a frame that has as many pixels."""
    times = {}
    if (seconds := provenance.get(SECONDS)) is not None:
        times[SECONDS] = float(seconds)
    if alone := provenance.get("one_by_one"):
        times[ONE_BY_ONE] = alone["seconds_per_window"] * provenance["pixels_per_frame"]
        times[DIFFERENCE] = alone["largest_difference"]
    return times


def _values(
    measurements: Sequence[Measurement], experiment: str | None, method: str | None, metric: str
) -> dict[tuple[str, str, int | None], tuple[float, Measurement]]:
    """One side by images, fold and seed: only what agrees in all can be paired.

    A method without seed, as a threshold is, has None there, and is a partner of every seed.
    """
    return {
        (m.measured_on, m.fold, m.seed): (m.values[metric], m)
        for m in measurements
        if (m.experiment, m.method) == (experiment, method) and metric in m.values
    }


def _gain(claim: Claim, better: float, worse: float) -> float:
    falls = QUANTITIES[claim.metric].arrow == "↓"
    if claim.ratio:
        return worse / better if falls else better / worse
    return worse - better if falls else better - worse


def _by_seed(pairs: Sequence[Pair], ratio: bool) -> list[float]:
    """Gains of each seed, averaged over its folds."""
    mean = statistics.geometric_mean if ratio else statistics.fmean
    seeds = grouped(pairs, lambda pair: pair.seed)
    return [mean(pair.gain for pair in of_seed) for of_seed in seeds.values()]


def _evidence(pairs: Sequence[Pair]) -> str:
    """How many seeds and folds there are."""
    counts = [("seed", {pair.seed for pair in pairs}), ("fold", {pair.fold for pair in pairs})]
    words = [f"{len(found)} {noun}{'s' if len(found) > 1 else ''}" for noun, found in counts]
    return ", ".join(words)


def _check_machines(claim: Claim, used: Sequence[Measurement]) -> None:
    """Refuse to compare times of different machines, numbers of threads or precisions."""
    if not {claim.metric, claim.against_metric} & {SECONDS, ONE_BY_ONE}:
        return
    machines = distinct(_machine(m.provenance) for m in used)
    if len(machines) > 1:
        raise InputError(
            f"claim {claim.claim!r}: times of different machines, {' and '.join(machines)}: "
            "predict both sides on one"
        )


def _machine(provenance: Mapping[str, object]) -> str:
    """Where and how a prediction was computed, as far as its time depends on it."""
    threads = provenance.get("prediction_threads")
    facts = (
        provenance.get("prediction_hardware", "unknown"),
        f"{threads} thread(s)" if threads else "threads unknown",
        provenance.get("prediction_precision", "precision unknown"),
    )
    return ", ".join(map(str, facts))


def _effect(gains, confidence, ratio):
    """Mean of the gains and its interval; of ratios the geometric ones."""
    if not ratio:
        return statistics.fmean(gains), *interval(gains, confidence)
    logarithms = list(map(math.log, gains))
    bounds = interval(logarithms, confidence)
    low, high = (None if bound is None else math.exp(bound) for bound in bounds)
    return math.exp(statistics.fmean(logarithms)), low, high


def _verdict(low: float | None, high: float | None, null_effect: float) -> str:
    """What an interval says: a claim is decided only where it does not hold the null effect."""
    if low is None or low <= null_effect <= high:
        return UNDECIDED
    return SUPPORTED if low > null_effect else NOT_SUPPORTED


def _sides(claim: Claim) -> str:
    """What was looked for in vain."""
    ours = f"{claim.experiment} {claim.method}"
    if claim.limit is not None:
        return f"{claim.metric} of {ours}"
    theirs = f"{claim.against_experiment} {claim.against_method}"
    return f"{claim.metric} of both {ours} and {theirs}"


def _other_provenance(claim: Claim, other: Sequence[Measurement]) -> list[str]:
    """Where the other side comes from, if from another experiment."""
    same = not other or claim.experiment == claim.against_experiment
    return [] if same else [describe_provenance(other)]


def _networks(used: Sequence[Measurement], other: Sequence[Measurement]) -> str:
    """What was trained, on the other side too where it differs; empty if nothing was."""
    sides = (describe_network(used), describe_network(other))
    return "; against ".join(side for side in dict.fromkeys(sides) if side)


def _comparison(claim: Claim) -> str:
    """Comparison in words."""
    title = QUANTITIES[claim.metric].title
    if claim.limit is not None:
        rule = "below" if QUANTITIES[claim.metric].arrow == "↓" else "above"
        return f"{claim.experiment}: {title} of {claim.method} {rule} {claim.limit:g}"
    theirs = claim.against_method
    if claim.against_metric is not None:
        theirs = f"{QUANTITIES[claim.against_metric].title} of {theirs}"
    if claim.experiment != claim.against_experiment:
        theirs = f"{theirs} in {claim.against_experiment}"
    return f"{claim.experiment}: {title} of {claim.method} against {theirs}"
