"""The table of claims, for programs, for people, for the report, and as it is drawn."""

from collections.abc import Sequence
from dataclasses import astuple, fields

from unetcore.claims import NOT_SUPPORTED, SUPPORTED, UNDECIDED, Pair, Verdict
from unetcore.figures import Effect
from unetcore.tables import PROVENANCE_HEADING, csv_lines, html_list_page, markdown_table

TITLE = "Claims of the paper and of its readers"
COLUMNS = tuple(field.name for field in fields(Verdict))[:8]
PAIR_COLUMNS = ("claim", "experiment", *(field.name for field in fields(Pair)))
HEADER = ("claim", "where", "tested by", "effect", "{:.0%} interval", "over", "verdict", "cost")
SHORT_HEADER = ("claim", "where", "measured", *HEADER[3:7])
HOW_TO_READ = (
    "The effect is the mean gain over pairs of the same fold and seed, positive where the claim "
    "holds; two times are compared by their quotient, above 1 where it holds. The interval is over "
    "seeds, each averaged over its folds: it says whether the effect is one of chance in training, "
    "on these images, and nothing about others. (Of a single seed it is over folds, which share "
    "training images, so that it is too narrow.) A claim is supported if the whole interval is "
    "above 0 (1), not supported if it is below: so it was fixed in the configuration before the "
    "runs. Where there is a limit, every measurement has to keep it, and the least and the largest "
    "of them are shown. Not decided means that this evidence is too weak, not that nothing is "
    "there. A time window by window is that of some windows, times the pixels of a frame. Several "
    "claims share trainings, whose luck they share too; and with so many, one or another is "
    "decided by chance."
)


def csv_text(verdicts: Sequence[Verdict]) -> str:
    """Write the table of claims as CSV, one row per claim."""
    rows = ([getattr(verdict, column) for column in COLUMNS] for verdict in verdicts)
    return csv_lines(COLUMNS, rows)


def pairs_csv_text(verdicts: Sequence[Verdict]) -> str:
    """Write what each fold and seed says of the claims as CSV, one row per pair."""
    rows = [(v.claim, v.experiment, *astuple(pair)) for v in verdicts for pair in v.pairs]
    return csv_lines(PAIR_COLUMNS, rows)


def cells(verdict: Verdict) -> tuple[str, ...]:
    """Cells of a claim's line for people, as in `HEADER`."""
    v, times = verdict, " times" if verdict.ratio else ""
    if v.limited:
        measured = [pair.value for pair in v.pairs]
        effect = f"measured {min(measured):.3g} to {max(measured):.3g}"
        between = f"limit {v.pairs[0].against:g}"
    else:
        effect = _number(v.effect, v.ratio) + times
        bounds = [_number(bound, v.ratio) for bound in (v.low, v.high) if bound is not None]
        between = f"{' to '.join(bounds)}{times}" if bounds else ""
    return (v.claim, v.source, v.experiment, effect, between, v.evidence, v.verdict, v.cost)


def markdown_text(verdicts: Sequence[Verdict], confidence: float) -> str:
    """Write the table of claims for people; what tested each stands among the sources."""
    header = [name.format(confidence) for name in SHORT_HEADER]
    body = [(v.claim, v.source, v.measure, *cells(v)[3:6], f"**{v.verdict}**") for v in verdicts]
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
    origins = [f"{v.experiment}: {v.provenance}" for v in verdicts]
    return html_list_page(TITLE, HOW_TO_READ, header, [cells(v) for v in verdicts], origins)


def drawn(verdict: Verdict) -> Effect:
    """What the figure of claims shows of one."""
    line = cells(verdict)
    return Effect(
        claim=verdict.claim,
        text=f"{line[3]} ({line[4]})" if line[4] else line[3],
        verdict=verdict.verdict,
        sign={SUPPORTED: 1, NOT_SUPPORTED: -1, UNDECIDED: 0}[verdict.verdict],
        effect=verdict.effect,
        low=verdict.low,
        high=verdict.high,
        gains=verdict.gains,
        ratio=verdict.ratio,
    )


def _number(value: float, ratio: bool) -> str:
    """Three digits; of quotients no sign, and large ones in full."""
    if not ratio:
        return f"{value:+.3g}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
