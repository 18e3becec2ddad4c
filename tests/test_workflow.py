"""The workflow as a user runs it: dry runs, mistakes, and one small run from phantom to table."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from browser import chromium, errors, wait
from selenium.webdriver.common.by import By

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    "Snakefile",
    "config.yaml",
    "config",
    "envs",
    "profiles",
    "resources",
    "unetcore",
    "workflow",
)
TARGETS = ("demo", "table1", "table2", "figures", "claims", "paper", "studies", "publish")
CELL_METHODS = ("best-threshold", "u-net", "u-net+mirror4")
OFFLINE = {"UNET_DATA_MIRROR": ""}
SEEN = {"CUDA_VISIBLE_DEVICES": "0"}
WIDE = {"network": {"width": 3}}
STUDY = {
    "title": "Widths",
    "base": "demo",
    "folds": ["0"],
    "seeds": [0],
    "averaging": ["none"],
    "variants": {"narrow.2": {"network": {"width": 2}}, "wide": WIDE},
}


def claimed(changes):
    """Overlay with one claim about the demo."""
    claim = {"claim": "It helps", "source": "Sec. 4", "experiment": "demo", "method": "u-net+d4"}
    claim |= {"against_experiment": "demo", "against_method": "u-net"}
    return {"claims": {"comparisons": [claim | changes]}}


def snakemake(folder, *arguments, **environment):
    """Run snakemake in a folder; standard output and error come back as one text."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        env=os.environ | OFFLINE | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def copy_workflow(folder):
    ignore = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=ignore)
        else:
            shutil.copy(source, folder / part)
    return folder


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """Copy of the workflow in which nothing has run."""
    return copy_workflow(tmp_path_factory.mktemp("workflow"))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Copy of the workflow whose demo has run, with networks of width 2 trained for 6 steps."""
    folder = copy_workflow(tmp_path_factory.mktemp("smoke"))
    small = {
        "network": {"width": 2},
        "training": {"steps": 6, "output_tile": 68, "log_every": 2, "warmup_steps": 2},
    }
    overlay = {"experiments": {"demo": small | {"seeds": [0, 1]}, "demo-cells": small}}
    (folder / "smoke.yaml").write_text(yaml.safe_dump(overlay))
    result = snakemake(folder, "--configfile", "smoke.yaml", "--cores", "2")
    assert result.returncode == 0, result.stdout[-5000:]
    return folder


def dry_run_of_smoke(folder):
    return snakemake(folder, "--configfile", "smoke.yaml", "-n")


@pytest.mark.parametrize("target", TARGETS)
def test_dry_run_of_every_target(workflow, target):
    result = snakemake(workflow, "-n", target)
    assert result.returncode == 0, result.stdout[-3000:]
    assert "Nothing to be done" not in result.stdout


def test_paper_of_phantoms_in_a_folder_of_its_own_as_the_readme_says(workflow):
    line = "--configfile config.yaml config/phantom.yaml --directory phantom-paper"
    assert f"snakemake paper --cores 2 {line}" in (ROOT / "README.md").read_text("utf-8")
    result = snakemake(workflow, "-n", "paper", *line.split())
    assert result.returncode == 0, result.stdout[-3000:]
    assert "phantom-cells" in result.stdout
    assert "isbi2012" not in result.stdout


def test_dry_run_by_the_catalog_entry_point(workflow):
    result = snakemake(workflow, "--snakefile", "workflow/Snakefile", "-n", *TARGETS)
    assert result.returncode == 0, result.stdout[-3000:]
    assert "results/tables/table1.csv" in result.stdout


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_default_target_is_the_demo(workflow, snakefile):
    result = snakemake(workflow, "--snakefile", snakefile, "-n")
    assert result.returncode == 0
    assert "results/tables/demo.csv" in result.stdout


def test_overlay_for_two_cores_trains_each_sequence_by_three_seeds_and_leaves_out_u373(workflow):
    result = snakemake(workflow, "-n", "table2", "--configfile", "config/cpu.yaml")
    assert result.returncode == 0, result.stdout[-3000:]
    for fold in ("01", "02"):
        for seed in range(3):
            run = f"results/runs/hela-cpu/fold-{fold}/seed-{seed}/model.safetensors"
            assert run in result.stdout
    assert "phc-u373" not in result.stdout


def test_overlay_for_two_cores_runs_its_own_study_on_one_fold_and_no_wide_network(workflow):
    result = snakemake(workflow, "-n", "studies", "--configfile", "config/cpu.yaml")
    assert result.returncode == 0, result.stdout[-3000:]
    for rate in ("0.0003", "0.001", "0.003", "0.01"):
        assert f"results/runs/em-cpu-rate-{rate}/fold-4/seed-0/history.csv" in result.stdout
    for unwanted in ("runs/em-rate", "best-threshold", "fold-official"):
        assert unwanted not in result.stdout
    assert set(re.findall(r"em-cpu-rate-[\d.]+/fold-(\w+)/", result.stdout)) == {"4"}


def test_published_studies_are_copied_as_table_readable_twin_and_figure(workflow):
    result = snakemake(workflow, "-n", "publish", "--configfile", "config/cpu.yaml")
    assert result.returncode == 0, result.stdout[-3000:]
    for suffix in ("csv", "md", "svg"):
        assert f"docs/results/studies/em-cpu-rate.{suffix}" in result.stdout


def test_a_variant_that_changes_nothing_is_the_base_and_is_not_trained_again(workflow):
    result = snakemake(workflow, "-n", "results/studies/em-why.csv")
    assert result.returncode == 0, result.stdout[-3000:]
    assert "em-why-base" not in result.stdout
    (table,) = [line for line in result.stdout.splitlines() if "input: results/predictions" in line]
    for seed in range(3):
        for experiment in ("em", "em-why-no-shift"):
            path = f"results/predictions/{experiment}/fold-2/seed-{seed}/u-net/metrics.json"
            assert path in table
    assert "rot7" not in table  # which the base is also predicted by, and the study is not about
    assert "results/predictions/em/fold-0" not in table


@pytest.mark.parametrize(("study", "trains"), [("em-tiles", True), (None, False)])
def test_figure_of_tiles_and_batches_trains_only_for_a_study(workflow, tmp_path, study, trains):
    overlay = tmp_path / "study.yaml"
    overlay.write_text(yaml.safe_dump({"tiles_or_batches": {"study": study}}))
    figure = "results/figures/tiles_or_batches.svg"
    result = snakemake(workflow, "-n", figure, "--configfile", str(overlay))
    assert result.returncode == 0, result.stdout[-3000:]
    assert "results/tiles_or_batches/em.csv" in result.stdout
    assert ("rule train:" in result.stdout) == trains
    assert (
        "predictions/em-tiles-132x5/fold-2/seed-2/u-net/metrics.json" in result.stdout
    ) == trains


def test_figures_of_the_paper_are_published_of_phantoms_alone(workflow):
    result = snakemake(workflow, "-n", "publish", "figures", "--configfile", "config/cpu.yaml")
    assert result.returncode == 0, result.stdout[-3000:]
    for name in ("figure_1.svg", "figure_2.png", "figure_3.png", "figure_4.png", "tiling.png"):
        assert f"results/figures/paper/{name}" in result.stdout
        assert f"docs/results/demo-paper/{name}" in result.stdout
    assert "docs/results/paper" not in result.stdout


@pytest.mark.parametrize(
    ("overlay", "line"),
    [
        ({"dat": 1}, "at the top: unknown key 'dat', did you mean 'data'?"),
        (
            {"experiments": {"demo": {"training": {"step": 3}}}},
            "experiments.demo.training: unknown key 'step', did you mean 'steps'?",
        ),
        (
            {"experiments": {"demo": {"training": {"learning_rate": 0}}}},
            "experiments.demo.training.learning_rate: 0 is less than or equal to the minimum of 0",
        ),
        (
            {"experiments": {"demo": {"dataset": "phantom-en"}}},
            "experiments.demo: unknown dataset 'phantom-en', did you mean 'phantom-em'?",
        ),
        (
            {"experiments": {"demo": {"training": {"output_tile": 200}}}},
            "experiments.demo: output tile of 200 px: sizes that fit 4 poolings are 4 + 16 k, "
            "the nearest are 196 and 212",
        ),
        (
            {"experiments": {"em": {"folds": ["5"]}}},
            "experiments.em: fold '5' of 5 blocks, counted from 0",
        ),
        (
            {"experiments": {"em": {"averaging": ["none"]}}},
            "claim 'Averaging over seven rotated versions lowers the warping error': "
            "experiment 'em' has no u-net+rot7",
        ),
        ({"tables": {"table1": ["emm"]}}, "unknown experiment 'emm', did you mean 'em'?"),
        (
            {"studies": {"em-rate": {"base": "emm"}}},
            "studies.em-rate.base: unknown experiment 'emm', did you mean 'em'?",
        ),
        (
            {"studies": {"em-rate": {"chosen": "0.03", "reason": "It learns."}}},
            "studies.em-rate.chosen: unknown variant '0.03', did you mean '0.003'?",
        ),
        (
            {"studies": {"em-rate": {"chosen": "0.002"}}},
            "studies.em-rate: 'reason' is a dependency of 'chosen'",
        ),
        (
            {"studies": {"em-rate": {"variants": {0.02: {}}}}},
            "studies.em-rate.variants: 0.02 is not of type 'string'",
        ),
        (
            {"studies": {"em-rate": {"variants": {"a": {"training": {"step": 3}}}}}},
            "studies.em-rate.variants.a.training: unknown key 'step', did you mean 'steps'?",
        ),
        (
            {"studies": {"em-rate": {"folds": ["5"]}}},
            "studies.em-rate.variants.0.0003: fold '5' of 5 blocks, counted from 0",
        ),
        (
            {"studies": {"demo": STUDY | {"variants": {"cells": {}, "b": {}}}}},
            "studies.demo: a table has this name",
        ),
        (
            {"studies": {"em": STUDY | {"variants": {"rate-0.01": WIDE, "b": WIDE}}}},
            "studies.em-rate.variants.0.01: there is another experiment 'em-rate-0.01'",
        ),
        (
            {"studies": {"em-why": {"seeds": [0, 7]}}},
            "studies.em-why.variants.base: it is 'em' itself, which has no 7 among its seeds",
        ),
        (
            {"studies": {"twice": STUDY | {"folds": ["official"], "variants": {"a": {}, "b": {}}}}},
            "studies.twice.variants.b: another variant changes nothing either",
        ),
        (
            {"run_studies": ["emrate"]},
            "run_studies: unknown study 'emrate', did you mean 'em-rate'?",
        ),
        (
            {"tiles_or_batches": {"experiment": "emm"}},
            "tiles_or_batches.experiment: unknown experiment 'emm', did you mean 'em'?",
        ),
        (
            {"tiles_or_batches": {"study": "em-tile"}},
            "tiles_or_batches.study: unknown study 'em-tile', did you mean 'em-tiles'?",
        ),
        (
            {"tiles_or_batches": {"tiles": [4, 40]}},
            "tiles_or_batches.tiles: output tile of 40 px: sizes that fit 4 poolings are "
            "4 + 16 k, the nearest are 36 and 52",
        ),
        (
            {"tiles_or_batches": {"repeat": 2}},
            "tiles_or_batches: unknown key 'repeat', did you mean 'repeats'?",
        ),
        (
            {"processes": 2},
            "experiments.demo: batch of 1 tiles on 2 process(es) in 1 part(s) each: need a "
            "multiple of 2",
        ),
        (
            {"studies": {"em-rate": {"variants": {"a": {"split": {"blocks": 3}}}}}},
            "studies.em-rate.variants.a.split: unknown key 'blocks', there are training_frames",
        ),
        (
            {"studies": {"em-rate": {"variants": {"a": {"split": {"training_frames": 0}}}}}},
            "studies.em-rate.variants.a.split.training_frames: 0 is less than the minimum of 1",
        ),
        (
            {"studies": {"em-rate": {"variants": {"a": {"network": {"expansive_width": 65}}}}}},
            "studies.em-rate.variants.a: expansive_width 65: need 1 to the width, 64",
        ),
        (
            {"paper_figures": {"paper": {"cells": ["hella"]}}},
            "paper_figures.paper: unknown experiment 'hella', did you mean 'hela'?",
        ),
        (
            {"paper_figures": {"paper": {"cell": ["hela"]}}},
            "paper_figures.paper: unknown key 'cell', did you mean 'cells'?",
        ),
        (
            {"paper_figures": {"em": {"membranes": "em", "cells": ["hela"]}}},
            "paper_figures.em: an experiment has this name",
        ),
        (
            {"paper_figures": {"paper": {"membranes": "em-fcn"}}},
            "paper_figures.paper: 'em-fcn' is of family fcn, Fig. 1 shows a u-net",
        ),
        (
            {"paper_figures": {"paper": {"cells": ["em"]}}},
            "paper_figures.paper: 'em' is of isbi2012, whose labels are not of cells",
        ),
        (
            claimed({"metric": "seg"}),
            "claim 'It helps': 'demo' does not measure seg of u-net+d4",
        ),
        (
            claimed({"metric": "rand_error", "against_metric": "seconds_per_frame_one_by_one"}),
            "claim 'It helps': 'demo' does not measure seconds_per_frame_one_by_one of u-net",
        ),
        (
            claimed({"metric": "seam"}),
            "claim 'It helps': 'demo' does not measure seam of u-net+d4",
        ),
        ({"publish": ["demos"]}, "publish: unknown table or study 'demos', did you mean 'demo'?"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(workflow, tmp_path, overlay, line):
    mistake = tmp_path / "mistake.yaml"
    mistake.write_text(yaml.safe_dump(overlay))
    result = snakemake(workflow, "--configfile", str(mistake), "-n")
    assert result.returncode == 2
    assert result.stdout.splitlines()[-1] == f"configuration: {line}"


def driver(folder, lines, code=0):
    """Environment in which nvidia-smi says `lines` and ends with an exit code."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{lines}'\nexit {code}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("n_processes", "lines", "code", "visible", "found"),
    [
        (1, "NVIDIA-SMI has failed because it could not reach the driver.\\n", 9, "0", 0),
        (1, "GPU 0: NVIDIA H100\\n", 0, "", 0),
        (2, "GPU 0: NVIDIA RTX 3070 Laptop GPU (UUID: GPU-7c)\\n", 0, "0,1", 1),
        (2, "GPU 0: NVIDIA H100\\nGPU 1: NVIDIA H100\\n", 0, "1", 1),
    ],
)
def test_too_few_gpus_are_one_line_before_any_job(
    workflow, tmp_path, n_processes, lines, code, visible, found
):
    overlay = tmp_path / "gpu.yaml"
    overlay.write_text(
        yaml.safe_dump(
            {
                "hardware": "gpu",
                "processes": n_processes,
                "defaults": {"training": {"batch": 2}},
                "experiments": {"em-fast": {"training": {"batch": 2}}},
            }
        )
    )
    before = sorted(workflow.glob("results/**"))
    target = "results/predictions/demo/fold-official/seed-0/u-net/prediction.json"
    arguments = (target, "--configfile", str(overlay), "--cores", "1")
    environment = driver(tmp_path, lines, code) | {"CUDA_VISIBLE_DEVICES": visible}
    result = snakemake(workflow, *arguments, **environment)
    assert result.returncode == 2
    assert result.stdout.splitlines()[-1] == (
        f"configuration: hardware 'gpu' with {n_processes} process(es), and this machine has "
        f"{found} GPU(s): ask for fewer processes, for another executor, or for hardware 'cpu'"
    )
    assert "Finished job" not in result.stdout
    assert sorted(workflow.glob("results/**")) == before
    assert snakemake(workflow, *arguments, "-n", **environment).returncode == 0


def test_jobs_start_where_the_driver_lists_the_gpus_asked_for(tmp_path):
    folder = copy_workflow(tmp_path)
    target = "results/data/phantom-em/images.tif"
    arguments = (target, "--cores", "1", "--config", "hardware=gpu")
    result = snakemake(folder, *arguments, **driver(tmp_path, "GPU 0: NVIDIA H100\\n") | SEEN)
    assert result.returncode == 0, result.stdout[-3000:]
    assert (folder / target).exists()


def test_missing_archive_says_what_to_put_where_and_leaves_nothing(workflow, tmp_path):
    result = snakemake(
        workflow, "--cores", "1", "results/archives/dic-hela.zip", UNET_DATA_MIRROR=str(tmp_path)
    )
    assert result.returncode != 0
    log = (workflow / "logs/download/dic-hela.log").read_text().splitlines()
    assert len(log) == 1
    assert "DIC-C2DH-HeLa.zip" in log[0]
    assert str(tmp_path) in log[0]
    assert "returned non-zero exit status 2" in result.stdout
    assert list((workflow / "results/archives").glob("*")) == []


def test_truncated_archive_is_named_and_not_kept(workflow, tmp_path):
    (tmp_path / "ISBI-2012-challenge.zip").write_bytes(b"PK\x03\x04 and no end")
    result = snakemake(
        workflow, "--cores", "1", "results/archives/isbi2012.zip", UNET_DATA_MIRROR=str(tmp_path)
    )
    assert "returned non-zero exit status 2" in result.stdout
    log = (workflow / "logs/download/isbi2012.log").read_text().splitlines()
    assert "ISBI-2012-challenge.zip: truncated or damaged zip archive" in log[-1]
    assert list((workflow / "results/archives").glob("*")) == []


def read_table(folder, name):
    with open(folder / f"results/tables/{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_demo_table_has_a_row_for_every_method_and_metric(smoke):
    rows = read_table(smoke, "demo")
    assert list(rows[0]) == [
        "dataset", "method", "metric", "value", "sd", "n", "measured_on", "provenance"
    ]  # fmt: skip
    membranes = {"warping_error", "rand_error", "pixel_error", "v_rand", "v_info"}
    found = {(row["dataset"], row["method"], row["metric"]) for row in rows}
    assert found == {
        *(("phantom-em", m, x) for m in ("best-threshold", "u-net", "u-net+d4") for x in membranes),
        *(("phantom-cells", m, x) for m in CELL_METHODS for x in ("seg", "iou")),
    }
    assert all(0 <= float(row["value"]) <= 1 for row in rows)


@pytest.mark.slow
def test_demo_table_pools_seeds_and_says_where_numbers_come_from(smoke):
    for row in read_table(smoke, "demo"):
        two_seeds = row["dataset"] == "phantom-em" and row["method"] != "best-threshold"
        assert row["n"] == ("2" if two_seeds else "1")
        assert bool(row["sd"]) == two_seeds
        assert "test" in row["measured_on"]
        if row["method"] != "best-threshold":
            assert "6 steps" in row["provenance"]
            assert "width 2" in row["provenance"]


@pytest.mark.slow
def test_threshold_on_the_em_phantom_is_as_bad_as_it_must_be(smoke):
    rand = {
        row["method"]: float(row["value"])
        for row in read_table(smoke, "demo")
        if row["metric"] == "rand_error"
    }
    assert rand["best-threshold"] >= 0.25


@pytest.mark.slow
def test_probability_is_of_the_test_slices(smoke):
    folder = smoke / "results/predictions/demo/fold-official/seed-1/u-net+d4"
    probability = tifffile.imread(folder / "probability.tif")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert probability.dtype == np.float32
    assert len(probability) == len(metrics["frames"]) == 4
    assert metrics["frames"][0] == "test-00"
    assert probability.min() >= 0
    assert probability.max() <= 1


@pytest.mark.slow
def test_history_has_a_row_per_log_step(smoke):
    text = (smoke / "results/runs/demo/fold-official/seed-0/history.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    assert not (smoke / "results/state/demo/fold-official/seed-0.pt").exists()


@pytest.mark.slow
def test_a_second_run_does_nothing(smoke):
    assert "Nothing to be done" in dry_run_of_smoke(smoke).stdout


@pytest.mark.slow
def test_changed_code_reruns_what_depends_on_it_and_a_comment_nothing(smoke):
    source = smoke / "unetcore/metrics/pixel.py"
    original = source.read_text()
    try:
        source.write_text(original + "\n# a comment\n")
        assert "Nothing to be done" in dry_run_of_smoke(smoke).stdout
        source.write_text(original + "\nUNUSED = 1\n")
        planned = dry_run_of_smoke(smoke).stdout
    finally:
        source.write_text(original)
    assert "rule evaluate:" in planned
    assert "rule table:" in planned
    assert "rule train:" not in planned
    assert "rule weight_maps:" not in planned


@pytest.mark.slow
def test_official_test_slices_are_evaluated_beside_the_folds_where_they_have_labels(smoke):
    (smoke / "folds.yaml").write_text(yaml.safe_dump({"experiments": {"demo": {"folds": ["0"]}}}))
    result = snakemake(smoke, "demo", "-n", "--configfile", "smoke.yaml", "folds.yaml")
    assert result.returncode == 0, result.stdout[-3000:]
    planned = [line for line in result.stdout.splitlines() if line.strip().startswith("input:")]
    (table,) = [line for line in planned if "results/predictions/demo/" in line and "paper" in line]
    for fold in ("0", "official"):
        assert f"results/predictions/demo/fold-{fold}/seed-1/u-net/metrics.json" in table


@pytest.mark.slow
def test_more_training_frames_than_there_are_is_one_line(smoke):
    few = {"folds": ["0"], "split": {"blocks": 2, "training_frames": 99}}
    (smoke / "few.yaml").write_text(yaml.safe_dump({"experiments": {"demo": few}}))
    result = snakemake(smoke, "demo", "-n", "--configfile", "smoke.yaml", "few.yaml")
    assert result.returncode == 2
    expected = "experiments.demo: training_frames 99: fold '0' leaves 6 to train on, need 1 to 6"
    assert result.stdout.splitlines()[-1] == f"configuration: {expected}"  # half of 12 sections


@pytest.fixture(scope="module")
def study(smoke):
    """Copy of the workflow in which two tiny networks have been compared, on the demo's fold 0."""
    watched = {"training": {"validate_every": 3}}
    variants = {name: change | watched for name, change in STUDY["variants"].items()}
    variants["wide"]["seeds"] = [0, 1]
    overlay = {"studies": {"widths": STUDY | {"variants": variants}}, "run_studies": ["widths"]}
    (smoke / "study.yaml").write_text(yaml.safe_dump(overlay))
    overlays = ("--configfile", "smoke.yaml", "study.yaml")
    result = snakemake(smoke, "studies", "--cores", "2", *overlays)
    assert result.returncode == 0, result.stdout[-5000:]
    return smoke


@pytest.mark.slow
def test_study_trains_its_variants_and_compares_them_on_its_fold_alone(study):
    with open(study / "results/studies/widths.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 5  # trainings x metrics of the base
    assert {(row["fold"], row["method"]) for row in rows} == {("0", "u-net")}
    seeds = {(row["variant"], row["seed"]) for row in rows}
    assert seeds == {("narrow.2", "0"), ("wide", "0"), ("wide", "1")}
    assert {row["variant"]: row["change"] for row in rows} == {
        "narrow.2": "training.validate_every 3 (demo: 0)",  # the smoke run's demo has width 2
        "wide": "network.width 3 (demo: 2); training.validate_every 3 (demo: 0)",
    }
    assert all(float(row["training_loss"]) > 0 for row in rows)
    assert "width 3" in rows[-1]["provenance"]
    assert "Nothing was chosen" in (study / "results/studies/widths.md").read_text()
    with open(study / "results/runs/widths-wide/fold-0/seed-0/validation.csv") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3", "6"]
    assert "</svg>" in (study / "results/studies/widths.svg").read_text()


@pytest.mark.slow
def test_report_builds_with_tables_and_figures(smoke):
    result = snakemake(smoke, "--configfile", "smoke.yaml", "--report", "report.html")
    assert result.returncode == 0, result.stdout[-3000:]
    report = (smoke / "report.html").read_text()
    assert "safe center" in report  # else what is larger than the window begins out of reach
    for part in ("1 Tables", "2 Training", "3 Prediction", "5 Figures of", "best-threshold"):
        assert part in report
    assert "interactive page, seed-0/u-net" in report
    assert "Reference outlines" not in report  # the page is a result, no part of the front page


@pytest.mark.browser
@pytest.mark.slow
def test_page_of_a_prediction_opens_within_the_report(smoke):
    result = snakemake(smoke, "--configfile", "smoke.yaml", "--report", "opened.html")
    assert result.returncode == 0, result.stdout[-3000:]
    with chromium() as browser:
        browser.get((smoke / "opened.html").as_uri())
        browser.find_element(By.XPATH, "//a[contains(., '3 Prediction')]").click()
        row = "//tr[td[text()='demo'] and contains(., 'interactive page')]"
        browser.find_element(By.XPATH, row).find_element(By.TAG_NAME, "a").click()
        browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
        wait(browser, "return (document.body.dataset.shown ?? '').split(' ')[2]", "objects")
        assert browser.find_element(By.ID, "slice-name").text == "test-00 (1 of 4)"
        assert errors(browser) == []


@pytest.mark.slow
def test_pages_are_of_the_first_network_and_small_enough_for_a_report(smoke):
    pages = [path.relative_to(smoke / "results/views") for path in smoke.rglob("views/**/*.html")]
    assert sorted(map(str, pages)) == [
        "demo-cells/fold-02/seed-0/u-net.html",
        "demo/fold-official/seed-0/u-net.html",
    ]
    for page in pages:
        n_bytes = (smoke / "results/views" / page).stat().st_size
        assert 4 * n_bytes / 3 < 2 * 2**20  # as base64, the longest address that Chromium opens


@pytest.mark.slow
def test_change_of_what_runs_in_the_browser_writes_the_pages_again_and_nothing_else(smoke):
    source = smoke / "unetcore/view/view.css"
    original = source.read_text()
    try:
        source.write_text(original + "\nmain { color: red; }\n")
        planned = dry_run_of_smoke(smoke).stdout
    finally:
        source.write_text(original)
    assert set(re.findall(r"^(?:local)?rule (\w+):", planned, re.MULTILINE)) == {"all", "view"}
    assert "Nothing to be done" in dry_run_of_smoke(smoke).stdout
