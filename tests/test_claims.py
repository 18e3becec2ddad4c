import csv
import json

import claim_table
import pytest

from unetcore.claims import (
    COLUMNS,
    NOT_SUPPORTED,
    SUPPORTED,
    UNDECIDED,
    Claim,
    Verdict,
    csv_text,
    interval,
    judge,
    markdown_text,
)
from unetcore.errors import InputError
from unetcore.tables import MEASURES, Measurement

FALLS = [metric for metric, measure in MEASURES.items() if measure.arrow == "↓"]
RISES = [metric for metric, measure in MEASURES.items() if measure.arrow == "↑"]


def claim(**changed):
    given = {
        "claim": "Averaging helps",
        "experiment": "em",
        "method": "u-net+rot7",
        "against_experiment": "em",
        "against_method": "u-net",
        "metric": "seg",
    }
    return Claim(**(given | changed))


def measured(value, fold="0", seed=0, method="u-net", metric="seg", experiment="em"):
    return Measurement(experiment, "d", fold, method, seed, "slices", {metric: value}, {})


def pairs(values, metric="seg"):
    """Measurements of both sides from (claimed better, other) values, one seed per pair."""
    return [
        measured(value, seed=seed, method=method, metric=metric)
        for seed, pair in enumerate(values)
        for method, value in zip(("u-net+rot7", "u-net"), pair, strict=True)
    ]


def verdict(**changed):
    given = {"claim": "c", "experiment": "em: SEG", "effect": 0.25, "low": 0.125, "high": 0.5}
    given |= {"n": 3, "verdict": SUPPORTED, "provenance": "p"}
    return Verdict(**(given | changed))


def test_effect_and_interval_by_hand():
    result = judge(claim(), pairs([(0.6, 0.5), (0.8, 0.6), (1.0, 0.7)]), 0.95)
    # Gains 0.1, 0.2, 0.3: mean 0.2; deviations -0.1, 0, 0.1, so s = sqrt(0.02 / 2) = 0.1.
    # With 2 degrees of freedom F(t) = 1/2 + t / (2 sqrt(2 + t^2)), which is 0.975 at
    # t = 0.95 sqrt(2 / (1 - 0.95^2)) = 4.302653. Half a width: t * 0.1 / sqrt(3) = 0.248414.
    assert result.effect == pytest.approx(0.2)
    assert (result.low, result.high) == pytest.approx((-0.048414, 0.448414), abs=1e-6)
    assert result.n == 3


def test_interval_of_two_numbers_at_half_confidence_ends_at_them():
    # With 1 degree of freedom t = tan(pi * 0.25) = 1; s / sqrt(2) is half the difference.
    assert interval([2.0, 5.0], 0.5) == pytest.approx((2.0, 5.0))


def test_interval_grows_with_confidence_around_the_mean():
    gains = [0.1, 0.4, 0.7, 0.2]
    ends = [interval(gains, confidence) for confidence in (0.5, 0.9, 0.99)]
    widths = [high - low for low, high in ends]
    assert widths == sorted(widths)
    assert [(low + high) / 2 for low, high in ends] == pytest.approx([0.35] * 3)


@pytest.mark.parametrize(("metric", "sign"), [*((m, -1) for m in FALLS), *((m, 1) for m in RISES)])
def test_effect_is_positive_where_the_metric_is_better(metric, sign):
    result = judge(claim(metric=metric), pairs([(0.75, 0.5)], metric), 0.95)
    assert result.effect == sign * 0.25


def test_both_directions_occur():
    assert set(FALLS) == {"warping_error", "rand_error", "pixel_error"}
    assert set(RISES) == {"v_rand", "v_info", "seg", "iou"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([(0.6, 0.5), (0.7, 0.59), (0.8, 0.7)], SUPPORTED),
        ([(0.5, 0.6), (0.59, 0.7), (0.7, 0.8)], NOT_SUPPORTED),
        ([(0.6, 0.5), (0.5, 0.6), (0.8, 0.7)], UNDECIDED),
        # Gains of 0 only: the interval is the point 0, which is above it as little as below.
        ([(0.5, 0.5), (0.5, 0.5)], UNDECIDED),
    ],
)
def test_verdict_needs_the_whole_interval_on_one_side(values, expected):
    assert judge(claim(), pairs(values), 0.95).verdict == expected


def test_verdict_of_a_falling_metric_turns_with_its_sign():
    lower = pairs([(0.5, 0.6), (0.59, 0.7), (0.7, 0.8)], "rand_error")
    assert judge(claim(metric="rand_error"), lower, 0.95).verdict == SUPPORTED


def test_less_confidence_can_decide():
    runs = pairs([(0.6, 0.5), (0.8, 0.6), (1.0, 0.7)])
    assert judge(claim(), runs, 0.95).verdict == UNDECIDED
    assert judge(claim(), runs, 0.5).verdict == SUPPORTED


def test_a_single_pair_decides_nothing():
    result = judge(claim(), pairs([(0.9, 0.1)]), 0.95)
    assert (result.low, result.high, result.n) == (None, None, 1)
    assert result.verdict == UNDECIDED
    assert result.effect == pytest.approx(0.8)


def test_pairs_are_of_the_same_fold_and_seed_in_any_order():
    runs = [
        measured(0.9, fold="1", seed=0, method="u-net+rot7"),
        measured(0.7, fold="0", seed=1, method="u-net+rot7"),
        measured(0.0, fold="2", seed=0, method="u-net+rot7"),  # no partner: another fold
        measured(0.5, fold="0", seed=1),
        measured(0.8, fold="1", seed=0),
        measured(0.0, fold="1", seed=1),  # no partner: another seed
    ]
    # By pair 0.9 - 0.8 and 0.7 - 0.5; paired by place it would be 0.9 - 0.5 and 0.7 - 0.8, and
    # without pairs the means of three and three.
    gains = [0.1, 0.2]
    for given in (runs, runs[::-1]):
        result = judge(claim(), given, 0.9)
        assert (result.effect, result.n) == (pytest.approx(0.15), 2)
        assert (result.low, result.high) == pytest.approx(interval(gains, 0.9))


def test_other_methods_experiments_and_metrics_are_passed_over():
    others = [
        measured(0.0, method="u-net+d4"),
        measured(0.0, experiment="hela"),
        measured(0.0, experiment="hela", method="u-net+rot7"),
        measured(0.0, seed=1, metric="iou"),
        measured(0.0, seed=1, metric="iou", method="u-net+rot7"),
    ]
    result = judge(claim(), others + pairs([(0.75, 0.5)]) + others, 0.95)
    assert (result.effect, result.n) == (0.25, 1)


def test_two_experiments_are_compared_and_named():
    runs = [measured(0.75, experiment="weighted"), measured(0.5, experiment="plain")]
    sides = {"experiment": "weighted", "against_experiment": "plain", "method": "u-net"}
    result = judge(claim(**sides), runs, 0.95)
    assert result.effect == 0.25
    assert result.experiment == "weighted: SEG of weighted u-net against plain u-net"


def test_comparison_within_an_experiment_names_it_once():
    result = judge(claim(), pairs([(0.75, 0.5)]), 0.95)
    assert result.experiment == "em: SEG of u-net+rot7 against u-net"


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [measured(0.5)],
        [measured(0.5, fold="0"), measured(0.5, fold="1", method="u-net+rot7")],
        [measured(0.5, seed=0), measured(0.5, seed=1, method="u-net+rot7")],
        pairs([(0.75, 0.5)], "iou"),
    ],
    ids=["nothing", "one side", "folds differ", "seeds differ", "another metric"],
)
def test_claim_without_a_pair_is_refused(runs):
    message = (
        r"^claim 'Averaging helps': no fold and seed with seg of both em u-net\+rot7 and em u-net$"
    )
    with pytest.raises(InputError, match=message):
        judge(claim(), runs, 0.95)


def test_csv_has_exactly_the_agreed_columns():
    text = csv_text([verdict(), verdict(claim="a, b", low=None, high=None, verdict=UNDECIDED)])
    assert text.splitlines() == [
        "claim,experiment,effect,low,high,n,verdict,provenance",
        "c,em: SEG,0.25,0.125,0.5,3,supported,p",
        '"a, b",em: SEG,0.25,,,3,not decided by this evidence,p',
    ]


def test_readable_table_says_interval_verdict_and_sources():
    rows = [verdict(), verdict(claim="d", effect=-0.25, low=None, high=None, verdict=UNDECIDED)]
    lines = markdown_text(rows, 0.9).splitlines()
    table = [line.strip("| ").split("|") for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in table]
    assert cells[0] == ["claim", "tested by", "effect", "90% interval", "n", "verdict"]
    assert cells[2] == ["c", "em: SEG", "+0.25", "+0.125 to +0.5", "3", "**supported**"]
    assert cells[3][2:4] == ["-0.25", ""]
    assert "- em: SEG: p" in lines


def test_script_judges_files(tmp_path):
    paths = []
    for seed, values in enumerate([(0.125, 0.25), (0.25, 0.5)]):
        for method, value in zip(("u-net+rot7", "u-net"), values, strict=True):
            paths.append(tmp_path / f"{method}-{seed}.json")
            content = {
                "experiment": "em",
                "dataset": "isbi2012",
                "fold": "0",
                "method": method,
                "seed": seed,
                "measured_on": "slices",
                "metrics": {"rand_error": {"value": value}},
            }
            paths[-1].write_text(json.dumps(content))
    comparison = vars(claim(metric="rand_error"))
    table, markdown = tmp_path / "claims.csv", tmp_path / "claims.md"
    claim_table.main(paths, table, markdown, comparisons=[comparison], confidence=0.5)
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert tuple(row) == COLUMNS
    assert float(row["effect"]) == 0.1875
    # Two gains at half confidence: the interval ends at them.
    assert (float(row["low"]), float(row["high"])) == pytest.approx((0.125, 0.25))
    assert (row["n"], row["verdict"]) == ("2", SUPPORTED)
    assert row["provenance"] == "experiment em; fold 0; seeds 0, 1"
    assert "**supported**" in markdown.read_text()
