import csv
import json
from decimal import Decimal
from pathlib import Path

import publish
import pytest
import table as table_script
import yaml
from snakemake.utils import validate

from unetcore.data.frames import Frame, write_frames
from unetcore.errors import InputError
from unetcore.tables import (
    COLUMNS,
    MEASURES,
    Measurement,
    Row,
    blocks,
    cost_table,
    describe_provenance,
    label_notes,
    markdown,
    merge,
    read_measurement,
    read_printed,
    read_trainings,
    readme_section,
    replace_results,
    summarise,
    write_csv,
    write_scores,
)

ROOT = Path(__file__).parent.parent
PAPER = ROOT / "resources" / "paper.yaml"
SLICES = "held-out training slices"


def measurement(**changed):
    given = {
        "experiment": "em",
        "dataset": "isbi2012",
        "fold": "0",
        "method": "u-net",
        "seed": 0,
        "measured_on": SLICES,
        "values": {"rand_error": 0.25},
        "provenance": {},
    }
    return Measurement(**(given | changed))


def write_metrics(path, **changed):
    given = {
        "experiment": "em",
        "dataset": "isbi2012",
        "fold": "0",
        "method": "u-net",
        "seed": 0,
        "measured_on": SLICES,
        "frames": ["train-00"],
        "metrics": {"rand_error": {"value": 0.25, "threshold": 0.5}},
        "provenance": {"code": "0123456789ab", "width": 16},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(given | changed))
    return path


def row(**changed):
    given = dict(zip(COLUMNS, ("d", "u-net", "rand_error", 0.5, None, 1, SLICES, "p"), strict=True))
    return Row(**(given | changed))


def frame(index, **changed):
    given = {"labelled": True, "partial": False, "split": "train"}
    return Frame(index=index, id=f"f-{index}", sequence="s", **(given | changed))


def test_mean_and_sample_deviation_over_folds_and_seeds():
    runs = [
        measurement(fold=fold, seed=seed, values={"rand_error": value})
        for fold, seed, value in (("0", 0, 0.1), ("0", 1, 0.2), ("1", 0, 0.3), ("1", 1, 0.6))
    ]
    (result,) = summarise(runs)
    # mean 0.3; deviations -0.2, -0.1, 0, 0.3: squares sum to 0.14; 0.14 / (4 - 1) = 0.046667
    assert result.value == pytest.approx(0.3)
    assert result.sd == pytest.approx(0.0466666667**0.5)
    assert result.n == 4


def test_one_measurement_has_no_deviation():
    (result,) = summarise([measurement()])
    assert (result.value, result.sd, result.n) == (0.25, None, 1)


@pytest.mark.parametrize("key", ["measured_on", "dataset", "method", "experiment"])
def test_only_alike_is_pooled(key):
    rows = summarise([measurement(), measurement(**{key: "other"})])
    assert [r.n for r in rows] == [1, 1]


def test_a_metric_that_only_some_runs_have_counts_only_these():
    runs = [measurement(), measurement(seed=1, values={"rand_error": 0.75, "v_rand": 0.5})]
    n = {r.metric: r.n for r in summarise(runs)}
    assert n == {"rand_error": 2, "v_rand": 1}


def test_provenance_names_every_value_once():
    text = describe_provenance(
        [
            measurement(provenance={"code": "aa", "width": 16, "train_seconds": 100}),
            measurement(fold="1", provenance={"code": "bb", "width": 16, "train_seconds": 300}),
        ]
    )
    assert text == "experiment em; folds 0, 1; seed 0; width 16; code aa / bb; trained 3 min each"


def test_printed_numbers_keep_their_digits():
    rows = {(r.method, r.metric): r for r in read_printed(PAPER, "table1").rows}
    assert str(rows["paper:human values", "pixel_error"].value) == "0.0010"
    assert rows["paper:u-net", "warping_error"].value == Decimal("0.000353")
    assert rows["paper:u-net", "warping_error"].provenance.endswith("Table 1; rank 1")


def test_table1_is_the_papers():
    printed = read_printed(PAPER, "table1").rows
    board = [r for r in printed if r.measured_on.endswith("6 March 2015")]
    assert len(board) == 6 * 3
    assert {r.metric for r in board} == {"warping_error", "rand_error", "pixel_error"}
    errors = [r.value for r in board if r.metric == "warping_error"]
    assert errors == sorted(errors)


def test_table2_is_the_papers():
    printed = read_printed(PAPER, "table2").rows
    ours = {r.dataset: r.value for r in printed if r.method == "paper:u-net"}
    assert ours == {"dic-hela": Decimal("0.7756"), "phc-u373": Decimal("0.9203")}


def test_phantoms_are_in_no_paper():
    assert read_printed(PAPER, "demo").rows == ()


def test_printed_numbers_fit_their_schema():
    content = yaml.safe_load(PAPER.read_text())
    validate(content, ROOT / "workflow" / "schemas" / "paper.schema.yaml")
    content["table1"]["printed"][0]["rows"][0]["rand_eror"] = 0.1
    with pytest.raises(Exception, match="rand_eror"):
        validate(content, ROOT / "workflow" / "schemas" / "paper.schema.yaml")


def test_measured_and_printed_numbers_are_never_in_one_block():
    rows = [
        row(method="paper:u-net", measured_on="the same"),
        row(measured_on="the same"),
        row(measured_on="other"),
        row(dataset="e", measured_on="other"),
    ]
    found = [(b.dataset, b.measured_on, b.source) for b in blocks(rows)]
    assert found == [
        ("d", "the same", "p"),
        ("d", "the same", None),
        ("d", "other", None),
        ("e", "other", None),
    ]


def test_block_has_methods_as_lines_and_metrics_as_columns():
    (block,) = blocks(
        [
            row(method="best-threshold", metric="rand_error", value=0.5),
            row(metric="rand_error", value=0.12344, sd=0.01236, n=3, network="width 16"),
            row(metric="warping_error", value=0.00035294, sd=1e-7, n=3, network="width 16"),
        ]
    )
    assert block.header == ("method", "warping error ↓", "Rand error ↓", "n", "trained")
    assert block.body == (
        ("best-threshold", "", "0.5000", "1", ""),
        ("u-net", "0.0003529 ± 0.0000001", "0.1234 ± 0.0124", "3", "width 16"),
    )


def test_what_was_trained_stands_in_the_readable_table_and_not_in_the_csv(tmp_path):
    trained = {"width": 16, "steps": 2400, "training": {"optimiser": "sgd"}}
    (pooled,) = summarise([measurement(values={"rand_error": 0.1}, provenance=trained)])
    assert pooled.network == "width 16, 2400 steps, sgd"
    assert "width 16, 2400 steps, sgd |" in markdown("t", [pooled], [])
    write_csv(tmp_path / "t.csv", [pooled])
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert COLUMNS[-1] == "provenance"


def test_two_experiments_with_one_method_get_a_line_each():
    (block,) = blocks([row(provenance="experiment a"), row(provenance="experiment b")])
    assert len(block.body) == 2


def test_merge_puts_ours_between_the_papers_and_later_numbers():
    printed = [
        row(method="paper:u-net", measured_on="board"),
        row(method="paper:later", measured_on="later"),
        row(method="paper:x", dataset="other", measured_on="board"),
    ]
    merged = merge(printed, [row()])
    assert [r.method for r in merged] == ["paper:u-net", "u-net", "paper:later", "paper:x"]


def test_missing_test_labels_are_said():
    frames = [frame(0), frame(1, split="test", labelled=False)]
    (note,) = label_notes({"isbi2012": frames})
    assert "archive of isbi2012 holds no test labels" in note


def test_nothing_is_said_where_test_labels_are_there_or_nothing_is_to_test():
    assert label_notes({"d": [frame(0), frame(1, split="test")], "e": [frame(0)]}) == []


def test_partial_labels_are_said():
    (note,) = label_notes({"dic-hela": [frame(0), frame(1, partial=True)]})
    assert note.startswith("Of the 2 labelled images of dic-hela these")
    assert "some cells only: f-1. They count for SEG" in note


def test_csv_has_exactly_the_agreed_columns(tmp_path):
    write_csv(tmp_path / "t.csv", [row(), row(value=Decimal("0.000005"), n=None)])
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines == [
        "dataset,method,metric,value,sd,n,measured_on,provenance",
        f"d,u-net,rand_error,0.5,,1,{SLICES},p",
        f"d,u-net,rand_error,0.000005,,,{SLICES},p",
    ]


def test_markdown_columns_line_up():
    text = markdown("T", [row(), row(method="best-threshold", value=0.25)], ["a note"])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert f"Measured on: **{SLICES}**" in text
    assert "- a note" in text


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"metrics": {"dice": {"value": 1}}}, "metric 'dice' is not among"),
        ({"metrics": {"seg": {"value": None}}}, "seg None, expected a finite number"),
        ({"metrics": {"seg": {"value": float("nan")}}}, "seg nan, expected a finite number"),
    ],
)
def test_bad_metrics_are_refused_in_one_line(tmp_path, changed, complaint):
    path = write_metrics(tmp_path / "metrics.json", **changed)
    with pytest.raises(InputError, match=complaint) as error:
        read_measurement(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_metrics_cut_short_are_refused(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"experiment": "em"')
    with pytest.raises(InputError, match="not a JSON file"):
        read_measurement(path)
    path.write_text('{"experiment": "em"}')
    with pytest.raises(InputError, match="'dataset' is missing"):
        read_measurement(path)


def test_unknown_table_is_refused():
    with pytest.raises(InputError, match="table 'table3' is not among demo, table1, table2"):
        read_printed(PAPER, "table3")


def test_replace_results_needs_both_marks_once():
    with pytest.raises(InputError, match=r"README.md: expected <!-- results:begin -->"):
        replace_results("<!-- results:begin -->", "new")


def cost_lines(trainings, study_of=()):
    """Lines of the cost table without blanks, and what is said above it."""
    above, _, lines = cost_table(trainings, dict(study_of)).rpartition("\n\n")
    return above, lines.replace(" ", "").split("\n")


def test_cost_table_has_a_line_per_experiment_with_median_and_range_of_the_times():
    record = {"width": 16, "steps": 600, "hardware": "CPU, 2 cores", "threads": 1}
    trainings = [
        record | {"experiment": "em", "train_seconds": 60},
        record | {"experiment": "em", "train_seconds": 180},
        record | {"experiment": "em", "train_seconds": 900},
        record | {"experiment": "hela", "train_seconds": 30, "steps": 700},
    ]
    above, lines = cost_lines(trainings)
    assert above == "All on CPU, 2 cores; 1 thread(s) each."
    assert lines[0] == "|experimentorstudy|trainings|width|steps|minutes|"
    assert lines[2:] == ["|em|3|16|600|3.0(1.0to15.0)|", "|hela|1|16|700|0.5|"]


def test_cost_table_has_a_line_for_each_hardware_of_an_experiment():
    record = {"width": 16, "steps": 600, "train_seconds": 60, "threads": 1}
    trainings = [
        record | {"experiment": "em", "hardware": "CPU"},
        record | {"experiment": "em", "hardware": "GPU", "train_seconds": 6},
        record | {"experiment": "em", "hardware": "CPU", "train_seconds": 180},
        record | {"experiment": "hela", "hardware": "CPU"},
    ]
    above, lines = cost_lines(trainings)
    assert not above
    assert lines[2:] == [
        "|em|2|16|600|2.0(1.0to3.0)|CPU;1thread(s)each|",
        "|em|1|16|600|0.1|GPU;1thread(s)each|",
        "|hela|1|16|600|1.0|CPU;1thread(s)each|",
    ]


def test_variants_of_a_study_share_a_line_of_the_cost_table():
    record = {"width": 8, "hardware": "CPU", "threads": 1, "train_seconds": 60}
    trainings = [
        record | {"experiment": "why-no-copies", "steps": 600},
        record | {"experiment": "em", "steps": 600},
        record | {"experiment": "why-twice", "steps": 1200, "train_seconds": 180},
    ]
    _, lines = cost_lines(trainings, {"why-no-copies": "why", "why-twice": "why"})
    assert lines[2:] == ["|why|2|8|600/1200|2.0(1.0to3.0)|", "|em|1|8|600|1.0|"]


def test_scores_have_a_line_per_prediction_and_metric(tmp_path):
    values = {"seg": 0.25, "iou": 0.5}
    runs = [measurement(fold="1", seed=2, values=values), measurement(seed=None, values=values)]
    write_scores(tmp_path / "scores.csv", runs)
    first, *lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert first == "experiment,fold,seed,method,metric,value"
    e, m = runs[0].experiment, runs[0].method
    assert lines[:2] == [f"{e},1,2,{m},seg,0.25", f"{e},1,2,{m},iou,0.5"]
    assert lines[2] == f"{e},{runs[1].fold},,{m},seg,0.25"


def test_readme_section_leaves_out_the_sources_and_links_them():
    text = markdown("Title", [row(provenance="experiment em; fold 0")], [])
    pages = {"docs/results/demo.md": text, "docs/results/b.md": text}
    section = readme_section(pages, cost="| cost |")
    assert section.endswith("### What the trainings took\n\n| cost |")
    assert section.count("### Title") == 2
    assert section.count("Smaller is better") == 1
    assert "experiment em" not in section
    assert "[docs/results/b.md](docs/results/b.md).\n\n### What the" in section


def test_trainings_are_named_by_their_place(tmp_path):
    path = tmp_path / "runs" / "em" / "fold-official" / "seed-3" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"seed": 3, "training": {"steps": 9}, "training_frames": ["a", "b"]}')
    assert read_trainings([path]) == [
        {
            "experiment": "em",
            "fold": "official",
            "seed": 3,
            "training.steps": 9,
            "training_frames": "a b",
        }
    ]


@pytest.fixture
def results(tmp_path):
    """Files of table 1: two folds and a threshold, and the frames without test labels."""
    metrics = [
        write_metrics(tmp_path / "0" / "metrics.json"),
        write_metrics(tmp_path / "1" / "metrics.json", fold="1"),
        write_metrics(tmp_path / "t" / "metrics.json", method="best-threshold", seed=None),
    ]
    frames = tmp_path / "isbi2012" / "frames.csv"
    write_frames(frames, [frame(0), frame(1, split="test", labelled=False)])
    return metrics, [frames]


def test_table_from_files_to_files(tmp_path, results):
    made = [tmp_path / f"table1.{suffix}" for suffix in ("csv", "md", "html")]
    table_script.main(*results, PAPER, *made, name="table1")
    rows = list(csv.DictReader(made[0].read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert {r["metric"] for r in rows} <= set(MEASURES)
    ours = {r["method"]: r for r in rows if r["measured_on"] == SLICES}
    assert (ours["u-net"]["n"], ours["u-net"]["sd"]) == ("2", "0.0")
    assert (ours["best-threshold"]["n"], ours["best-threshold"]["sd"]) == ("1", "")
    for path in made[1:]:
        text = path.read_text()
        assert "holds no test labels" in text
        assert "labels secret" in text


def test_publish_copies_and_fills_the_readme(tmp_path, results):
    made = [tmp_path / f"table1.{suffix}" for suffix in ("csv", "md", "html")]
    table_script.main(*results, PAPER, *made, name="table1")
    run = tmp_path / "runs" / "em" / "fold-0" / "seed-0" / "run.json"
    run.parent.mkdir(parents=True)
    record = {"code": "0123456789ab", "width": 16, "steps": 9, "train_seconds": 90}
    run.write_text(json.dumps(record | {"hardware": "CPU", "threads": 1}))
    readme = tmp_path / "README.md"
    readme.write_text(
        "# Title\n\n<!-- results:begin -->\nold\n<!-- results:end -->\n\nLast line.\n"
    )
    published = [tmp_path / "docs" / path.name for path in made[:2]]
    published[0].parent.mkdir()
    provenance = tmp_path / "docs" / "provenance.csv"
    scores = tmp_path / "docs" / "scores.csv"
    figure, figure_copy = tmp_path / "loss.svg", tmp_path / "docs" / "loss.svg"
    figure.write_text("<svg/>")
    publish.main(
        made[:2],
        [figure],
        [],
        [run],
        [],
        published,
        [figure_copy],
        provenance,
        scores,
        readme=readme,
        study_of={},
        weight_maps={"em": {"w0": 10}},
    )
    assert figure_copy.read_text() == "<svg/>"
    assert published[1].read_text() == made[1].read_text()
    assert provenance.read_text().splitlines() == [
        "experiment,fold,seed,code,width,steps,train_seconds,hardware,threads,weight_map.w0",
        "em,0,0,0123456789ab,16,9,90,CPU,1,10",
    ]
    text = readme.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("Last line.\n")
    assert "old" not in text.split()
    assert "#### isbi2012: measured here" in text
