"""The table of training speed means what its columns say."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_bare_node import BARE
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import training as program
from benchmarks import training_bench as speed
from benchmarks.timing import Row
from benchmarks.training_bench import Bench, training_operations
from benchmarks.training_results import Case, Ceiling, Measurement
from benchmarks.training_table import HEADER, formatted, line
from unetcore import cuda_graph
from unetcore.errors import InputError
from unetcore.model import UNet

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
TINY = ("--width", "2", "--seconds", "0.05", "--tile", "20", "--device", "cpu", "--threads", "1")

MEASURED = Measurement(
    "training", 64, 8, "float32", False,
    seconds=0.25, augmentation=0.125, operations=10**12, memory=3 * 2**20,
)  # fmt: skip


def test_operations_of_a_training_step_by_hand():
    # Width 1, depth 4, input 188: sides, channels in and out of all convolutions of Fig. 1.
    down = [(188, 1, 1), (92, 1, 2), (44, 2, 4), (20, 4, 8), (8, 8, 16)]
    up = [(8, 16, 8), (8, 8, 4), (8, 4, 2), (8, 2, 1)]
    forward = 0
    for side, c_in, c in down:
        forward += 9 * ((side - 2) ** 2 * c_in * c + (side - 4) ** 2 * c * c)
    for side, c_in, c in up:  # 4 x 4 px go up to 8 x 8
        forward += 4 * (side // 2) ** 2 * c_in * c
        forward += 9 * ((side - 2) ** 2 * c_in * c + (side - 4) ** 2 * c * c)
    forward += 4**2 * 1 * 2
    without = 9 * 186**2  # gradient of the image
    assert training_operations(1, 188) == 2 * (3 * forward - without)


@pytest.mark.parametrize(("width", "gigas"), [(64, 902.2), (32, 225.8), (16, 56.5)])
def test_operations_of_a_training_step_at_the_papers_tile(width, gigas):
    assert training_operations(width, 572) / 1e9 == pytest.approx(gigas, abs=0.051)


def test_operations_are_those_that_torch_counts():
    network = UNet(width=2)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, 204, 204)).sum().backward()
    assert counter.get_total_flops() == training_operations(2, 204)


def bench(seconds=0.01):
    return Bench(CPU, seconds, 20, speed.random_slices((2, 84, 84)))


def test_a_prediction_of_an_image_computes_only_what_it_needs():
    # 84 px is an output tile, so nothing is left out and the forward pass is counted in full.
    counted = bench().prediction_operations(Case("image", 2, 1, "float32", False))
    with FlopCounterMode(display=False) as counter:
        UNet(width=2)(torch.zeros(1, 1, 268, 268))
    assert counted == counter.get_total_flops()
    tiles = bench().prediction_operations(Case("tiles", 2, 3, "float32", False))
    with FlopCounterMode(display=False) as counter:
        UNet(width=2)(torch.zeros(3, 1, 204, 204))
    assert tiles == counter.get_total_flops()


def test_cells_are_the_numbers_of_a_measurement():
    ceiling = Ceiling(convolution=8e12, matrix_product=2e12)
    cells = dict(zip(HEADER, line(MEASURED, ceiling), strict=True))
    assert cells == {
        "task": "training",
        "width": "64",
        "batch": "8",
        "precision": "float32",
        "graph": "no",
        "ms": "250.00",
        "steps/s": "4.00",
        "tiles/s": "32.00",
        "augmentation": "12.5%",
        "TFLOP/s": "4.000",
        "of conv.": "0.50",
        "of mm": "2.00",
        "memory, MiB": "3",
    }
    header, row = map(formatted, (HEADER, tuple(cells.values())))
    assert len(header) == len(row)
    assert header.index("steps/s") + len("steps/s") == row.index(" 4.00") + len(" 4.00")


def test_what_was_not_measured_is_a_dash():
    cells = line(replace(MEASURED, seconds=math.nan, augmentation=math.nan), Ceiling(1, 1))
    assert cells[5:12] == ["-"] * 7
    assert cells[12] == "3"


def test_every_training_and_two_predictions_are_measured():
    found = speed.cases([16, 64], [1, 4], CPU)
    assert {case.graph for case in found} == {False}
    trainings = {(c.width, c.batch) for c in found if c.task == "training"}
    assert trainings == {(16, 1), (16, 4), (64, 1), (64, 4)}
    for task in ("image", "tiles"):
        assert {(c.width, c.batch) for c in found if c.task == task} == {(16, 1), (64, 1)}


def test_on_a_gpu_each_row_is_measured_with_and_without_a_graph(monkeypatch):
    monkeypatch.setattr(speed, "precisions", lambda device: ["float32", "bfloat16"])
    found = speed.cases([64], None, torch.device("cuda"))
    assert len(found) == len(set(found)) == 4 * 2 * 2
    assert {c.batch for c in found if c.task == "training"} == {1, 8}
    assert {c.batch for c in found if c.task == "tiles"} == {16}


def test_the_share_of_augmentation_is_that_of_cutting_as_many_tiles(monkeypatch):
    seconds = {"cut": 0.0}

    def median_seconds(function, device, seconds_):
        seconds["cut"] = len(function())  # one second for each tile
        return seconds["cut"]

    monkeypatch.setattr(speed, "median_seconds", median_seconds)
    monkeypatch.setattr(speed, "_seconds_per_step", lambda history: 30.0)
    measured = bench().measure(Case("training", 2, 3, "float32", False))
    assert measured.seconds == 30
    assert measured.augmentation == 3 / 30
    assert measured.operations == 3 * training_operations(2, 204)


def test_time_of_a_step_leaves_out_the_first_row():
    history = [
        type("Row", (), {"step": step, "seconds": seconds})
        for step, seconds in ((10, 100.0), (20, 110.0), (30, 130.0), (40, 140.0))
    ]
    assert speed._seconds_per_step(history) == 1.0


def test_memory_that_does_not_suffice_leaves_a_row_without_numbers(monkeypatch):
    def fail(self, case):
        try:
            raise torch.OutOfMemoryError("16 GiB asked for")
        except torch.OutOfMemoryError as error:
            raise InputError("a tile of 20 px would fit") from error

    monkeypatch.setattr(Bench, "training", fail)
    measured = bench().measure(Case("training", 2, 1, "float32", False))
    assert math.isnan(measured.seconds)
    assert measured.operations == training_operations(2, 204)


def test_another_failure_is_no_row(monkeypatch):
    def fail(self, case):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Bench, "training", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        bench().measure(Case("training", 2, 1, "float32", False))


def test_a_row_without_graph_never_captures_one():
    kept = cuda_graph.WARM_UP
    with speed._graphs(False):
        assert kept < 10**6 < cuda_graph.WARM_UP
    with speed._graphs(True):
        assert kept == cuda_graph.WARM_UP
    assert kept == cuda_graph.WARM_UP


def run_bare(folder, *arguments):
    """Run the script in a folder, with torch and NumPy alone."""
    script = str(ROOT / "benchmarks/training.py")
    start = f"""
{BARE}
HAS.add("benchmarks")
import runpy
sys.argv = {[script, *TINY, *map(str, arguments)]!r}
sys.path[0] = {str(ROOT / "benchmarks")!r}
runpy.run_path({script!r}, run_name="__main__")
"""
    return subprocess.run(
        [sys.executable, "-c", start], cwd=folder, capture_output=True, text=True, timeout=300,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )  # fmt: skip


def test_table_and_json_of_a_run_on_a_machine_with_torch_and_numpy_alone(tmp_path, capsys):
    found = tmp_path / "found.json"
    done = run_bare(tmp_path, "--json", found)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "numba is not installed: torch cuts the tiles, which takes a CPU longer"
    ]
    content = json.loads(found.read_text())
    assert content["device"] == "cpu"
    assert content["machine"]["threads"] == 1
    assert content["machine"]["tiles cut by"] == "torch"
    assert (content["image"], content["input_tile"]) == (512, 204)
    rows = content["rows"]
    assert {row["task"] for row in rows} == {"training", "image", "tiles"}
    for row in rows:
        assert row["seconds"] > 0
        assert (row["augmentation"] is None) == (row["task"] != "training")
    head, *table = done.stdout.splitlines()[-1 - len(rows) :]
    assert re.split(" {2,}", head.strip()) == list(HEADER)
    program.main(["--from", str(found)])  # says the same, and measures nothing
    assert capsys.readouterr().out == done.stdout
    for row, printed in zip(rows, table, strict=True):
        cells = dict(zip(HEADER, re.split(" {2,}", printed.strip()), strict=True))
        assert (cells["task"], cells["precision"]) == (row["task"], row["precision"])
        ceiling = content["ceilings"][row["precision"]]["convolution"]
        rate = row["operations"] / row["seconds"]
        assert float(cells["ms"]) == pytest.approx(1000 * row["seconds"], abs=0.01)
        assert float(cells["of conv."]) == pytest.approx(rate / ceiling, abs=0.01)


def test_the_page_is_refused_before_anything_is_measured_where_packages_are_missing(tmp_path):
    done = run_bare(tmp_path, "--page")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "--page: yaml is not installed here, take --json, and --from where it is\n"
    )


def test_a_gpu_that_is_not_there_is_said_in_one_line():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/training.py", "--device", "gpu"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.startswith("a GPU is asked for and none is there")


def test_rows_of_make_bench_hold_the_rate_against_that_of_the_convolution(monkeypatch):
    monkeypatch.setattr(program, "random_slices", lambda: None)
    monkeypatch.setattr(program, "choose_device", lambda: CPU)
    monkeypatch.setattr(program, "precisions", lambda device: ["bfloat16"])
    monkeypatch.setattr(Bench, "ceiling", lambda self, precision: Ceiling(8e12, math.nan))
    monkeypatch.setattr(Bench, "measure", lambda self, case: replace(MEASURED, width=case.width))
    rows = program.training_speed()
    assert rows[0] == Row(
        "training step, 572 tile, width 16, bfloat16", 4.0, 8.0, 0.5, "TFLOP/s",
        "3x3 convolution, 256 to 256 channels",
    )  # fmt: skip
    assert rows[1].name.endswith("width 64, bfloat16")


def test_random_slices_are_finite_and_of_both_classes():
    data = speed.random_slices((2, 30, 20))
    assert data.images.shape == (2, 30, 20)
    assert set(np.unique(data.classes)) == {0, 1}
    assert data.weights.min() > 0
