"""Figures to reach, and what a measurement makes of them."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.timing import Row

FILE = Path(__file__).with_name("goals.yaml")


@dataclass(frozen=True)
class Goal:
    """What one row has to reach.

    Attributes
    ----------
    name, peer : the row.
    column : column that is judged, "ratio" or "ours".
    at_least, at_most : the figure, one of the two.
    floor : figure that must not be missed; None: nothing fails.
    note : what was found out about a row that misses its figure.
    target : of make, that measures the row.
    """

    name: str
    peer: str
    column: str
    at_least: float | None = None
    at_most: float | None = None
    floor: float | None = None
    note: str = ""
    target: str = "bench"

    def __str__(self) -> str:
        sign, figure = ("≥", self.at_least) if self.at_most is None else ("≤", self.at_most)
        floor = "" if self.floor in (None, figure) else f" (floor {self.floor:g})"
        return f"{self.column} {sign} {figure:g}{floor}"

    def is_reached(self, row: Row) -> bool:
        return self._within(row, self.at_least if self.at_most is None else self.at_most)

    def is_missed_by_far(self, row: Row) -> bool:
        return self.floor is not None and not self._within(row, self.floor)

    def _within(self, row: Row, figure: float) -> bool:
        value = getattr(row, self.column)
        return value >= figure if self.at_most is None else value <= figure


def read_goals(path: Path = FILE) -> dict[tuple[str, str], Goal]:
    """Goals by name and peer of their rows."""
    goals = (Goal(**entry) for entry in yaml.safe_load(path.read_text("utf-8")))
    return {(goal.name, goal.peer): goal for goal in goals}


def without_row(goals: dict, rows: list[Row], precisions: list[str]) -> list[str]:
    """Names of goals of `make bench` that nothing was measured for.

    Those in a precision that is not computed in are left out.
    """
    measured = {(row.name, row.peer_name) for row in rows}
    return [
        goal.name
        for key, goal in goals.items()
        if goal.target == "bench"
        and key not in measured
        and ("bfloat16" not in goal.name or "bfloat16" in precisions)
    ]


def verdict(goal: Goal | None, row: Row) -> str:
    """One word: reached, missed, or FAILED where it is below the floor; nothing without a goal."""
    if goal is None:
        return ""
    if goal.is_missed_by_far(row):
        return "FAILED"
    return "reached" if goal.is_reached(row) else "missed"
