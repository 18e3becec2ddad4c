"""Progress of a training: a bar on a terminal, lines in a log."""

import io
import sys

import pytest

from unetcore import terminal
from unetcore.history import Progress


def row(step):
    return Progress(step, 0.41204, 1e-3, 2.5, 0.5, 6.1, 33.0)


class Screen(io.StringIO):
    """What stands in for a terminal."""

    def isatty(self):
        return True


def test_bar_shows_step_loss_rate_speed_and_time_left(monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := Screen())
    with terminal.progress(700, 100) as report:
        assert " 14 % |" in screen.getvalue()  # an earlier run's steps are done
        report(row(120))
        report(row(700))
    last = screen.getvalue().rpartition("\r")[2]
    assert last.startswith("100 % |")
    assert "| 700/700 steps, 00:00 left, loss 0.412, rate 1e-03, 6.1 tiles/s" in last


def test_bar_counts_each_step_once(monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := Screen())
    with terminal.progress(700, 0) as report:
        for step in (20, 40, 350):
            report(row(step))
    assert "| 350/700 steps, " in screen.getvalue().rpartition("\r")[2]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(-1, [20, 40, 60]), (1e9, [60])], ids=["always", "never"]
)
def test_log_has_a_line_now_and_then_and_the_last(caplog, monkeypatch, seconds, expected):
    caplog.set_level("INFO")
    monkeypatch.setattr(terminal, "LINE_SECONDS", seconds)
    with terminal.progress(60, 0) as report:
        for step in (20, 40, 60):
            report(row(step))
    assert [message.split()[1] for message in caplog.messages] == [f"{s}/60" for s in expected]


def test_time_left_counts_all_tiles_of_a_step(caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr(terminal, "LINE_SECONDS", -1)
    with terminal.progress(700, 0, tiles_per_step=2) as report:
        report(row(200))
    (line,) = caplog.messages  # 500 steps of 2 tiles at 6.1 tiles/s: 164 s
    assert line == "step 200/700  loss 0.4120  rate 1.0e-03  6.1 tiles/s  2:44 left"
