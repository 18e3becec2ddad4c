"""Measure everything: `python -m benchmarks`, or some of it: `python -m benchmarks rand tiling`."""

import csv
import sys
from dataclasses import astuple, fields
from pathlib import Path

from benchmarks.comparisons import COMPARISONS
from benchmarks.timing import Row

FOLDER = Path("results/bench")
COLUMNS = [field.name for field in fields(Row)]
LINE = "{:52}{:>10}{:>10}{:>9}  {:20}{}"


def main(names: list[str]) -> None:
    if unknown := set(names) - set(COMPARISONS):
        sys.exit(f"{', '.join(sorted(unknown))}: need some of {', '.join(COMPARISONS)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    print(LINE.format(*COLUMNS))
    for name in names or COMPARISONS:
        rows = COMPARISONS[name]()
        with open(FOLDER / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(astuple(row) for row in rows)
        for row in rows:
            numbers = f"{row.ours:.4g}", f"{row.peer:.4g}", f"{row.ratio:.2f}"
            print(LINE.format(row.name, *numbers, row.unit, row.peer_name), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
