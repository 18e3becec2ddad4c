"""What is published beside the tables: every training on record, and the README's results."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from unetcore.errors import InputError
from unetcore.tables.grouping import distinct, grouped
from unetcore.tables.layout import HOW_TO_READ, PROVENANCE_HEADING
from unetcore.tables.measurements import Measurement
from unetcore.tables.records import flat, read_record
from unetcore.tables.text import markdown_table
from unetcore.tidy import csv_lines

README_BEGIN = "<!-- results:begin -->"
README_END = "<!-- results:end -->"


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
        trainings.append(place | flat(read_record(path)) | place)  # the place first, and kept
    return trainings


def write_trainings(
    path: Path,
    trainings: Sequence[Mapping[str, object]],
    weight_maps: Mapping[str, Mapping[str, object]],
) -> None:
    """Write one CSV row per training; a column for every key that any of them has.

    Parameters
    ----------
    path : file to write.
    trainings : records of `read_trainings`.
    weight_maps : settings of the weight map by experiment. A training finds its map made and does
        not record them; they stand in columns called weight_map.SETTING.
    """
    rows = [
        training | flat({"weight_map": weight_maps[training["experiment"]]})
        for training in trainings
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = csv_lines(columns, ([row.get(key) for key in columns] for row in rows))
    Path(path).write_text(text, "utf-8")


def write_scores(path: Path, measurements: Sequence[Measurement]) -> None:
    """Write the metrics of every prediction, one CSV row per number."""
    columns = ("experiment", "fold", "seed", "method", "metric", "value")
    rows = [
        (m.experiment, m.fold, m.seed, m.method, metric, value)
        for m in measurements
        for metric, value in m.values.items()
    ]
    Path(path).write_text(csv_lines(columns, rows), "utf-8")


def cost_table(trainings: Sequence[Mapping[str, object]], study_of: Mapping[str, str]) -> str:
    """What the trainings of each experiment, or of all variants of a study, took, in Markdown.

    Parameters
    ----------
    trainings : records of `read_trainings`.
    study_of : name of the study by experiment, for those that are variants of one.

    Returns
    -------
    str, a line per name and hardware, with median and range of the minutes; the hardware is said
    once above them where it is the same for all, else in every line.
    """
    header = ["experiment or study", "trainings", "width", "steps", "minutes"]
    groups = grouped(
        trainings, lambda t: (study_of.get(t["experiment"], t["experiment"]), _machine(t))
    )
    machines = distinct(machine for _, machine in groups)
    if len(machines) == 1:
        body = [[name, *_cost_cells(group)] for (name, _), group in groups.items()]
        return f"All on {machines[0]}.\n\n{markdown_table(header, body)}"
    body = [[name, *_cost_cells(group), machine] for (name, machine), group in groups.items()]
    return markdown_table([*header, "hardware"], body)


def _cost_cells(trainings: Sequence[Mapping[str, object]]) -> list[str]:
    """Number of trainings, their widths and steps, and minutes."""
    facts = (" / ".join(distinct(t[key] for t in trainings)) for key in ("width", "steps"))
    minutes = [training["train_seconds"] / 60 for training in trainings]
    return [str(len(trainings)), *facts, _median_and_range(minutes)]


def _machine(training: Mapping[str, object]) -> str:
    """Hardware of a training, and threads."""
    return f"{training['hardware']}; {training['threads']} thread(s) each"


def _median_and_range(values: Sequence[float]) -> str:
    """Median of some numbers and, of several, the least and the largest."""
    median = f"{statistics.median(values):.1f}"
    return f"{median} ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else median


def readme_section(tables: Mapping[str, str], cost: str) -> str:
    """Results as the README shows them: every table without its list of sources.

    Parameters
    ----------
    tables : Markdown of each table, as `markdown` makes it, by the address of the whole file.
    cost : Markdown of `cost_table`.

    Returns
    -------
    str, headings two levels lower; how to read the numbers is said once.
    """
    sections = [HOW_TO_READ]
    for address, text in tables.items():
        shown, _, _ = text.replace(f"{HOW_TO_READ}\n\n", "").partition(f"## {PROVENANCE_HEADING}")
        lines = [f"##{line}" if line.startswith("#") else line for line in shown.splitlines()]
        link = f"Where each number comes from: [{address}]({address})."
        sections.append("\n".join(lines).strip() + "\n\n" + link)
    return "\n\n".join([*sections, "### What the trainings took", cost])


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
