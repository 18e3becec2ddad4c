"""The paper's whole graph, run on generated images: tables, figures, studies and claims."""

import csv
import re
import shutil
import statistics
from pathlib import Path

import pytest
import yaml
from test_workflow import copy_workflow, snakemake

from unetcore.tables import MEASURES

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
MEMBRANES = {
    "best-threshold", "u-net", "u-net+rot7", "u-net+d4", "u-net-fast", "u-net-fast+d4", "fcn",
    "sliding-window",
}  # fmt: skip
OVERLAY = ("--configfile", "config/phantom.yaml")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """Copy of the workflow in which the paper was made of phantoms."""
    folder = copy_workflow(tmp_path_factory.mktemp("paper"))
    result = snakemake(folder, "paper", *OVERLAY, "--cores", "2")
    assert result.returncode == 0, result.stdout[-5000:]
    return folder


def rules_run(output):
    """Names of the rules of all jobs in what Snakemake says, once per job."""
    return re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):$", output, re.MULTILINE)


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_table_1_has_the_networks_that_the_paper_compares_with(paper):
    rows = [r for r in read_csv(paper / "results/tables/table1.csv") if ":" not in r["method"]]
    assert {row["method"] for row in rows} == MEMBRANES
    assert {row["dataset"] for row in rows} == {"phantom-em"}
    metrics = set(CONFIG["defaults"]["evaluation"]["metrics"])
    for method in MEMBRANES:
        found = {row["metric"] for row in rows if row["method"] == method}
        assert found == metrics, method
    counts = {row["method"]: row["n"] for row in rows}
    assert counts["u-net"] == "2"  # seeds
    assert counts["best-threshold"] == "1"


def test_every_claim_has_a_verdict_and_says_what_it_cost(paper):
    rows = read_csv(paper / "results/tables/claims.csv")
    assert [row["claim"] for row in rows] == [c["claim"] for c in CONFIG["claims"]["comparisons"]]
    for row, claim in zip(rows, CONFIG["claims"]["comparisons"], strict=True):
        assert "; cost: " in row["provenance"]
        low, high = row["low"], row["high"]
        if int(row["n"]) == 1 and "limit" not in claim:
            assert (low, high, row["verdict"]) == ("", "", "not decided by this evidence")
        else:
            assert float(low) <= float(row["effect"]) <= float(high)
    text = (paper / "results/tables/claims.md").read_text("utf-8")
    assert all(row["claim"] in text for row in rows)


def test_windows_one_by_one_take_far_longer_than_a_u_net_and_say_the_same(paper):
    rows = read_csv(paper / "results/tables/claims.csv")
    (row,) = [row for row in rows if "window by window" in row["experiment"]]
    assert float(row["effect"]) > 10
    log = (paper / "logs/predict/em-window/fold-official/seed-0/sliding-window.log").read_text()
    (line,) = [line for line in log.splitlines() if "largest_difference" in line]
    assert float(line.rsplit("largest_difference=")[1].rstrip(")")) < 1e-5


def test_tiles_of_a_trained_network_equal_the_whole(paper):
    rows = read_csv(paper / "results/tables/claims.csv")
    (row,) = [row for row in rows if "seamless" in row["claim"]]
    assert row["verdict"] == "supported"


def test_curve_of_the_number_of_images_has_a_point_for_each(paper):
    rows = read_csv(paper / "results/studies/em-images.csv")
    assert [v for v in dict.fromkeys(row["variant"] for row in rows)] == [
        "1", "2", "5", "10", "20", "24"
    ]  # fmt: skip
    assert (paper / "results/studies/em-images.svg").is_file()


def test_nothing_is_left_to_do(paper):
    result = snakemake(paper, "paper", *OVERLAY, "-n")
    assert "Nothing to be done" in result.stdout, result.stdout[-3000:]


@pytest.fixture(scope="module")
def docs(paper, tmp_path_factory):
    """What is published of the paper made of phantoms: all but one study that claims stand on."""
    overlay = tmp_path_factory.mktemp("publish") / "publish.yaml"
    names = ["table1", "table2", "em-images", "em-why", "em-tiles"]
    overlay.write_text(yaml.safe_dump({"publish": names}))
    (paper / "README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    result = snakemake(paper, "publish", *OVERLAY, str(overlay), "--cores", "2")
    assert result.returncode == 0, result.stdout[-5000:]
    return paper / "docs/results"


def test_every_training_behind_what_is_published_is_on_record_once(docs):
    provenance = read_csv(docs / "provenance.csv")
    trainings = [(r["experiment"], r["fold"], r["seed"]) for r in provenance]
    assert len(trainings) == len(set(trainings))
    w0 = {row["experiment"]: row["weight_map.w0"] for row in provenance}
    assert {"em", "em-window", "em-images-5", "em-why-no-copies"} <= w0.keys()
    # Of a study that is not published, but claims stand on it.
    assert (w0["hela"], w0["hela-why-no-border-term"]) == ("10", "0")
    known = {*trainings, *((experiment, fold, "") for experiment, fold, _ in trainings)}
    scores = read_csv(docs / "scores.csv")
    assert {(r["experiment"], r["fold"], r["seed"]) for r in scores} <= known


@pytest.mark.parametrize("claim", CONFIG["claims"]["comparisons"], ids=lambda c: c["claim"])
def test_effect_of_a_claim_is_the_mean_of_its_pairs_and_they_are_the_scores(docs, claim):
    (row,) = [row for row in read_csv(docs / "claims.csv") if row["claim"] == claim["claim"]]
    pairs = [p for p in read_csv(docs / "claim_pairs.csv") if p["claim"] == claim["claim"]]
    mean = statistics.geometric_mean if claim.get("ratio") else statistics.fmean
    gains = [float(pair["gain"]) for pair in pairs]
    assert float(row["effect"]) == pytest.approx(mean(gains), rel=1e-9)
    if claim["metric"] in MEASURES:  # and not a time or a seam, which no evaluation measures
        scores = {
            (s["fold"], s["seed"]): s["value"]
            for s in read_csv(docs / "scores.csv")
            if all(s[key] == claim[key] for key in ("experiment", "method", "metric"))
        }
        found = [scores[pair["fold"], pair["seed"]] for pair in pairs]
        assert [pair["value"] for pair in pairs] == found


def test_cost_of_a_study_is_one_line(docs):
    text = (docs / "../../README.md").read_text("utf-8")
    _, _, cost = text.partition("### What the trainings took")
    for study in ("hela-why", "em-why"):
        assert f"| {study} " in cost
        assert f"{study}-" not in cost


MADE_OF_RECORDS = ("table1.csv", "table1.md", "table2.csv", "table2.md", "claims.csv", "claims.md")


@pytest.fixture(scope="module")
def elsewhere(docs, tmp_path_factory):
    """Another copy of the workflow, in which nothing ran but the placing of what was published."""
    folder = copy_workflow(tmp_path_factory.mktemp("elsewhere"))
    (folder / "docs/results").mkdir(parents=True)
    shutil.copy(docs / "records.zip", folder / "docs/results")
    result = snakemake(folder, "place_records", *OVERLAY, "--cores", "2")
    assert result.returncode == 0, result.stdout[-5000:]
    return folder


def test_tables_and_claims_are_made_of_published_records_without_a_training(docs, elsewhere):
    tables = [f"results/tables/{name}" for name in MADE_OF_RECORDS]
    result = snakemake(elsewhere, *tables, *OVERLAY, "--cores", "2")
    assert result.returncode == 0, result.stdout[-5000:]
    assert not set(rules_run(result.stdout)) & {"train", "predict", "evaluate", "seams"}
    for name in MADE_OF_RECORDS:
        assert (elsewhere / "results/tables" / name).read_bytes() == (docs / name).read_bytes()


def test_one_seed_more_than_is_on_record_is_all_that_is_trained(elsewhere, tmp_path):
    overlay = tmp_path / "more.yaml"
    overlay.write_text(yaml.safe_dump({"experiments": {"em": {"seeds": [0, 1, 2]}}}))
    table = "results/tables/table1.csv"
    result = snakemake(elsewhere, table, *OVERLAY, str(overlay), "--cores", "2", "-n")
    assert "results/runs/em/fold-official/seed-2/run.json" in result.stdout
    assert rules_run(result.stdout).count("train") == 1


def test_what_was_made_otherwise_is_refused_and_then_taken_away(elsewhere, tmp_path):
    overlay = tmp_path / "longer.yaml"
    overlay.write_text(yaml.safe_dump({"experiments": {"em-fast": {"training": {"steps": 9}}}}))
    longer, table = (*OVERLAY, str(overlay), "--cores", "2"), "results/tables/table1.csv"
    result = snakemake(elsewhere, table, *longer)
    assert result.returncode != 0
    assert "experiments.em-fast: its records in place were made otherwise" in result.stdout
    assert "training.steps 8, now 9" in result.stdout
    result = snakemake(elsewhere, "place_records", *longer)
    assert "em-fast left out: made otherwise" in result.stdout
    result = snakemake(elsewhere, table, *longer, "-n")
    assert "results/runs/em-fast/fold-official/seed-0/run.json" in result.stdout
    assert rules_run(result.stdout).count("train") == 1
