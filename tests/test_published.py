"""The published tables and claims are those of the records published beside them.

Of records that were rebuilt from earlier tables this says only that they have not drifted since.
"""

import csv
import zipfile
from pathlib import Path

import pytest
import yaml

from unetcore.bundle.records import RECORD_NAMES
from unetcore.claims import Claim, judge, read_quantities
from unetcore.tables import read_measurement, read_trainings, summarise

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "docs/results"
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
CPU = yaml.safe_load((ROOT / "config/cpu.yaml").read_text("utf-8"))
TABLES = CONFIG["tables"] | CPU["tables"]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Folder with the published records, laid out as results are."""
    folder = tmp_path_factory.mktemp("records")
    with zipfile.ZipFile(PUBLISHED / "records.zip") as file:
        file.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def measurements(records):
    return [read_measurement(path) for path in sorted(records.glob("predictions/**/metrics.json"))]


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cell(value):
    return "" if value is None else str(value)


def test_nothing_but_records_is_published_of_trainings(records):
    names = {path.name for path in records.rglob("*") if path.is_file()}
    assert names == {"experiments.json", *RECORD_NAMES}


def test_scores_are_those_of_the_records(measurements):
    published = {
        (r["experiment"], r["fold"], r["seed"], r["method"], r["metric"]): r["value"]
        for r in read_csv(PUBLISHED / "scores.csv")
    }
    experiments = {key[0] for key in published}
    assert published == {
        (m.experiment, m.fold, cell(m.seed), m.method, metric): str(value)
        for m in measurements
        if m.experiment in experiments
        for metric, value in m.values.items()
    }


def test_provenance_is_that_of_the_records(records):
    rows = read_csv(PUBLISHED / "provenance.csv")
    trainings = read_trainings(sorted(records.glob("runs/**/run.json")))
    found = {(t["experiment"], t["fold"], cell(t["seed"])): t for t in trainings}
    assert len(rows) == len(found)
    for row in rows:
        training = found[row["experiment"], row["fold"], row["seed"]]
        told = {key: value for key, value in row.items() if not key.startswith("weight_map.")}
        assert told == {key: cell(training.get(key)) for key in told}


@pytest.mark.parametrize("name", ["demo", "table1", "table2"])
def test_rows_of_a_table_are_means_over_the_records(measurements, name):
    rows = [r for r in read_csv(PUBLISHED / f"{name}.csv") if not r["method"].startswith("paper:")]
    made = summarise(m for m in measurements if m.experiment in TABLES[name])
    assert len(made) == len(rows)
    expected = {(r.dataset, r.method, r.metric): r for r in made}
    for row in rows:
        mean = expected[row["dataset"], row["method"], row["metric"]]
        assert float(row["value"]) == pytest.approx(mean.value, rel=1e-12)
        assert int(row["n"]) == mean.n
        assert row["measured_on"] == mean.measured_on
        if mean.sd is not None:
            assert float(row["sd"]) == pytest.approx(mean.sd, rel=1e-9)


@pytest.mark.parametrize("claim", CPU["claims"]["comparisons"], ids=lambda c: c["claim"])
def test_verdicts_follow_from_the_records(records, claim):
    paths = [*records.glob("predictions/**/metrics.json"), *records.glob("seams/**/seam.json")]
    sides = {claim["experiment"], claim.get("against_experiment")}
    of_claim = [path for path in sorted(paths) if path.relative_to(records).parts[1] in sides]
    compared = [read_quantities(path) for path in of_claim]
    (verdict,) = judge(Claim(**claim), compared, CONFIG["claims"]["confidence"])
    (row,) = [r for r in read_csv(PUBLISHED / "claims.csv") if r["claim"] == claim["claim"]]
    assert (row["verdict"], int(row["n"])) == (verdict.verdict, verdict.n)
    for name in ("effect", "low", "high"):
        assert float(row[name]) == pytest.approx(getattr(verdict, name), rel=1e-9, abs=1e-12)


def test_every_row_of_tables_on_real_images_is_of_three_seeds():
    for name in ("table1", "table2"):
        for experiment in TABLES[name]:
            seeds = {
                r["seed"]
                for r in read_csv(PUBLISHED / "scores.csv")
                if r["experiment"] == experiment
            }
            assert seeds - {""} == {"0", "1", "2"}
