"""The record of a training: its file, and the line of a log."""

import csv
import dataclasses
import io

import pytest

from unetcore.history import Progress, history_table, progress_line

ROW = Progress(
    step=200, loss=0.41204, learning_rate=1e-3, gradient_norm=2.5, foreground=0.75,
    tiles_per_second=6.1, seconds=33.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "tiles_per_step", "speed", "left"),
    [
        (700, 1, 6.1, "1:22"),  # 500 tiles
        (700, 4, 6.1, "5:28"),
        (7000, 1, 6.1, "18:35"),
        (30000, 1, 6.1, "1:21:25"),  # 29 800 tiles in 4885 s
        (30000, 1, 0.5, "16:33:20"),
        (200, 1, 6.1, "0:00"),
    ],
)
def test_progress_line_by_hand(steps, tiles_per_step, speed, left):
    row = dataclasses.replace(ROW, tiles_per_second=speed)
    assert progress_line(row, steps, tiles_per_step) == (
        f"step 200/{steps}  loss 0.4120  rate 1.0e-03  {speed} tiles/s  {left} left"
    )


def test_history_has_one_row_for_each_log_step():
    rows = [ROW, dataclasses.replace(ROW, step=400, loss=0.1 + 0.2, seconds=66.5)]
    table = list(csv.DictReader(io.StringIO(history_table(rows).decode())))
    assert list(table[0]) == [
        "step", "loss", "learning_rate", "gradient_norm", "foreground", "tiles_per_second",
        "seconds",
    ]  # fmt: skip
    found = [
        Progress(int(row.pop("step")), **{name: float(v) for name, v in row.items()})
        for row in table
    ]
    assert found == rows  # to the last digit
