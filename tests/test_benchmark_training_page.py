"""Results of training speed as a file and as the sections of docs/training-speed.md."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import training as program
from benchmarks import training_bench
from benchmarks.goals import read_goals
from benchmarks.timing import Row
from benchmarks.training_bench import cases
from benchmarks.training_page import Page, compared, section
from benchmarks.training_results import Case, Ceiling, Measurement, Results
from benchmarks.training_table import CONVOLUTION, HEADER
from unetcore.errors import InputError

CEILINGS = {"float32": Ceiling(2e12, 1e12), "bfloat16": Ceiling(4e12, 3e12)}


def measured(case, seconds=0.25):
    """Numbers that are easy to follow: 10**12 operations, a sixteenth of it for its tiles."""
    share = 0.0625 if case.task == "training" else math.nan
    return Measurement(
        **vars(case), seconds=seconds, augmentation=share, operations=10**12, memory=2**20
    )


def results(device, *found):
    machine = {"date": "2015-05-18", "hardware": f"some {device}"}
    return Results(device, machine, image=512, input_tile=572, ceilings=CEILINGS, rows=[*found])


TRAINING = Case("training", 64, 1, "bfloat16", False)


@pytest.fixture
def all_rows(monkeypatch):
    """Results of a whole run on a device, as the command measures by default."""
    monkeypatch.setattr(training_bench, "precisions", lambda device: ["float32", "bfloat16"])
    kinds = {"cpu": "cpu", "gpu": "cuda"}

    def of(device):
        found = cases([16, 32, 64], None, torch.device(kinds[device]))
        return results(device, *map(measured, found))

    return of


@pytest.fixture
def page(tmp_path):
    """Copy of the page."""
    return Path(shutil.copy(program.PAGE, tmp_path))


def test_a_file_holds_all_numbers(tmp_path):
    path = tmp_path / "found.json"
    lacking = replace(measured(TRAINING), seconds=math.nan, augmentation=math.nan)
    found = results("gpu", measured(TRAINING), lacking)
    found.write(path)
    json.loads(path.read_text(), parse_constant=pytest.fail)  # NaN is none of JSON's words
    read = Results.read(path)
    assert replace(read, rows=read.rows[:1]) == results("gpu", measured(TRAINING))
    assert math.isnan(read.rows[1].seconds)
    assert math.isnan(read.rows[1].augmentation)
    assert read.rows[1].memory == 2**20


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "{}", '{"ceilings": {}, "rows": [{"width": 2}]}']
)
def test_another_file_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "found.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(
        InputError, match=r"found\.json: need a file that --json has written \(.+\)$"
    ):
        program.main(["--from", str(path)])


def test_a_run_replaces_the_section_of_its_device_alone(tmp_path, page):
    empty = page.read_text("utf-8")
    found = {device: results(device, measured(TRAINING)) for device in ("cpu", "gpu")}
    for device, each in found.items():
        each.write(tmp_path / device)
        program.main(["--from", str(tmp_path / device), "--page", str(page)])
    text = page.read_text("utf-8")
    assert text.count("some cpu") == text.count("some gpu") == 1
    assert text.index("## CPU") < text.index("some cpu") < text.index("## GPU")
    assert text.index("## GPU") < text.index("some gpu")
    assert text[: text.index("## CPU")] == empty[: empty.index("## CPU")]
    again = replace(found["gpu"], machine={"hardware": "another gpu"})
    Page(page).write(again)
    assert page.read_text("utf-8") == text.replace(section(found["gpu"]), section(again))


def test_a_page_without_a_place_is_refused_before_anything_is_measured(page, monkeypatch):
    monkeypatch.setattr(program, "_measure", pytest.fail)
    page.write_text(page.read_text("utf-8").replace("measured on a gpu: end", ""))
    with pytest.raises(InputError, match=r"speed\.md: expected <!-- measured on a gpu: begin -->"):
        program.main(["--page", str(page)])


def test_figures_to_reach_on_a_cpu_by_hand():
    # A quarter of a second for 10^12 operations; the convolution does them in a quarter too.
    narrow = replace(TRAINING, width=16)
    rows = compared(results("cpu", measured(narrow), measured(TRAINING, seconds=0.5)))
    assert rows == [
        Row("augmentation in a training step, width 16", 15.625, 250, 16, "ms", "the whole step"),
        Row(
            "training on a CPU, 572 tile, width 64, batch 1, bfloat16", 2, 4, 0.5, "tiles/s",
            CONVOLUTION,
        ),
    ]  # fmt: skip
    assert compared(replace(results("cpu", measured(narrow)), input_tile=556)) == []


def test_figures_to_reach_on_a_gpu_by_hand():
    eight = replace(TRAINING, batch=8, graph=True)
    image = replace(TRAINING, task="image", graph=True)
    rows = compared(results("gpu", measured(eight), measured(image, seconds=0.125)))
    assert [(row.ours, row.peer, row.ratio, row.unit) for row in rows] == [
        (32, 32, 1, "tiles/s"),
        (125, 250, 2, "ms"),
    ]


def test_the_fastest_way_is_judged_and_nothing_that_has_no_numbers(all_rows):
    names = [row.name for row in compared(all_rows("gpu"))]
    assert len(names) == len(set(names)) == 4  # batches 1 and 8, image, tiles
    assert all(name.endswith("bfloat16") for name in names)
    lacking = measured(replace(TRAINING, graph=True), seconds=math.nan)
    assert compared(results("gpu", lacking, measured(TRAINING))) == []  # too large; no graph


def test_every_figure_to_reach_has_a_row_of_the_run(all_rows):
    rows = {(row.name, row.peer_name) for d in ("cpu", "gpu") for row in compared(all_rows(d))}
    goals = read_goals()
    targets = {key for key, goal in goals.items() if goal.target == "bench-training"}
    assert len(targets) == 4
    assert targets < rows
    assert ("augmentation in a training step, width 16", "the whole step") in rows & set(goals)


def table_cells(text):
    return [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]


def test_a_section_has_machine_and_numbers(all_rows):
    text = section(all_rows("gpu"))
    assert "- hardware: some gpu\n" in text
    assert f"- ceilings, bfloat16: {CONVOLUTION}: 4.000 TFLOP/s; product of matrices: 3.000" in text
    cells = table_cells(text)
    assert list(HEADER) in cells
    assert sum(len(row) == len(HEADER) for row in cells) == 2 + 3 * 4 * 4  # widths, tasks, ways
    reached = ["training on a GPU, 572 tile, width 64, batch 8, bfloat16", CONVOLUTION, "tiles/s"]
    assert [*reached, "32", "32", "1", "ours ≥ 350", "missed"] in cells


@pytest.mark.parametrize(("milliseconds", "word"), [(5, "reached"), (5.01, "missed")])
def test_two_hundred_updates_a_second_reach_the_figure(milliseconds, word):
    row = measured(replace(TRAINING, graph=True), seconds=milliseconds / 1000)
    assert table_cells(section(results("gpu", row)))[-1][-2:] == ["ours ≥ 200", word]


def test_the_page_explains_every_column():
    text = program.PAGE.read_text("utf-8")
    assert [name for name in HEADER if f"**{name}**" not in text] == []
