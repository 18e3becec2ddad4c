"""V_rand and V_info together and alone, against entropies and pairs taken pixel by pixel."""

import numpy as np
import pytest
import slow_metrics

from unetcore import metrics
from unetcore.errors import InputError
from unetcore.metrics import thinned
from unetcore.metrics.contingency import Overlaps
from unetcore.metrics.info import information_fscore


def random_slice(rng):
    white = rng.random((9, 11)) < 0.8
    white[:, 4] = white[5] = False
    probability = np.where(white, 0.7, 0.3) + rng.normal(0, 0.2, white.shape)
    return white, probability.clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(25))
def test_scores_of_a_stack(seed):
    """Mean over slices at each threshold; the largest mean is the value."""
    rng = np.random.default_rng(seed)
    slices = [random_slice(rng) for _ in range(3)]
    thresholds = [0.5, 0.3, 0.7]
    expected = {"v_rand": np.zeros(3), "v_info": np.zeros(3)}
    for white, probability in slices:
        label = slow_metrics.components(white)
        for k, threshold in enumerate(thresholds):
            lines = slow_metrics.thin(probability.astype(np.float64) > threshold)
            numbers = {place: int(lines[place]) for place in np.ndindex(lines.shape)}
            expected["v_info"][k] += slow_metrics.information(label, numbers) / 3
            expected["v_rand"][k] += rand_of(label, numbers) / 3
    labels, probability = (np.stack([one.T for one in part]) for part in zip(*slices, strict=True))
    for name, found in metrics.thinned_scores(labels, probability, thresholds=thresholds).items():
        np.testing.assert_allclose(found.values, expected[name], rtol=0, atol=1e-12)
        assert found.value == max(found.values)
        assert found.threshold == thresholds[int(np.argmax(found.values))]


def rand_of(label, numbers):
    """F of all pairs of white pixels, each pair looked at."""
    in_both = in_proposal = in_label = 0
    for p, i in label.items():
        for q, k in label.items():
            joined = p == q or numbers[p] == numbers[q] != 0
            in_both += joined and i == k
            in_proposal += joined
            in_label += i == k
    precision, recall = in_both / in_proposal, in_both / in_label
    return 2 * precision * recall / (precision + recall)


def test_both_scores_take_one_thinning_and_equal_those_alone(monkeypatch):
    calls = []
    thin = thinned.thin
    monkeypatch.setattr(thinned, "thin", lambda foreground: calls.append(0) or thin(foreground))
    white, probability = random_slice(np.random.default_rng(0))
    both = metrics.thinned_scores(white, probability)
    assert len(calls) == len(both["v_rand"].thresholds) == 11
    assert list(both) == ["v_rand", "v_info"]
    assert both["v_rand"] == metrics.v_rand(white, probability)
    assert both["v_info"] == metrics.v_info(white, probability)


@pytest.mark.parametrize("names", [[], ["x"], ["v_rand", "rand_error"], "v_rand"])
def test_scores_asked_for_are_checked(names):
    with pytest.raises(InputError, match=r"at least one is needed, out of \['v_rand', 'v_info'\]"):
        metrics.thinned_scores(np.ones((2, 2)), np.ones((2, 2)), names=names)


def test_v_info_is_0_where_label_and_proposal_share_no_information():
    # Two cells of 4 px, two segments that take 2 px of each: one tells nothing of the other.
    of_label, of_proposal = np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2])
    overlaps = Overlaps(of_label, of_proposal, np.array([2, 2, 2, 2]), np.arange(4))
    assert information_fscore(overlaps) == 0
