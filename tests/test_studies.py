"""Studies: what variants change, what they reach, and what a choice by them is worth."""

import csv
import json
from itertools import pairwise

import figure_study
import numpy as np
import pytest
import study_table

from unetcore.errors import InputError
from unetcore.evaluate import OF_MEMBRANES
from unetcore.figures import Loss, study
from unetcore.figures.study import positions
from unetcore.studies import (
    COLUMNS,
    Result,
    Study,
    csv_text,
    curves,
    markdown_text,
    read_held_out,
    read_results,
    scores,
)
from unetcore.tables import Measurement, describe_change
from unetcore.training_log import HeldOut, History

PLAIN, DICE = Loss("weighted-mean", 0), Loss("weighted-mean", 1.0)
EXPERIMENTS = {"0.001": "rate-0.001", "0.005": "em"}  # the second changes nothing
SLICES = "cross-validation on the 4 labelled training slices, 2 contiguous blocks"


def plan(**changed):
    given = {
        "name": "rate",
        "title": "Learning rate",
        "base": "em",
        "experiments": EXPERIMENTS,
        "changes": {"0.001": "training.learning_rate 0.001 (em: 0.005)", "0.005": "as em"},
        "unseen_folds": ["0"],
    }
    return Study(**(given | changed))


def history(losses):
    steps = 10.0 * np.arange(1, len(losses) + 1)
    return History(steps, np.array(losses, float), np.full(len(losses), 1e-3))


def result(variant, values, *, seed=0, method="u-net", losses=(0.7, 0.2), **provenance):
    given = {"steps": 20, "train_seconds": 90} | provenance
    measured = Measurement(EXPERIMENTS[variant], "d", "1", method, seed, SLICES, values, given)
    return Result(variant, measured, ("train-02", "train-03"), history(losses))


def table_lines(text):
    """Cells of the rows of the first table, header first, by column."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *body = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [dict(zip(header, line, strict=True)) for line in body]


def test_training_loss_is_the_mean_over_the_last_tenth_of_the_steps():
    # 40 rows, steps 10 to 400; after 0.9 * 400 = 360 come 370, 380, 390, 400.
    losses = [1.0] * 36 + [0.1, 0.2, 0.3, 0.6]
    assert result("0.001", {}, losses=losses).training_loss == pytest.approx(0.3)


def test_training_loss_of_few_rows_is_that_of_the_last():
    assert result("0.001", {}, losses=[0.9, 0.25]).training_loss == 0.25


def test_change_names_every_setting_that_differs_and_what_it_was():
    base = {"network": {"width": 16}, "training": {"clip": None, "steps": 9, "old": 1}}
    changed = {"network": {"width": 16}, "training": {"clip": 1.5, "steps": 9, "mirror": True}}
    assert describe_change(base, changed, "em") == (
        "training.clip 1.5 (em: null); training.old null (em: 1); training.mirror true (em: null)"
    )


def test_a_variant_that_names_the_base_s_value_changes_nothing():
    settings = {"training": {"learning_rate": 0.005}}
    assert describe_change(settings, {"training": {"learning_rate": 5e-3}}, "em") == "as em"


def test_readable_table_has_means_deviations_and_the_best_in_bold():
    results = [
        result("0.001", {"rand_error": 0.1, "v_rand": 0.9}),
        result("0.001", {"rand_error": 0.2, "v_rand": 0.8}, seed=1),
        result("0.005", {"rand_error": 0.2, "v_rand": 0.9}, train_seconds=150),
        result("0.005", {"rand_error": 0.3, "v_rand": 1.0}, seed=1, train_seconds=210),
    ]
    first, second = table_lines(markdown_text(plan(), results))
    # Means 0.15 and 0.25; deviations of two numbers 0.1 apart: 0.1 / sqrt(2) = 0.0707.
    assert first["Rand error ↓"] == "**0.1500 ± 0.0707**"
    assert second["Rand error ↓"] == "0.2500 ± 0.0707"
    # Larger is better here: 0.85 and 0.95.
    assert first["V_rand ↑"] == "0.8500 ± 0.0707"
    assert second["V_rand ↑"] == "**0.9500 ± 0.0707**"
    assert (first["n"], first["steps"], first["mean minutes"]) == ("2", "20", "1.5")
    assert second["mean minutes"] == "3.0"  # (150 + 210) / 2 / 60
    assert first["change"] == "training.learning_rate 0.001 (em: 0.005)"
    assert first["training loss"] == "0.2000"


def test_equal_bests_are_both_bold_and_one_number_has_no_deviation():
    results = [result(variant, {"seg": 0.5}) for variant in ("0.001", "0.005")]
    assert [line["SEG ↑"] for line in table_lines(markdown_text(plan(), results))] == [
        "**0.5000**",
        "**0.5000**",
    ]


def test_methods_have_lines_of_their_own():
    results = [
        result("0.001", {"seg": 0.25}),
        result("0.001", {"seg": 0.5}, method="u-net+d4"),
        result("0.005", {"seg": 0.125}),
    ]
    lines = table_lines(markdown_text(plan(), results))
    assert [(line["variant"], line["method"], line["SEG ↑"]) for line in lines] == [
        ("0.001", "u-net", "0.2500"),
        ("0.001", "u-net+d4", "**0.5000**"),
        ("0.005", "u-net", "0.1250"),
    ]


def test_nothing_is_bold_beside_means_of_other_numbers_of_predictions():
    results = [result("0.001", {"seg": v}, seed=s) for s, v in enumerate((0.25, 0.5))]
    (few, one) = table_lines(markdown_text(plan(), [*results, result("0.005", {"seg": 0.75})]))
    assert (few["n"], one["n"], one["SEG ↑"]) == ("2", "1", "0.7500")


def test_choice_is_marked_and_says_by_which_slices_and_which_took_no_part():
    results = [result(variant, {"seg": 0.5}) for variant in ("0.001", "0.005")]
    text = markdown_text(plan(chosen="0.005", reason="It is the base."), results)
    assert [line["variant"] for line in table_lines(text)] == ["0.001", "**0.005** (chosen)"]
    assert "Chosen: **0.005** (as em). It is the base." in text
    assert f"{SLICES}; fold 1: 2 frames, train-02 to train-03" in text
    assert "A choice made by these numbers biases them" in text
    assert "The other folds of em (0) were not measured here" in text


def test_without_a_choice_that_is_said_and_nothing_of_its_bias():
    text = markdown_text(plan(), [result("0.001", {"seg": 0.5})])
    assert "Nothing was chosen by this study." in text
    assert "biases" not in text


def test_choice_without_unseen_folds_says_so():
    results = [result("0.005", {"seg": 0.5})]
    text = markdown_text(plan(chosen="0.005", unseen_folds=[]), results)
    assert "No fold of em was kept out of it." in text


def test_choice_of_a_variant_that_is_not_there_is_refused():
    with pytest.raises(InputError, match=r"study rate: chosen '0\.1' is not among 0\.001, 0\.005"):
        plan(chosen="0.1")


def test_csv_has_a_row_per_number():
    results = [
        result("0.001", {"rand_error": 0.5, "v_rand": 0.25}),
        result("0.005", {"rand_error": 0.125}, seed=3),
    ]
    rows = list(csv.DictReader(csv_text(plan(), results).splitlines()))
    assert tuple(rows[0]) == COLUMNS
    found = [(r["variant"], r["seed"], r["metric"], float(r["value"])) for r in rows]
    assert found == [
        ("0.001", "0", "rand_error", 0.5),
        ("0.001", "0", "v_rand", 0.25),
        ("0.005", "3", "rand_error", 0.125),
    ]
    assert {(r["study"], r["fold"], r["steps"], r["train_seconds"]) for r in rows} == {
        ("rate", "1", "20", "90")
    }
    assert all(r["measured_on"] == SLICES for r in rows)
    assert rows[2]["provenance"].startswith("experiment em; fold 1; seed 3; 20 steps")


def test_a_training_predicted_twice_is_one_curve_and_two_scores():
    results = [
        result("0.001", {"seg": 0.5}),
        result("0.001", {"seg": 0.75}, method="u-net+d4"),
        result("0.001", {"seg": 0.25}, seed=1),
    ]
    assert len(curves(results)["0.001"]) == 2
    assert scores(results) == {
        "seg": {"u-net": {"0.001": [0.5, 0.25]}, "u-net+d4": {"0.001": [0.75]}}
    }


def write_training(folder, variant, value, *, validated=""):
    """Files that a variant leaves behind, of fold 1 and seed 0."""
    place = f"{EXPERIMENTS[variant]}/fold-1/seed-0"
    run, prediction = folder / "runs" / place, folder / "predictions" / place / "u-net"
    run.mkdir(parents=True)
    prediction.mkdir(parents=True)
    (run / "history.csv").write_text("step,loss,learning_rate\n10,0.6,0.001\n20,0.4,0.001\n")
    (run / "validation.csv").write_text(validated or "step,seconds,loss\n")
    record = {
        "experiment": EXPERIMENTS[variant],
        "dataset": "d",
        "fold": "1",
        "method": "u-net",
        "seed": 0,
        "measured_on": SLICES,
        "frames": ["train-02"],
        "metrics": {"rand_error": {"value": value}, "v_info": {"value": 1 - value}},
        "provenance": {"steps": 20, "train_seconds": 90},
    }
    (prediction / "metrics.json").write_text(json.dumps(record))
    return prediction / "metrics.json", run / "history.csv", run / "validation.csv"


@pytest.fixture
def trained(tmp_path):
    """Metrics, histories, validations of both variants; the second, listed first, has some."""
    validated = "step,seconds,loss,rand_error\n10,1,0.7,0.5\n20,1,0.5,0.25\n"
    second = write_training(tmp_path, "0.005", 0.25, validated=validated)
    return list(map(list, zip(second, write_training(tmp_path, "0.001", 0.125), strict=True)))


def test_results_are_read_in_the_order_of_the_plan(trained):
    metrics, histories, _ = trained
    results = read_results(plan(), metrics, histories)
    assert [r.variant for r in results] == ["0.001", "0.005"]
    assert [r.training_loss for r in results] == [0.4, 0.4]
    assert results[1].frames == ("train-02",)


def test_validations_are_read_by_variant(trained):
    held_out = read_held_out(plan(), trained[2])
    ((without,), (one,)) = held_out["0.001"], held_out["0.005"]
    assert without.step.size == 0
    assert one.step.tolist() == [10, 20]
    assert one.values["rand_error"].tolist() == [0.5, 0.25]


def test_prediction_without_its_history_is_refused(trained):
    metrics, histories, _ = trained
    with pytest.raises(InputError, match=r"rate-0\.001.*metrics\.json: no history\.csv of its"):
        read_results(plan(), metrics, histories[:1])


def test_a_training_without_losses_on_record_is_refused(trained):
    metrics, histories, _ = trained
    histories[0].write_text("step,loss,learning_rate\n")
    with pytest.raises(
        InputError, match=r"metrics\.json: the history\.csv of its training has no row"
    ):
        read_results(plan(), metrics, histories)


def test_prediction_of_another_study_is_refused(trained):
    another = plan(name="width", experiments={"0.001": "rate-0.001", "0.005": "width-0.005"})
    with pytest.raises(InputError, match=r"experiment 'em' is not of width"):
        read_results(another, *trained[:2])


def test_scripts_from_files_to_files(tmp_path, trained):
    table, markdown, figure = (tmp_path / f"rate.{suffix}" for suffix in ("csv", "md", "svg"))
    study_table.main(*trained[:2], table, markdown, plan=plan())
    losses = [{"reduction": "weighted-mean", "dice": 0}] * 2
    figure_study.main(
        *trained, figure, plan=plan(chosen="0.001", reason="Less is more."), losses=losses
    )
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(r["variant"], r["metric"]) for r in rows] == [
        ("0.001", "rand_error"),
        ("0.001", "v_info"),
        ("0.005", "rand_error"),
        ("0.005", "v_info"),
    ]
    assert table_lines(markdown.read_text())[0]["Rand error ↓"] == "**0.1250**"
    assert "<svg" in figure.read_text()


def draw(scores_of, variants, losses=(PLAIN,), **options):
    """Figure of one training per variant with the given values by metric and method."""
    curves = {v: [history([0.7, 0.5, 0.4])] for v in variants}
    return study(curves, scores_of, losses, "t", **options)


def panel(figure, title):
    (found,) = [axes for axes in figure.axes if axes.get_title(loc="left").endswith(title)]
    return found


def lines_of(axes, gid):
    return [line for line in axes.lines if line.get_gid() == gid]


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        (["0.001", "1e-2", "3"], ([0.001, 0.01, 3.0], True)),
        (["sgd", "adamw"], ([0.0, 1.0], False)),
        (["0", "0.1"], ([0.0, 1.0], False)),  # a logarithmic axis has no 0
        (["nan", "1"], ([0.0, 1.0], False)),
        (["inf", "1"], ([0.0, 1.0], False)),
    ],
)
def test_numbers_stand_where_they_are_and_categories_side_by_side(variants, expected):
    assert positions(variants) == expected


def test_points_are_the_values_and_the_line_goes_through_the_means_in_order():
    values = {"seg": {"u-net": {"0.1": [0.5, 0.25], "0.01": [0.125]}}}
    axes = panel(draw(values, ["0.1", "0.01"], axis="learning rate"), "SEG ↑")
    assert axes.get_xlabel() == "learning rate"
    (points,) = lines_of(axes, "0.1")
    assert points.get_xydata().tolist() == [[0.1, 0.5], [0.1, 0.25]]
    (mean,) = lines_of(axes, "mean u-net")
    assert mean.get_xydata().tolist() == [[0.01, 0.125], [0.1, 0.375]]
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "0.01"]


def test_trainings_without_a_course_have_a_point_and_are_counted():
    curves = {"a": [history([0.7, 0.5]), history([0.5])], "b": [history([0.4])]}
    figure = study(curves, {"seg": {"u-net": {"a": [0.5, 0.25], "b": [0.125]}}}, (DICE,))
    assert len(lines_of(figure.axes[0], "a")) == 1
    assert not lines_of(figure.axes[0], "b")
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "not drawn: 2 with too\nfew losses on record" in texts
    (points,) = lines_of(panel(figure, "SEG ↑"), "b")
    assert points.get_ydata().tolist() == [0.125]


def test_names_of_numbers_that_lie_close_together_do_not_touch():
    numbers = ["1", "2", "5", "10", "20", "24"]
    scores_of = {metric: {"u-net": {n: [0.5] for n in numbers}} for metric in OF_MEMBRANES}
    figure = draw(scores_of, numbers)
    figure.canvas.draw()
    axes = panel(figure, "V_info ↑")
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert [label.get_text() for label in axes.get_xticklabels()] == numbers
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize(
    ("losses", "said", "marked"),
    [
        ([PLAIN, PLAIN], "weighted cross entropy", True),
        ([DICE, DICE], "weighted cross entropy + Dice", False),
        ([PLAIN, DICE], "different losses", False),
    ],
    ids=["plain", "Dice", "both"],
)
def test_the_panel_of_the_losses_says_what_they_are(losses, said, marked):
    figure = draw({"seg": {"u-net": {"a": [0.5], "b": [0.25]}}}, ["a", "b"], losses)
    axes = panel(figure, said)
    assert axes.get_ylabel() == "training loss"
    assert [line.get_ydata()[0] for line in lines_of(axes, "undecided")] == [np.log(2)] * marked
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert ("undecided network, ln 2" in texts) == marked


def test_categories_are_not_joined_and_methods_stand_beside_each_other():
    by_variant = {"sgd": [0.5], "adamw": [0.25]}
    axes = panel(draw({"seg": {"u-net": by_variant, "u-net+d4": by_variant}}, by_variant), "SEG ↑")
    assert {line.get_linestyle() for line in lines_of(axes, "mean u-net")} == {"None"}
    first, second = (line.get_xdata()[0] for line in lines_of(axes, "adamw"))
    assert first < 1 < second
    assert (first + second) / 2 == pytest.approx(1)


def test_a_variant_has_one_colour_in_all_panels_and_the_chosen_one_is_marked():
    by_variant = {"sgd": [0.5], "adamw": [0.25]}
    figure = draw({"seg": {"u-net": by_variant}, "iou": {"u-net": by_variant}}, by_variant)
    drawn = [line for axes in figure.axes for line in lines_of(axes, "adamw")]
    assert len(drawn) == 3
    assert len({line.get_color() for line in drawn}) == 1
    chosen = draw({"seg": {"u-net": by_variant}}, by_variant, chosen="adamw")
    (mark,) = lines_of(panel(chosen, "SEG ↑"), "chosen")
    assert mark.get_xdata()[0] == 1
    (legend,) = chosen.legends
    assert "adamw (chosen)" in [text.get_text() for text in legend.get_texts()]


def test_no_two_of_ten_variants_look_alike():
    variants = [f"variant {k}" for k in range(10)]
    by_variant = {variant: [0.1 * k] for k, variant in enumerate(variants)}
    figure = draw({"seg": {"u-net": by_variant}}, by_variant)
    losses, scores = figure.axes
    lines = [line for variant in variants for line in lines_of(losses, variant)]
    points = [line for variant in variants for line in lines_of(scores, variant)]
    (legend,) = figure.legends
    named = legend.get_lines()[:10]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 10
    for shown in (points, named):
        looks = {(line.get_color(), line.get_markerfacecolor()) for line in shown}
        assert len(looks) == 10


def test_held_out_panel_shows_topology_where_it_was_watched():
    values = {"pixel_error": {"u-net": {"a": [0.5], "b": [0.25]}}}
    one = HeldOut(np.array([10.0, 20.0]), {"loss": np.ones(2), "rand_error": np.array([0.5, 0.25])})
    figure = draw(values, ["a", "b"], held_out={"a": [one], "b": []})
    (course,) = lines_of(panel(figure, "Rand error on held-out slices ↓"), "a")
    assert course.get_xydata().tolist() == [[10, 0.5], [20, 0.25]]
    without_row = HeldOut(np.array([]), {"loss": np.array([]), "rand_error": np.array([])})
    for held_out in (None, {"a": [], "b": []}, {"a": [without_row], "b": []}):
        assert len(draw(values, ["a", "b"], held_out=held_out).axes) == 2
