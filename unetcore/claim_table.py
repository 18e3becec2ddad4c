"""The table of claims, for programs, for people, for the report, and as it is drawn."""

import statistics
from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import NamedTuple

from unetcore.claims import NOT_SUPPORTED, SUPPORTED, UNDECIDED, Pair, Verdict
from unetcore.figures import Effect
from unetcore.tables import PROVENANCE_HEADING, html_list_page, markdown_table
from unetcore.tidy import csv_lines

TITLE = "Claims of the paper and of its readers"
COLUMNS = ("claim", "experiment", "effect", "low", "high", "n", "verdict", "provenance")
PAIR_COLUMNS = ("claim", "experiment", *(field.name for field in fields(Pair)))
HEADER = ("claim", "where", "tested by", "effect", "{:.0%} interval", "over", "verdict", "cost")
SHORT_HEADER = ("claim", "where", "measured", "effect", "{:.0%} interval", "over", "verdict")
HOW_TO_READ = (
    "The effect is the mean gain over pairs of the same fold and seed, positive where the claim "
    "holds; two times are compared by their quotient, above 1 where it holds. The interval is over "
    "seeds, each averaged over its folds: it says whether the effect is one of chance in training, "
    "on these images, and nothing about others. A claim is supported if the whole interval is "
    "above 0 (1), not supported if it is below; a single seed has no interval and decides nothing. "
    "What is compared with what, and the confidence, stands in the configuration. Where there is a "
    "limit, every measurement has to keep it, and the least and the largest of them are shown. Not "
    "decided means that this evidence is too weak, not that nothing is there. A time window by "
    "window is that of some windows, times the pixels of a frame. Several claims share trainings, "
    "whose luck they share too; and with so many, one or another is decided by chance."
)


class Written(NamedTuple):
    """Effect and interval of a claim, in words."""

    effect: str
    interval: str


def csv_text(verdicts: Sequence[Verdict]) -> str:
    """Write the table of claims as CSV, one row per claim."""
    rows = ([getattr(verdict, column) for column in COLUMNS] for verdict in verdicts)
    return csv_lines(COLUMNS, rows)


def pairs_csv_text(verdicts: Sequence[Verdict]) -> str:
    """Write what each fold and seed says of the claims as CSV, one row per pair."""
    rows = [(v.claim, v.experiment, *astuple(pair)) for v in verdicts for pair in v.pairs]
    return csv_lines(PAIR_COLUMNS, rows)


def written(verdict: Verdict) -> Written:
    """Write effect and interval; of a limit, what was measured and the limit."""
    if verdict.limited:
        measured = [pair.value for pair in verdict.pairs]
        limit = f"limit {verdict.pairs[0].against:g}"
        return Written(f"measured {min(measured):.3g} to {max(measured):.3g}", limit)
    times = " times" if verdict.ratio else ""
    bounds = [bound for bound in (verdict.low, verdict.high) if bound is not None]
    interval = " to ".join(_number(bound, verdict.ratio) for bound in bounds)
    effect = _number(verdict.effect, verdict.ratio) + times
    return Written(effect, interval + times if interval else "")


def markdown_text(verdicts: Sequence[Verdict], confidence: float) -> str:
    """Write the table of claims for people; what tested each stands among the sources."""
    header = [name.format(confidence) for name in SHORT_HEADER]
    body = [
        (v.claim, v.source, v.measure, *written(v), v.evidence, f"**{v.verdict}**")
        for v in verdicts
    ]
    sources = [f"- **{v.claim}**: {v.experiment}: {v.provenance}" for v in verdicts]
    parts = [
        f"# {TITLE}",
        HOW_TO_READ,
        markdown_table(header, body),
        f"## {PROVENANCE_HEADING}",
        "\n".join(sources),
    ]
    return "\n\n".join(parts) + "\n"


def html_text(verdicts: Sequence[Verdict], confidence: float) -> str:
    """Write the table of claims as a page of the report."""
    header = [name.format(confidence) for name in HEADER]
    body = [
        (v.claim, v.source, v.experiment, *written(v), v.evidence, v.verdict, v.cost)
        for v in verdicts
    ]
    origins = [f"{v.experiment}: {v.provenance}" for v in verdicts]
    return html_list_page(TITLE, HOW_TO_READ, header, body, origins)


def drawn(verdict: Verdict) -> Effect:
    """What the figure of claims shows of one: differences as shares of the other side's mean."""
    effect, interval = written(verdict)
    against = statistics.fmean(abs(pair.against) for pair in verdict.pairs)
    unit = 1 if verdict.ratio or not against else against
    return Effect(
        claim=verdict.claim,
        text=f"{effect} ({interval})" if interval else effect,
        verdict=verdict.verdict,
        sign={SUPPORTED: 1, NOT_SUPPORTED: -1, UNDECIDED: 0}[verdict.verdict],
        effect=verdict.effect / unit,
        low=None if verdict.low is None else verdict.low / unit,
        high=None if verdict.high is None else verdict.high / unit,
        gains=[gain / unit for gain in verdict.gains],
        ratio=verdict.ratio,
    )


def _number(value: float, ratio: bool) -> str:
    """Three digits; of quotients no sign, and large ones in full."""
    if not ratio:
        return f"{value:+.3g}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
