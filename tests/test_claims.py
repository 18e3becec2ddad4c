import csv
import json
from dataclasses import replace

import claim_table
import pytest

from unetcore.claim_table import (
    COLUMNS,
    csv_text,
    drawn,
    html_text,
    markdown_text,
    pairs_csv_text,
    written,
)
from unetcore.claims import (
    DIFFERENCE,
    NOT_SUPPORTED,
    ONE_BY_ONE,
    SEAM,
    SECONDS,
    SUPPORTED,
    UNDECIDED,
    Claim,
    Verdict,
    interval,
    judge,
    read_quantities,
)
from unetcore.errors import InputError
from unetcore.figures import claim_intervals
from unetcore.tables import MEASURES, Measurement

FALLS = [metric for metric, measure in MEASURES.items() if measure.arrow == "↓"]
RISES = [metric for metric, measure in MEASURES.items() if measure.arrow == "↑"]


def claim(**changed):
    given = {
        "claim": "Averaging helps",
        "source": "Sec. 4",
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


def judged(*arguments):
    """Verdict on the only set of images."""
    (verdict,) = judge(*arguments)
    return verdict


def verdict(**changed):
    given = {"claim": "c", "experiment": "em: SEG", "effect": 0.25, "low": 0.125, "high": 0.5}
    given |= {"n": 3, "verdict": SUPPORTED, "provenance": "p", "source": "Sec. 4"}
    given |= {"cost": "no training", "evidence": "3 seeds", "measure": "SEG; width 8"}
    return Verdict(**(given | changed))


def test_effect_and_interval_by_hand():
    result = judged(claim(), pairs([(0.6, 0.5), (0.8, 0.6), (1.0, 0.7)]), 0.95)
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
    result = judged(claim(metric=metric), pairs([(0.75, 0.5)], metric), 0.95)
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
    assert judged(claim(), pairs(values), 0.95).verdict == expected


def test_verdict_of_a_falling_metric_turns_with_its_sign():
    lower = pairs([(0.5, 0.6), (0.59, 0.7), (0.7, 0.8)], "rand_error")
    assert judged(claim(metric="rand_error"), lower, 0.95).verdict == SUPPORTED


def test_less_confidence_can_decide():
    runs = pairs([(0.6, 0.5), (0.8, 0.6), (1.0, 0.7)])
    assert judged(claim(), runs, 0.95).verdict == UNDECIDED
    assert judged(claim(), runs, 0.5).verdict == SUPPORTED


def test_a_single_pair_decides_nothing():
    result = judged(claim(), pairs([(0.9, 0.1)]), 0.95)
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
        result = judged(claim(), given, 0.9)
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
    result = judged(claim(), others + pairs([(0.75, 0.5)]) + others, 0.95)
    assert (result.effect, result.n) == (0.25, 1)


def test_two_experiments_are_compared_and_named():
    runs = [measured(0.75, experiment="weighted"), measured(0.5, experiment="plain")]
    sides = {"experiment": "weighted", "against_experiment": "plain", "method": "u-net"}
    result = judged(claim(**sides), runs, 0.95)
    assert result.effect == 0.25
    assert result.experiment == "weighted: SEG of u-net against u-net in plain"


def test_comparison_within_an_experiment_names_it_once():
    result = judged(claim(), pairs([(0.75, 0.5)]), 0.95)
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
        judged(claim(), runs, 0.95)


def test_seeds_are_averaged_over_folds_and_the_interval_is_over_seeds():
    """Folds gain 0.0 and 0.2 with one seed, 0.2 and 0.4 with the other: 0.1 and 0.3 by seed."""
    gains = {("0", 0): 0.0, ("1", 0): 0.2, ("0", 1): 0.2, ("1", 1): 0.4}
    runs = [
        measured(0.5 + gain * on, fold=fold, seed=seed, method=method)
        for (fold, seed), gain in gains.items()
        for method, on in (("u-net+rot7", 1), ("u-net", 0))
    ]
    result = judged(claim(), runs, 0.5)
    assert result.gains == pytest.approx((0.1, 0.3))
    # At half confidence the interval of two numbers ends at them.
    assert (result.effect, result.low, result.high) == pytest.approx((0.2, 0.1, 0.3))
    assert (result.n, result.evidence) == (2, "2 seeds, 2 folds")


def test_folds_of_a_single_seed_are_no_evidence_of_chance():
    """They share training images: an interval over them would decide, and too often."""
    gains = {"0": 0.2, "1": 0.21, "2": 0.19}
    runs = [
        measured(0.5 + gain * on, fold=fold, method=method)
        for fold, gain in gains.items()
        for method, on in (("u-net+rot7", 1), ("u-net", 0))
    ]
    assert interval(list(gains.values()), 0.95)[0] > 0
    result = judged(claim(), runs, 0.95)
    assert (result.gains, result.evidence) == (pytest.approx((0.2,)), "1 seed, 3 folds")
    assert (result.low, result.high, result.verdict) == (None, None, UNDECIDED)
    assert [pair.fold for pair in result.pairs] == ["0", "1", "2"]


def test_held_out_slices_and_official_ones_are_judged_apart():
    held_out = pairs([(0.6, 0.5), (0.7, 0.59), (0.8, 0.7)])
    official = [
        replace(m, measured_on="official slices", fold="official", values={"seg": 1 - value})
        for m in held_out
        for value in m.values.values()
    ]
    ours, theirs = judge(claim(), [*held_out, *official], 0.95)
    assert (ours.verdict, theirs.verdict) == (SUPPORTED, NOT_SUPPORTED)
    assert (ours.evidence, theirs.evidence) == ("3 seeds, 1 fold", "3 seeds, 1 fold")
    assert ours.effect == pytest.approx(-theirs.effect)
    assert ours.experiment.endswith("against u-net; on slices")
    assert theirs.measure == "SEG; on official slices"
    (alone,) = judge(claim(), held_out, 0.95)
    assert replace(ours, experiment=alone.experiment, measure=alone.measure) == alone


def test_times_of_different_machines_are_not_compared():
    sides = {"method": "u-net", "against_method": "u-net+rot7", "metric": SECONDS}
    runs = [
        replace(measured(1.0, method=method, metric=SECONDS), provenance={"prediction_hardware": m})
        for method, m in (("u-net", "a GPU"), ("u-net+rot7", "two cores"))
    ]
    with pytest.raises(InputError, match=r"times of different machines, a GPU, .* and two cores"):
        judged(claim(ratio=True, **sides), runs, 0.95)
    machine = {"prediction_hardware": "two cores", "prediction_threads": 1}
    machine |= {"prediction_precision": "float32"}
    same = [replace(m, provenance=machine) for m in runs]
    assert judged(claim(ratio=True, **sides), same, 0.95).effect == 1
    for changed in ({"prediction_threads": 2}, {"prediction_precision": "bfloat16"}):
        other = [same[0], replace(same[1], provenance=machine | changed)]
        with pytest.raises(InputError, match=f"two cores, .*{next(iter(changed.values()))}"):
            judged(claim(ratio=True, **sides), other, 0.95)


def test_what_was_trained_stands_in_the_comparison():
    runs = [replace(m, provenance={"width": 8, "steps": 600}) for m in pairs([(0.6, 0.5)])]
    result = judged(claim(), runs, 0.95)
    assert result.experiment == "em: SEG of u-net+rot7 against u-net (width 8, 600 steps)"
    assert result.measure == "SEG; width 8, 600 steps"


def test_ratio_of_times_by_hand():
    """8 / 2 and 16 / 1 s: 4 and 16 times as fast, geometrically 8 times, interval by logarithms."""
    sides = {"experiment": "em", "method": "u-net", "against_experiment": "em-window"}
    sides |= {"against_method": "sliding-window", "metric": SECONDS, "against_metric": ONE_BY_ONE}
    runs = [
        measured(2.0, method="u-net", metric=SECONDS),
        measured(1.0, method="u-net", metric=SECONDS, seed=1),
        measured(8.0, method="sliding-window", metric=ONE_BY_ONE, experiment="em-window"),
        measured(16.0, method="sliding-window", metric=ONE_BY_ONE, experiment="em-window", seed=1),
        measured(0.1, method="sliding-window", metric=SECONDS, experiment="em-window"),
    ]
    result = judged(claim(ratio=True, **sides), runs, 0.5)
    # At half confidence the interval of two logarithms ends at them.
    assert (result.effect, result.low, result.high) == pytest.approx((8.0, 4.0, 16.0))
    assert result.verdict == SUPPORTED
    assert result.experiment == (
        "em: seconds per frame of u-net against seconds per frame, window by window of "
        "sliding-window in em-window"
    )
    slower = judged(claim(ratio=True, **sides), [replace(m, values={
        name: 1 / value for name, value in m.values.items()}) for m in runs], 0.5)  # fmt: skip
    assert (slower.effect, slower.verdict) == (pytest.approx(1 / 8), NOT_SUPPORTED)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.4, 0.5, 0.6], SUPPORTED),
        ([1.4, 1.5, 1.6], NOT_SUPPORTED),
        ([0.9, 1.1], UNDECIDED),
        ([0.5], SUPPORTED),
        ([0.0] * 9 + [1.0001], UNDECIDED),  # the mean keeps the limit, one measurement does not
        ([0.0, 0.0], SUPPORTED),
    ],
)
def test_limit_is_what_every_measurement_is_compared_with(values, expected):
    limit = claim(
        method="u-net", metric=SECONDS, against_experiment=None, against_method=None, limit=1.0
    )
    runs = [measured(v, seed=k, method="u-net", metric=SECONDS) for k, v in enumerate(values)]
    result = judged(limit, runs, 0.95)
    assert result.verdict == expected
    assert result.effect == pytest.approx(1 - sum(values) / len(values))
    assert result.experiment == "em: seconds per frame of u-net below 1"


def test_claim_has_another_side_or_a_limit():
    for changes in ({"limit": 1.0}, {"against_method": None}):
        with pytest.raises(InputError, match="need either a limit or another method"):
            claim(**changes)
    with pytest.raises(InputError, match="a limit is compared by difference"):
        claim(against_experiment=None, against_method=None, limit=1.0, ratio=True)


def test_threshold_without_a_seed_is_compared_with_every_seed():
    runs = [measured(0.75, seed=0, method="u-net"), measured(0.5, seed=1, method="u-net")]
    runs.append(measured(0.25, seed=None, method="best-threshold"))
    result = judged(claim(method="u-net", against_method="best-threshold"), runs, 0.5)
    assert result.gains == (0.5, 0.25)


def test_numbers_on_other_images_are_no_pair():
    other = replace(measured(0.5), measured_on="other slices")
    runs = [measured(0.75, method="u-net+rot7"), other]
    with pytest.raises(InputError, match="no fold and seed"):
        judged(claim(), runs, 0.95)


def test_cost_counts_each_training_once():
    took = {"train_seconds": 90.0}
    runs = [replace(m, provenance=took) for m in pairs([(0.6, 0.5), (0.8, 0.6)])]
    assert judged(claim(), runs, 0.95).cost == "2 trainings, 3 min"  # both sides share them
    alone = [replace(m, experiment="weighted") for m in runs if m.method == "u-net+rot7"]
    both = claim(experiment="weighted")
    assert judged(both, runs + alone, 0.95).cost == "4 trainings, 6 min"
    assert judged(claim(), pairs([(0.6, 0.5)]), 0.95).cost == "no training"


def test_provenance_names_both_sides_and_the_cost():
    runs = [
        replace(measured(0.75, experiment="a"), provenance={"width": 8, "train_seconds": 60.0}),
        replace(measured(0.5, experiment="b"), provenance={"width": 4}),
    ]
    result = judged(claim(experiment="a", method="u-net", against_experiment="b"), runs, 0.95)
    assert result.provenance == (
        "experiment a; fold 0; seed 0; width 8; trained 60 s each; "
        "against experiment b; fold 0; seed 0; width 4; cost: 1 training, 1 min"
    )


def test_page_of_the_report_holds_every_cell():
    page = html_text([verdict(claim="<b> & c"), verdict()], 0.95)
    assert "&lt;b&gt; &amp; c" in page
    assert page.count("<tr>") == 3
    assert "<th>95% interval</th>" in page
    assert "<li>em: SEG: p</li>" in page


def lines(axes, name):
    return [line for line in axes.lines if line.get_gid() == name]


def test_figure_puts_supported_claims_right_of_no_effect():
    decided = judged(claim(), pairs([(0.6, 0.5), (0.7, 0.59), (0.8, 0.7)]), 0.95)
    turned = judged(claim(), pairs([(0.5, 0.6), (0.59, 0.7), (0.7, 0.8)]), 0.95)
    single = judged(claim(), pairs([(0.5, 0.6)]), 0.95)
    figure = claim_intervals([drawn(v) for v in (decided, turned, single)], 0.95)
    (axes,) = figure.axes
    bars = [line.get_xdata() for line in lines(axes, "interval")]
    assert len(bars) == 2  # a single seed has none
    assert min(bars[0]) > 0 > max(bars[1])
    assert [len(line.get_xdata()) for line in lines(axes, "gains")] == [3, 3, 1]
    means = lines(axes, "effect")
    assert [line.get_markerfacecolor() == "white" for line in means] == [False, False, True]
    texts = [text.get_text() for text in axes.texts]
    assert texts[::2] == [SUPPORTED, NOT_SUPPORTED, UNDECIDED]


def test_figure_draws_gains_as_shares_of_the_other_side_on_one_scale():
    small = judged(claim(), pairs([(0.51, 0.5), (0.52, 0.5)]), 0.5)  # by 2 and by 4 per cent
    large = judged(claim(), pairs([(0.6, 0.5), (0.9, 0.5)]), 0.95)  # by 20 and by 80 per cent
    limit = claim(metric=SEAM, against_experiment=None, against_method=None, limit=0.5)
    kept = judged(limit, [measured(0.1, method="u-net+rot7", metric=SEAM)], 0.95)
    (axes,) = claim_intervals([drawn(v) for v in (small, large, kept)], 0.95).axes
    effects = [float(line.get_xdata()[0]) for line in lines(axes, "effect")]
    assert effects == pytest.approx([0.03, 0.5, 0.8])  # 0.1 keeps the limit of 0.5 by 80 per cent
    bars = [line.get_xdata() for line in lines(axes, "interval")]
    assert bars[0] == pytest.approx([0.02, 0.04])
    # Of two seeds the interval of 95 % reaches far beyond the gains; arrows say so.
    assert bars[1] == pytest.approx(axes.get_xlim())
    assert sorted(line.get_marker() for line in lines(axes, "goes on")) == ["<", ">"]


def test_effect_beyond_the_scale_is_an_arrow_at_its_end():
    limit = claim(metric=SEAM, against_experiment=None, against_method=None, limit=1.0)
    far = judged(limit, [measured(4.2, method="u-net+rot7", metric=SEAM)], 0.95)
    near = judged(claim(), pairs([(0.6, 0.5)]), 0.95)
    (axes,) = claim_intervals([drawn(far), drawn(near)], 0.95).axes
    assert axes.get_xlim() == (-1.5, 1.5)
    assert not lines(axes, "goes on")  # one arrow is enough
    assert lines(axes, "gains")[0].get_xdata() == [-1.5]
    arrow, dot = lines(axes, "effect")
    assert (arrow.get_marker(), arrow.get_xdata()) == ("<", [-1.5])
    assert (dot.get_marker(), dot.get_xdata()) == ("o", pytest.approx([0.2]))


def test_figure_has_a_scale_of_its_own_for_quotients():
    ratio = claim(metric=SECONDS, ratio=True)
    runs = [
        measured(value, seed=seed, method=method, metric=SECONDS)
        for method, values in (("u-net+rot7", (1.0, 1.0)), ("u-net", (100.0, 400.0)))
        for seed, value in enumerate(values)
    ]
    faster, better = judged(ratio, runs, 0.5), judged(claim(), pairs([(0.6, 0.5)]), 0.95)
    times, shares = claim_intervals([drawn(better), drawn(faster)], 0.95).axes
    assert (times.get_xscale(), shares.get_xscale()) == ("log", "linear")
    assert lines(times, "effect")[0].get_xdata() == pytest.approx([200])
    assert lines(times, "no effect")[0].get_xdata() == [1, 1]
    assert lines(times, "interval")[0].get_xdata() == pytest.approx([100, 400])
    assert lines(shares, "effect")[0].get_xdata() == pytest.approx([0.2])


def test_times_and_seams_are_read_beside_metrics(tmp_path):
    record = {
        "experiment": "em", "dataset": "isbi2012", "fold": "0", "method": "sliding-window",
        "seed": 3, "measured_on": "slices", "metrics": {"rand_error": {"value": 0.5}},
        "provenance": {
            "seconds_per_frame": 2.5, "pixels_per_frame": 1000,
            "one_by_one": {
                "seconds_per_window": 0.25, "windows": 9, "largest_difference": 1e-7
            },
        },
    }  # fmt: skip
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(record))
    assert read_quantities(path).values == {
        "rand_error": 0.5, SECONDS: 2.5, ONE_BY_ONE: 250.0, DIFFERENCE: 1e-7
    }  # fmt: skip
    seam = {key: record[key] for key in ("experiment", "dataset", "fold", "method", "seed")}
    path.write_text(json.dumps(seam | {"seam": 0.0, "provenance": {"width": 16}}))
    read = read_quantities(path)
    assert (read.values, read.seed, read.provenance) == ({SEAM: 0.0}, 3, {"width": 16})


def test_csv_has_exactly_the_agreed_columns():
    text = csv_text([verdict(), verdict(claim="a, b", low=None, high=None, verdict=UNDECIDED)])
    assert text.splitlines() == [
        "claim,experiment,effect,low,high,n,verdict,provenance",
        "c,em: SEG,0.25,0.125,0.5,3,supported,p",
        '"a, b",em: SEG,0.25,,,3,not decided by this evidence,p',
    ]


def test_readable_table_says_interval_verdict_and_sources():
    rows = [
        verdict(),
        verdict(claim="d", effect=-0.25, low=None, high=None, verdict=UNDECIDED),
        verdict(effect=40.0, low=10.0, high=160.0, ratio=True),
    ]
    lines = markdown_text(rows, 0.9).splitlines()
    table = [line.strip("| ").split("|") for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in table]
    assert cells[0] == [
        "claim", "where", "measured", "effect", "90% interval", "over", "verdict"
    ]  # fmt: skip
    assert cells[2] == [
        "c", "Sec. 4", "SEG; width 8", "+0.25", "+0.125 to +0.5", "3 seeds", "**supported**"
    ]  # fmt: skip
    assert cells[3][3:5] == ["-0.25", ""]
    assert cells[4][3:5] == ["40 times", "10 to 160 times"]
    assert "- **c**: em: SEG: p" in lines


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
    made = [tmp_path / f"claims.{suffix}" for suffix in ("csv", "md", "html", "svg")]
    table, markdown, html, figure = made
    numbers = tmp_path / "claim_pairs.csv"
    claim_table.main(paths, *made, numbers, comparisons=[comparison], confidence=0.5)
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert tuple(row) == COLUMNS
    assert float(row["effect"]) == 0.1875
    # Two gains at half confidence: the interval ends at them.
    assert (float(row["low"]), float(row["high"])) == pytest.approx((0.125, 0.25))
    assert (row["n"], row["verdict"]) == ("2", SUPPORTED)
    assert row["provenance"] == "experiment em; fold 0; seeds 0, 1; cost: no training"
    assert "**supported**" in markdown.read_text()
    assert "<td>supported</td>" in html.read_text()
    assert "<svg" in figure.read_text()
    first, *lines = numbers.read_text().splitlines()
    assert first == "claim,experiment,fold,seed,value,against,gain"
    where = "Averaging helps,em: Rand error of u-net+rot7 against u-net"
    assert lines == [f"{where},0,0,0.125,0.25,0.125", f"{where},0,1,0.25,0.5,0.25"]


def test_every_fold_and_seed_behind_an_effect_is_kept():
    values = {("0", 0): 4.0, ("1", 0): 9.0, ("0", 1): 1.0}
    sides = [("u-net+rot7", 1.0), ("u-net", 0.0)]
    measurements = [
        measured(value if factor else 1.0, fold, seed, method, SECONDS)
        for (fold, seed), value in values.items()
        for method, factor in sides
    ]
    result = judged(claim(metric=SECONDS, ratio=True), measurements, 0.95)
    # A time of 4 s against one of 1 s is a quarter as fast.
    assert [(p.fold, p.seed, p.value, p.against, p.gain) for p in result.pairs] == [
        ("0", 0, 4.0, 1.0, 1 / 4),
        ("1", 0, 9.0, 1.0, 1 / 9),
        ("0", 1, 1.0, 1.0, 1.0),
    ]
    assert result.gains == pytest.approx((1 / 6, 1.0))


def test_pairs_of_a_limit_hold_the_limit():
    limited = claim(against_experiment=None, against_method=None, limit=0.5)
    result = judged(limited, [measured(0.75, method="u-net+rot7")], 0.95)
    (pair,) = result.pairs
    assert (pair.value, pair.against, pair.gain) == (0.75, 0.5, 0.25)
    assert pairs_csv_text([result]).splitlines()[1].endswith(",0,0,0.75,0.5,0.25")


def test_of_a_limit_people_see_what_was_measured():
    limited = claim(metric=SEAM, against_experiment=None, against_method=None, limit=2e-5)
    values = [(0, 1e-6), (1, 2.5e-6)]
    seams = [measured(value, seed=s, method="u-net+rot7", metric=SEAM) for s, value in values]
    result = judged(limited, seams, 0.95)
    assert written(result) == ("measured 1e-06 to 2.5e-06", "limit 2e-05")
    assert (result.low, result.high) == pytest.approx((1.75e-5, 1.9e-5))
    assert drawn(result).text == "measured 1e-06 to 2.5e-06 (limit 2e-05)"


def test_both_sides_networks_are_named_where_they_differ():
    def trained(method, width):
        one = measured(0.5, method=method)
        return replace(one, provenance={"width": width, "steps": 9, "train_seconds": 1})

    sides = [trained("u-net+rot7", 8), trained("u-net", 48)]
    result = judged(claim(), sides, 0.95)
    assert result.experiment.endswith("(width 8, 9 steps; against width 48, 9 steps)")
    assert result.measure == "SEG; width 8, 9 steps; against width 48, 9 steps"
    result = judged(claim(), [trained("u-net+rot7", 8), trained("u-net", 8)], 0.95)
    assert result.experiment.endswith("(width 8, 9 steps)")
    assert result.measure == "SEG; width 8, 9 steps"
