"""Result tables: measured and printed numbers, side by side but never mixed.

A table is a list of `Row`, one per number. It is written as tidy CSV for programs, as Markdown for
people and as HTML for the report. The readable forms have one block for every set of images that
numbers were measured on, so that a number from held-out training slices never stands in a column
with one from the secret test slices of a challenge.
"""

import csv
import html
import io
import json
import logging
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import yaml

from unetcore.data.frames import Frame
from unetcore.errors import InputError

logger = logging.getLogger(__name__)

PRINTED = "paper:"  # prefix of the methods whose numbers were read, not measured here
PROVENANCE_HEADING = "Where each number comes from"
README_BEGIN = "<!-- results:begin -->"
README_END = "<!-- results:end -->"
_REQUIRED = ("experiment", "dataset", "fold", "method", "seed", "measured_on", "metrics")


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


@dataclass(frozen=True)
class Row:
    """One number of a table.

    Attributes
    ----------
    dataset, method, metric : names; the method of a printed number begins with "paper:".
    value : mean over folds and seeds; a printed number is a Decimal with its digits as printed.
    sd : sample standard deviation (n - 1 in the denominator), None for n = 1 and printed numbers.
    n : number of predictions behind the mean, None for printed numbers.
    measured_on : on which images.
    provenance : where the number comes from.
    """

    dataset: str
    method: str
    metric: str
    value: float | Decimal
    sd: float | None
    n: int | None
    measured_on: str
    provenance: str


COLUMNS = tuple(field.name for field in fields(Row))


@dataclass(frozen=True)
class Printed:
    """What others have printed for one table: heading, notes and rows."""

    title: str
    notes: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Block:
    """Part of a readable table whose numbers were measured on the same images.

    Attributes
    ----------
    dataset, measured_on : what the heading says.
    source : publication of printed numbers, None for our own.
    header : titles of the columns.
    body : one tuple of cells per method; a cell without a number is empty.
    """

    dataset: str
    measured_on: str
    source: str | None
    header: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]


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
    content = _read_json(path)
    if missing := [key for key in _REQUIRED if key not in content]:
        raise InputError(f"{path}: key {missing[0]!r} is missing")
    values = {}
    for metric, result in content["metrics"].items():
        if metric not in MEASURES:
            raise InputError(f"{path}: metric {metric!r} is not among {', '.join(MEASURES)}")
        value = result.get("value")
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{path}: {metric} {value!r}, expected a finite number")
        values[metric] = float(value)
    names = (content[key] for key in ("experiment", "dataset", "fold", "method"))
    return Measurement(
        *map(str, names),
        content["seed"],
        content["measured_on"],
        values,
        content.get("provenance", {}),
    )


def summarise(measurements: Iterable[Measurement]) -> list[Row]:
    """Mean and standard deviation of every metric over folds and seeds.

    Measurements are pooled only if experiment, dataset, method *and* the images they were made on
    are the same.

    Parameters
    ----------
    measurements : in the order in which methods shall appear.

    Returns
    -------
    list of Row.
    """
    groups: dict[tuple, list[Measurement]] = {}
    for m in measurements:
        groups.setdefault((m.experiment, m.dataset, m.method, m.measured_on), []).append(m)
    rows = []
    for (_, dataset, method, measured_on), group in groups.items():
        provenance = describe_provenance(group)
        for metric in MEASURES:
            values = [m.values[metric] for m in group if metric in m.values]
            if not values:
                continue
            sd = statistics.stdev(values) if len(values) > 1 else None
            mean = statistics.fmean(values)
            rows.append(
                Row(dataset, method, metric, mean, sd, len(values), measured_on, provenance)
            )
    return rows


def describe_provenance(measurements: Sequence[Measurement]) -> str:
    """One line on where the numbers of some measurements of one experiment come from.

    Where trainings differ, every value is named once. Items are separated by semicolons.

    Examples
    --------
    >>> m = Measurement("em", "isbi2012", "0", "u-net", 3, "slices", {}, {"steps": 600})
    >>> describe_provenance([m])
    'experiment em; fold 0; seed 3; 600 steps'
    """
    first = measurements[0]
    items = [f"experiment {first.experiment}", _counted("fold", [m.fold for m in measurements])]
    if seeds := [m.seed for m in measurements if m.seed is not None]:
        items.append(_counted("seed", seeds))
    facts = [_flat(m.provenance) for m in measurements]
    for key, phrase in (
        ("variant", "network {}"),
        ("width", "width {}"),
        ("steps", "{} steps"),
        ("training.optimiser", "{}"),
        ("precision", "{}"),
        ("hardware", "{}"),
        ("threads", "{} thread(s)"),
        ("torch", "torch {}"),
        ("code", "code {}"),
        ("evaluation_code", "evaluated by code {}"),
    ):
        if values := _distinct(f[key] for f in facts if f.get(key) is not None):
            items.append(phrase.format(" / ".join(values)))
    if seconds := [f["train_seconds"] for f in facts if f.get("train_seconds") is not None]:
        items.append(f"trained {_duration(statistics.fmean(seconds))} each")
    return "; ".join(items)


def read_printed(path: Path, table: str) -> Printed:
    """Read what others have printed for one table.

    Parameters
    ----------
    path : YAML file with one entry per table, as workflow/schemas/paper.schema.yaml says.
    table : name of the table.

    Returns
    -------
    Printed; its numbers keep the digits of the file.

    Raises
    ------
    InputError : no such file, or no entry for the table.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    # BaseLoader leaves every number a string, so that 0.0010 does not become 0.001.
    entries = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)
    if table not in entries:
        raise InputError(f"{path}: table {table!r} is not among {', '.join(entries)}")
    entry = entries[table]
    rows = [
        Row(
            block["dataset"],
            PRINTED + row["group"],
            metric,
            Decimal(row[metric]),
            None,
            None,
            block["measured_on"],
            block["source"] + (f"; rank {row['rank']}" if "rank" in row else ""),
        )
        for block in entry["printed"]
        for row in block["rows"]
        for metric in MEASURES
        if metric in row
    ]
    return Printed(entry["title"], tuple(entry["notes"]), tuple(rows))


def merge(printed: Sequence[Row], measured: Sequence[Row]) -> list[Row]:
    """All rows of a table in reading order.

    Dataset by dataset: first the earliest printed block, then what was measured here, then later
    printed blocks.

    Parameters
    ----------
    printed, measured : rows, each in its own order.

    Returns
    -------
    list of Row. Printed rows of datasets that were not measured are kept, at the end.
    """
    rows = []
    for dataset in dict.fromkeys(row.dataset for row in (*measured, *printed)):
        theirs = [
            list(g) for _, g in groupby((r for r in printed if r.dataset == dataset), _images)
        ]
        for block in theirs[:1]:
            rows += block
        rows += [row for row in measured if row.dataset == dataset]
        for block in theirs[1:]:
            rows += block
    return rows


def label_notes(frames: Mapping[str, Sequence[Frame]]) -> list[str]:
    """Say what the labels of the datasets allow and what they do not.

    Parameters
    ----------
    frames : frames of each dataset, by its name.

    Returns
    -------
    list of str, a sentence or two each: test images without labels, and images with labels of only
    some cells.
    """
    notes = []
    for dataset, of_dataset in frames.items():
        test = [frame for frame in of_dataset if frame.split == "test"]
        if test and not any(frame.labelled for frame in test):
            notes.append(
                f"The archive of {dataset} holds no test labels: its {len(test)} test images can "
                "only be predicted. Our numbers come from training images that were held out, and "
                "are not comparable with those of the official test images."
            )
        labelled = [frame for frame in of_dataset if frame.labelled]
        if partial := [frame.id for frame in labelled if frame.partial]:
            notes.append(
                f"{len(partial)} of the {len(labelled)} labelled images of {dataset} "
                f"({', '.join(partial)}) have labels of some cells only: these are evaluated, "
                "and never trained on."
            )
    return notes


def blocks(rows: Sequence[Row]) -> list[Block]:
    """Arrange rows for reading: methods as lines, metrics as columns, one block per set of images.

    Parameters
    ----------
    rows : rows of a table, in reading order.

    Returns
    -------
    list of Block; measured and printed numbers are never in one block.
    """
    grouped: dict[tuple, list[Row]] = {}
    for row in rows:
        grouped.setdefault((*_images(row), _is_printed(row)), []).append(row)
    return [_block(group) for group in grouped.values()]


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write a table in tidy form, one row per number, columns as in `COLUMNS`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        cells = (getattr(row, column) for column in COLUMNS)
        writer.writerow("" if cell is None else _plain(cell) for cell in cells)
    Path(path).write_text(text.getvalue(), "utf-8")


def markdown(title: str, rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Readable twin of a table, in Markdown.

    Parameters
    ----------
    title : heading.
    rows : in reading order.
    notes : paragraphs below the blocks.

    Returns
    -------
    str: title, how to read it, the blocks, the notes, and where each number comes from.
    """
    parts = [f"# {title}", _HOW_TO_READ]
    for block in blocks(rows):
        parts += [
            f"## {block.dataset}: {_kind(block)}",
            f"Measured on: **{block.measured_on}**"
            + (f" ({block.source})" if block.source else ""),
            markdown_table(block.header, block.body),
        ]
    if notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    sources = [f"- **{names}**: {text}" for names, text in _sources(rows)]
    parts += [f"## {PROVENANCE_HEADING}", "\n".join(sources)]
    return "\n\n".join(parts) + "\n"


def markdown_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Table in Markdown that is aligned in plain text too.

    Parameters
    ----------
    header, body : cells; the first column holds names, the others numbers or short words.

    Examples
    --------
    >>> print(markdown_table(("method", "SEG"), [("u-net", "0.7756")]))
    | method |    SEG |
    | ------ | -----: |
    | u-net  | 0.7756 |
    """
    rulers = ("---", *("--:" for _ in header[1:]))
    lines = [header, rulers, *body]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_pipe_line(line, widths) for line in lines)


def html_page(title: str, rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Readable twin of a table, as one HTML page without outside references, for the report.

    Parameters, content: as `markdown`.
    """
    escape = html.escape
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(_HOW_TO_READ)}</p>"]
    for block in blocks(rows):
        source = f" ({escape(block.source)})" if block.source else ""
        parts += [
            f"<h2>{escape(block.dataset)}: {_kind(block)}</h2>",
            f"<p>Measured on: <strong>{escape(block.measured_on)}</strong>{source}</p>",
            "<table>",
            _html_line(block.header, "th"),
            *(_html_line(line, "td") for line in block.body),
            "</table>",
        ]
    if notes:
        parts += ["<h2>Notes</h2>", _html_list(escape(note) for note in notes)]
    sources = (f"<strong>{escape(names)}</strong>: {escape(t)}" for names, t in _sources(rows))
    parts += [f"<h2>{PROVENANCE_HEADING}</h2>", _html_list(sources)]
    return _PAGE.format(title=escape(title), body="\n".join(parts))


def training_of(path: Path) -> tuple[str, str, int]:
    """Experiment, fold and seed of a file that a training made.

    Examples
    --------
    >>> training_of(Path("results/runs/em/fold-0/seed-3/run.json"))
    ('em', '0', 3)
    """
    experiment, fold, seed = Path(path).parts[-4:-1]
    return experiment, fold.removeprefix("fold-"), int(seed.removeprefix("seed-"))


def read_trainings(paths: Sequence[Path]) -> list[dict[str, object]]:
    """Provenance of trainings: one record per run.json.

    Parameters
    ----------
    paths : files .../EXPERIMENT/fold-FOLD/seed-SEED/run.json.

    Returns
    -------
    list of dict: "experiment", "fold" and "seed" from the path, and the content of the file, where
    the parts of a section are called SECTION.PART and lists are joined by spaces.
    """
    trainings = []
    for path in paths:
        place = dict(zip(("experiment", "fold", "seed"), training_of(path), strict=True))
        trainings.append(place | _flat(_read_json(path)) | place)  # the place first, and kept
    return trainings


def write_trainings(path: Path, trainings: Sequence[Mapping[str, object]]) -> None:
    """Write one CSV row per training; a column for every key that any of them has."""
    columns = list(dict.fromkeys(key for training in trainings for key in training))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(trainings)
    Path(path).write_text(text.getvalue(), "utf-8")


def readme_section(tables: Mapping[str, str]) -> str:
    """Results as the README shows them: every table without its list of sources.

    Parameters
    ----------
    tables : Markdown of each table, as `markdown` makes it, by the address of the whole file.

    Returns
    -------
    str, headings two levels lower; how to read the numbers is said once.
    """
    sections = [_HOW_TO_READ]
    for address, text in tables.items():
        shown, _, _ = text.replace(f"{_HOW_TO_READ}\n\n", "").partition(f"## {PROVENANCE_HEADING}")
        lines = [f"##{line}" if line.startswith("#") else line for line in shown.splitlines()]
        link = f"Where each number comes from: [{address}]({address})."
        sections.append("\n".join(lines).strip() + "\n\n" + link)
    return "\n\n".join(sections)


def replace_results(readme: str, section: str, *, name: str = "README.md") -> str:
    r"""Put a section between the two result marks of a README.

    Parameters
    ----------
    readme : text with the lines ``<!-- results:begin -->`` and ``<!-- results:end -->``.
    section : what shall stand between them.
    name : what the message calls the text.

    Returns
    -------
    str

    Raises
    ------
    InputError : the marks are not there, once each and in this order.

    Examples
    --------
    >>> replace_results("A\n<!-- results:begin -->\nold\n<!-- results:end -->\nB", "new")
    'A\n<!-- results:begin -->\n\nnew\n\n<!-- results:end -->\nB'
    """
    before, begin, rest = readme.partition(README_BEGIN)
    _, end, after = rest.partition(README_END)
    if not (begin and end) or README_BEGIN in after or README_END in before + after:
        raise InputError(f"{name}: expected {README_BEGIN} and then {README_END}, once each")
    return f"{before}{begin}\n\n{section.strip()}\n\n{end}{after}"


_HOW_TO_READ = (
    "Smaller is better where ↓ stands, larger where ↑ stands. Our numbers are mean ± standard "
    "deviation over n predictions (folds and seeds). Numbers of different blocks were measured on "
    "different images: compare within a block only."
)

_PAGE = """\
<!doctype html>
<meta charset="utf-8">
<title>{title}</title>
<style>
.results {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 64rem; padding: 1rem; }}
.results h1 {{ font-size: 1.5rem; }}
.results h2 {{ font-size: 1.1rem; margin: 1.6rem 0 0; }}
.results p {{ margin: .2rem 0 .6rem; }}
.results table {{ border-collapse: collapse; width: auto; font-variant-numeric: tabular-nums; }}
.results th, .results td {{ padding: .25rem .9rem; text-align: right; white-space: nowrap; }}
.results th:first-child, .results td:first-child {{ text-align: left; padding-left: .2rem; }}
.results th {{ border-bottom: 1.5px solid #222; font-weight: 600; }}
.results td {{ border-bottom: 1px solid #ddd; }}
.results li {{ margin: .2rem 0; }}
</style>
<article class="results">
{body}
</article>
"""


def _block(rows: Sequence[Row]) -> Block:
    """Lines and columns of rows that were measured on the same images."""
    first = rows[0]
    ours = not _is_printed(first)
    metrics = [metric for metric in MEASURES if any(row.metric == metric for row in rows)]
    header = ["method", *(f"{MEASURES[m].title} {MEASURES[m].arrow}" for m in metrics)]
    body = []
    # Two experiments may share a method; their provenance tells them apart.
    for (method, _), of_method in _by(rows, lambda row: (row.method, _origin(row))).items():
        cells = {row.metric: _cell(row) for row in of_method}
        line = [method.removeprefix(PRINTED), *(cells.get(metric, "") for metric in metrics)]
        if ours:
            line.append(" / ".join(_distinct(row.n for row in of_method)))
        body.append(tuple(line))
    return Block(
        first.dataset,
        first.measured_on,
        None if ours else _origin(first),
        (*header, "n") if ours else tuple(header),
        tuple(body),
    )


def _cell(row: Row) -> str:
    """Format a number for people: 0.0382, or 0.0382 ± 0.0021."""
    if isinstance(row.value, Decimal):
        return _plain(row.value)
    decimals = MEASURES[row.metric].decimals
    spread = "" if row.sd is None else f" ± {row.sd:.{decimals}f}"
    return f"{row.value:.{decimals}f}{spread}"


def _plain(cell: object) -> str:
    """Format a value for the CSV; a printed number keeps its digits, never as 5E-6."""
    return f"{cell:f}" if isinstance(cell, Decimal) else str(cell)


def _kind(block: Block) -> str:
    return "printed by others" if block.source else "measured here"


def _pipe_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line of a Markdown table whose columns are aligned in plain text too."""
    padded = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        if set(cell) <= {"-", ":"} and cell:
            padded.append(cell[0] * (width - 1) + cell[-1])
        else:
            padded.append(cell.rjust(width) if place else cell.ljust(width))
    return f"| {' | '.join(padded)} |"


def _html_line(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _html_list(items: Iterable[str]) -> str:
    return "<ul>\n" + "\n".join(f"<li>{item}</li>" for item in items) + "\n</ul>"


def _sources(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Every origin once, with the datasets and methods whose numbers come from it."""
    found = []
    for (dataset, origin), of_origin in _by(rows, lambda row: (row.dataset, _origin(row))).items():
        if _is_printed(of_origin[0]):
            names = "printed by others"
        else:
            names = ", ".join(_distinct(row.method for row in of_origin))
        found.append((f"{dataset}, {names}", origin))
    return found


def _origin(row: Row) -> str:
    """Provenance without what differs between the lines of one printed block."""
    return row.provenance.partition("; rank ")[0] if _is_printed(row) else row.provenance


def _is_printed(row: Row) -> bool:
    return row.method.startswith(PRINTED)


def _images(row: Row) -> tuple[str, str]:
    return row.dataset, row.measured_on


def _by(rows: Iterable[Row], key) -> dict[tuple, list[Row]]:
    """Rows by a key, keys in order of appearance."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _distinct(values: Iterable[object]) -> list[str]:
    return list(dict.fromkeys(map(str, values)))


def _flat(content: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = " ".join(map(str, value)) if isinstance(value, list) else value
    return flat


def _counted(noun: str, values: Iterable[object]) -> str:
    names = _distinct(values)
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _read_json(path: Path) -> dict:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected one JSON object")
    return content
