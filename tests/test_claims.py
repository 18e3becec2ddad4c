"""Verdicts: which pairs are compared, what they say together, and what decides."""

import json
from dataclasses import replace

import pytest

from unetcore.claims import (
    DIFFERENCE,
    NOT_SUPPORTED,
    ONE_BY_ONE,
    SEAM,
    SECONDS,
    SUPPORTED,
    UNDECIDED,
    Claim,
    interval,
    judge,
    read_quantities,
)
from unetcore.errors import InputError
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
        "against experiment b; fold 0; seed 0; width 4; cost: 1 training, 60 s"
    )


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
