"""The paper's claims put to the test: paired comparisons whose verdict rule is fixed before.

A claim says that one method has a better metric than another. Both are measured on the same folds
with the same seeds; the effect is the mean of the paired differences.
"""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields

from scipy import stats

from unetcore.errors import InputError
from unetcore.tables import (
    MEASURES,
    PROVENANCE_HEADING,
    Measurement,
    describe_provenance,
    markdown_table,
)

SUPPORTED = "supported"
NOT_SUPPORTED = "not supported"
UNDECIDED = "not decided by this evidence"


@dataclass(frozen=True)
class Claim:
    """A claim and the comparison that tests it.

    Attributes
    ----------
    claim : the sentence, in our words.
    experiment, method : what is claimed to be better.
    against_experiment, against_method : than what.
    metric : by which metric.
    """

    claim: str
    experiment: str
    method: str
    against_experiment: str
    against_method: str
    metric: str


@dataclass(frozen=True)
class Verdict:
    """One row of the table of claims.

    Attributes
    ----------
    claim : the sentence.
    experiment : the comparison that tested it.
    effect : mean improvement of the metric, > 0 where the claim holds.
    low, high : confidence interval of the effect, None for a single pair.
    n : number of pairs (folds and seeds).
    verdict : "supported" if the whole interval is above 0, "not supported" if it is below, else
        "not decided by this evidence".
    provenance : where the numbers come from.
    """

    claim: str
    experiment: str
    effect: float
    low: float | None
    high: float | None
    n: int
    verdict: str
    provenance: str


_HOW_TO_READ = (
    "The effect is the mean gain of a metric over pairs of the same fold and seed, positive where "
    "the claim holds. A claim is supported if the whole interval is above 0, not supported if it "
    "is below. The trainings of a cross-validation share images, so its intervals are too narrow: "
    "a bound close to 0 is weak evidence."
)
COLUMNS = tuple(field.name for field in fields(Verdict))


def judge(claim: Claim, measurements: Sequence[Measurement], confidence: float) -> Verdict:
    """Test one claim.

    Parameters
    ----------
    claim : what to compare.
    measurements : of both sides, and of others, which are passed over.
    confidence : of the interval, in (0, 1), by Student's t over the pairs.

    Returns
    -------
    Verdict. Folds of a cross-validation share training images, so the pairs are not independent
    and the interval is narrower than it should be.

    Raises
    ------
    InputError : no fold and seed was measured on both sides.
    """
    better = _values(measurements, claim.experiment, claim.method, claim.metric)
    worse = _values(measurements, claim.against_experiment, claim.against_method, claim.metric)
    if not (pairs := [pair for pair in better if pair in worse]):
        raise InputError(
            f"claim {claim.claim!r}: no fold and seed with {claim.metric} of both "
            f"{claim.experiment} {claim.method} and {claim.against_experiment} "
            f"{claim.against_method}"
        )
    sign = -1 if MEASURES[claim.metric].arrow == "↓" else 1
    gains = [
        sign * (better[pair].values[claim.metric] - worse[pair].values[claim.metric])
        for pair in pairs
    ]
    effect, (low, high) = statistics.fmean(gains), interval(gains, confidence)
    return Verdict(
        claim.claim,
        _describe(claim),
        effect,
        low,
        high,
        len(gains),
        _verdict(low, high),
        describe_provenance([better[pair] for pair in pairs]),
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


def csv_text(verdicts: Sequence[Verdict]) -> str:
    """Write the table of claims as CSV, one row per claim."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for verdict in verdicts:
        cells = (getattr(verdict, column) for column in COLUMNS)
        writer.writerow("" if cell is None else cell for cell in cells)
    return text.getvalue()


def markdown_text(verdicts: Sequence[Verdict], confidence: float) -> str:
    """Write the table of claims for people."""
    header = ("claim", "tested by", "effect", f"{confidence:.0%} interval", "n", "verdict")
    body = [
        (
            v.claim,
            v.experiment,
            f"{v.effect:+.3g}",
            "" if v.low is None else f"{v.low:+.3g} to {v.high:+.3g}",
            str(v.n),
            f"**{v.verdict}**",
        )
        for v in verdicts
    ]
    sources = [f"- {v.experiment}: {v.provenance}" for v in verdicts]
    parts = [
        "# Claims of the paper and of its readers",
        _HOW_TO_READ,
        markdown_table(header, body),
        f"## {PROVENANCE_HEADING}",
        "\n".join(sources),
    ]
    return "\n\n".join(parts) + "\n"


def _values(
    measurements: Sequence[Measurement], experiment: str, method: str, metric: str
) -> dict[tuple[str, int | None], Measurement]:
    """Measurements of one side by images, fold and seed: only what agrees in all can be paired."""
    return {
        (m.measured_on, m.fold, m.seed): m
        for m in measurements
        if (m.experiment, m.method) == (experiment, method) and metric in m.values
    }


def _verdict(low: float | None, high: float | None) -> str:
    """What an interval says: a claim is decided only where the whole of it is on one side of 0."""
    if low is None or low <= 0 <= high:
        return UNDECIDED
    return SUPPORTED if low > 0 else NOT_SUPPORTED


def _describe(claim: Claim) -> str:
    """Comparison in words; the experiments of the two sides are named where they differ."""
    ours, theirs = claim.method, claim.against_method
    if claim.experiment != claim.against_experiment:
        ours, theirs = f"{claim.experiment} {ours}", f"{claim.against_experiment} {theirs}"
    return f"{claim.experiment}: {MEASURES[claim.metric].title} of {ours} against {theirs}"
