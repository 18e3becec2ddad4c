"""Measurements as csv files, and as the page of the documentation that is made from them."""

import csv
import inspect
import json
from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path

from benchmarks.goals import Goal, verdict
from benchmarks.timing import Row
from unetcore.errors import InputError
from unetcore.tables.text import markdown_table

COLUMNS = [field.name for field in fields(Row)]
HEADER = ("what", "against", "unit", "ours", "theirs", "ratio", "to reach", "")
HEAD = """\
# How fast, and how exact

Made by `make bench`; its numbers stand in `results/bench/*.csv` afterwards. Ours and theirs take
turns in one process, and each number is the median of several rounds. Compare ratios: times depend
on the machine and on what else it does. A ratio says how many times better ours is; below 1 theirs
is. The figures to reach stand in `benchmarks/goals.yaml`; below its floor a row fails the run.
"""


def write_csv(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(row) for row in rows)


def read_csv(path: Path) -> list[Row]:
    with open(path, newline="", encoding="utf-8") as file:
        return [_row(**record) for record in csv.DictReader(file)]


def write_page(path: Path, folder: Path, comparisons: dict[str, Callable], goals: dict) -> None:
    """Write the page from the csv files of `folder`, in the order of `comparisons`.

    What a comparison's function says of itself stands above its table.
    """
    machine = json.loads((folder / "machine.json").read_text("utf-8"))
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    parts = [HEAD, facts + "\n"]
    for name, function in comparisons.items():
        table = judged(read_csv(folder / f"{name}.csv"), goals)
        parts.append(f"## {name.replace('_', ' ')}\n\n{inspect.getdoc(function)}\n\n{table}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts), encoding="utf-8")


def judged(rows: list[Row], goals: dict[tuple[str, str], Goal]) -> str:
    """Table of rows with what they had to reach, and notes on those that missed it."""
    pairs = [(row, goals.get((row.name, row.peer_name))) for row in rows]
    notes = [
        f"- {row.name}: {goal.note}" for row, goal in pairs if is_missed(row, goal) and goal.note
    ]
    return "\n\n".join([markdown_table(HEADER, [cells(*pair) for pair in pairs]), *notes])


def is_missed(row: Row, goal: Goal | None) -> bool:
    return verdict(goal, row) in ("missed", "FAILED")


def cells(row: Row, goal: Goal | None) -> tuple[str, ...]:
    """Row as words, with what it had to reach."""
    numbers = (f"{row.ours:.4g}", f"{row.peer:.4g}", f"{row.ratio:.3g}")
    return row.name, row.peer_name, row.unit, *numbers, str(goal or ""), verdict(goal, row)


def put_between(path: Path, name: str, content: str) -> None:
    """Put content between the two marks of a name in a page, in place of what stands there.

    Raises
    ------
    InputError : see `around`.
    """
    before, after = around(path, name)
    path.write_text(f"{before}\n\n{content}\n\n{after}", encoding="utf-8")


def write_measured(path: Path, facts: str, table: str) -> None:
    """Print what was measured and where, and put it between the marks of a page.

    Raises
    ------
    InputError : see `around`.
    """
    print(facts, table, sep="\n\n")
    put_between(path, "measured", f"{facts}\n\n{table}")


def around(path: Path, name: str) -> tuple[str, str]:
    """Text of a page to the end of the first mark of a name, and from the second one on.

    Raises
    ------
    InputError : no page, or the marks are not there, once each and in this order.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such page")
    text = path.read_text("utf-8")
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(end) < text.index(begin):
        raise InputError(f"{path}: expected {begin} and then {end}, once each")
    return text[: text.index(begin) + len(begin)], text[text.index(end) :]


def _row(name, ours, peer, ratio, unit, peer_name) -> Row:
    return Row(name, float(ours), float(peer), float(ratio), unit, peer_name)
