"""What many jobs cost: the arithmetic of the page, and the graph that it measures."""

from dataclasses import replace

import pytest

from benchmarks import scale
from benchmarks.scale import (
    SIZES,
    Cost,
    Volumes,
    cpu_rate,
    dry_run,
    gpu_rate,
    n_jobs,
    overlay,
    owner,
)
from unetcore.errors import InputError

SMALL = Volumes(volumes=2, slices=3, side=2000, parts=4, chunk=512, bytes_in=2, gpus=2)


def test_jobs_files_and_pixels_of_volumes():
    assert SMALL.jobs == 2 * (1 + 4 + 1) + 1
    assert SMALL.megapixels == 2 * 3 * 4
    assert SMALL.chunks == 2 * 3 * 4 * 4  # 2000 px are three chunks of 512 and a part of one
    assert SMALL.small_files == 4 * 13
    assert SMALL.sides == [2000, 1000, 500]
    assert SMALL.files_out == 6 * (16 + 4 + 1)
    assert SMALL.megapixels_out == 6 * (4 + 1 + 0.25)


def test_bytes_and_time_of_volumes_in_the_table():
    table = scale.table_of_volumes(replace(SMALL, volumes=2000), Cost(0, 5, 0), start=2, end=0.001)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    cells = {name: value for name, value, _ in rows}
    assert cells["images"] == "48 GB"  # 24 gigapixels
    assert cells["CPU, keeping books"] == "12 s"  # of 12,001 jobs
    assert cells["CPU, planning"] == "5 s"
    assert cells["CPU, starting jobs"] == "6.7 h"


def test_hours_of_devices_are_seconds_of_megapixels():
    (line,) = scale.table_of_devices(SMALL, {"a GPU": 300.0}).splitlines()[2:]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    # 24 megapixels of 300 s are 2 h, in 8 parts of 15 min, on two devices 1 h
    assert cells == ["a GPU", "300", "2.0 h", "15 min", "60 min"]


def test_graph_has_the_jobs_that_are_counted():
    cost = dry_run(10)
    assert cost.jobs == n_jobs(*SIZES[10]) == 12
    assert cost.seconds > 0
    assert 2**25 < cost.memory < 2**31


def test_graph_of_volumes_has_the_jobs_that_are_counted():
    assert scale.dry_run_of_volumes(SMALL).jobs == 13


def test_another_graph_is_refused(monkeypatch):
    monkeypatch.setattr(scale, "n_jobs", lambda *size: 13)
    with pytest.raises(InputError, match="12 jobs were planned, 13 were meant"):
        dry_run(10)


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_about_as_many_jobs_as_they_are_called(size):
    n_experiments, n_seeds = SIZES[size]
    assert n_jobs(n_experiments, n_seeds) == pytest.approx(size, rel=0.25)
    assert len(overlay(n_experiments, n_seeds)["experiments"]) == n_experiments


def test_rates_are_those_of_the_pages(tmp_path, monkeypatch):
    docs = tmp_path / "docs"
    docs.mkdir()
    row = "| time of a 512 image, width 64, bfloat16 | the paper | s | 0.524288 | 1 | 1.9 | | |"
    (docs / "benchmarks.md").write_text(f"- hardware: two cores\n\n{row}\n")
    begin, end = (f"<!-- measured on a gpu: {mark} -->" for mark in ("begin", "end"))
    (docs / "training-speed.md").write_text(f"{begin}\n\nNot measured yet.\n\n{end}\n")
    monkeypatch.chdir(tmp_path)
    assert cpu_rate() == (2.0, "two cores")
    assert gpu_rate() is None
    row = "| image    |    64 |     1 |  bfloat16 |   yes | 2.62144 | 381 | 381 |"
    (docs / "training-speed.md").write_text(f"{begin}\n- hardware: a GPU\n\n{row}\n{end}\n")
    assert gpu_rate() == (pytest.approx(0.01), "a GPU")


def test_the_page_of_benchmarks_has_the_rate():
    seconds, machine = cpu_rate()
    assert 0 < seconds < 100
    assert machine


def test_owner_of_a_function_is_found_by_its_file():
    assert owner("/x/site-packages/snakemake/dag.py update") == "Snakemake"
    assert owner("/x/workflow/rules/common.smk setting").startswith("this workflow")
    assert owner("/usr/lib/python3.11/inspect.py signature").startswith("Python: signatures")
    assert owner("~ <built-in method builtins.len>") == scale.REST


def test_a_number_of_nothing_is_refused():
    with pytest.raises(InputError, match="--parts 0: need more than 0"):
        scale.main(["--parts", "0"])


def test_a_gpu_that_was_not_measured_is_a_wish():
    seconds, words = scale.goal_rate()
    assert seconds == pytest.approx(1e6 / (1200 * 384**2))  # 1,200 tiles a second, of 384 px a side
    assert "goal" in words
