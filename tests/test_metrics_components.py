"""Rand error, V_rand and V_info on rows of pixels, with every pair counted by hand."""

import numpy as np
import pytest
from skimage.metrics import adapted_rand_error

from unetcore.metrics import rand_error, v_info, v_rand
from unetcore.metrics.components import label_components
from unetcore.metrics.thinning import thin


def row(text):
    """(1, X) array of `#` = white."""
    return np.array([[pixel == "#" for pixel in text]])


def at_one_threshold(metric, label, proposal):
    return metric(row(label), row(proposal), thresholds=[0.5])


def test_rand_error_of_a_pure_split():
    # 5 x 5 pairs are joined in the label; 2 x 2 + 2 x 2 + 1 (the missed pixel alone) in both.
    result = at_one_threshold(rand_error, "#####", "##.##")
    assert result.precision == (1.0,)
    assert result.recall == (9 / 25,)
    assert result.value == pytest.approx(1 - 18 / 34)  # F = 2 TP / (25 + 9)


def test_rand_error_of_a_pure_merger():
    # Of 4 x 4 pairs joined in the proposal the label joins 2 x 2 + 2 x 2; the wall does not count.
    result = at_one_threshold(rand_error, "##.##", "#####")
    assert result.precision == (0.5,)
    assert result.recall == (1.0,)
    assert result.value == pytest.approx(1 / 3)


def test_rand_error_sums_pairs_over_slices():
    labels = np.stack([row("#####"), row("##.##")])
    proposal = np.stack([row("##.##"), row("#####")])
    result = rand_error(labels, proposal, thresholds=[0.5])
    assert result.precision == ((9 + 8) / (9 + 16),)
    assert result.recall == ((9 + 8) / (25 + 8),)


def test_rand_error_near_but_not_equal_to_scikit_image():
    # Without missed pixels they differ only as n^2 pairs from n (n - 1).
    rng = np.random.default_rng(0)
    labels = np.ones((40, 40), int)
    labels[::10] = labels[:, ::10] = 0
    proposal = labels.copy()
    gaps = rng.integers(0, 40, (25, 2))
    proposal[gaps[:, 0], gaps[:, 1]] = 1
    ours = rand_error(labels, proposal, thresholds=[0.5]).value
    error, _, _ = adapted_rand_error(label_components(labels)[0], label_components(proposal)[0])
    assert ours > 0
    assert ours == pytest.approx(error, abs=0.01)
    assert ours != error


def test_thinning_of_a_wide_border():
    # Both sides advance one pixel in turn. The left one was first; the right one meets it.
    labels, count = thin(np.ascontiguousarray(row("#....#").T))
    assert labels.ravel().tolist() == [1, 1, 1, 0, 2, 2]
    assert count == 2


def test_thinning_without_foreground_is_one_basin():
    labels, count = thin(np.zeros((4, 3), bool))
    assert count == 1
    assert (labels == 1).all()


def test_v_rand_ignores_the_width_of_a_border():
    label, proposal = "######.######", "###.......###"
    assert at_one_threshold(v_rand, label, proposal).value == 1.0
    # Pairs: 2 x (3 x 3 + 3) of 2 x 6 x 6, recall 1 / 3 at precision 1.
    assert at_one_threshold(rand_error, label, proposal).value == pytest.approx(0.5)


def test_v_rand_of_a_pure_split():
    # Thinning leaves a line of one pixel: the pairs of the Rand error above.
    result = at_one_threshold(v_rand, "#####", "##.##")
    assert result.value == pytest.approx(18 / 34)


def test_v_rand_of_a_pure_merger():
    result = at_one_threshold(v_rand, "##.##", "#####")
    assert result.value == pytest.approx(2 / 3)


def test_v_rand_is_a_mean_of_slices():
    labels = np.stack([row("#####"), row("##.##")])
    proposal = np.stack([row("##.##"), row("#####")])
    result = v_rand(labels, proposal, thresholds=[0.5])
    assert result.value == pytest.approx((18 / 34 + 2 / 3) / 2)


def test_v_info_of_a_pure_split():
    # n = 6. Label 3 + 3: H(A) = ln 2. Proposal 1 + 1 + 3 and a pixel of its own: H(B) = ln(12) / 2.
    # B tells all of A, H(A|B) = 0; H(B|A) = ln(3) / 2. So C1 = 1 and C2 = ln 4 / ln 12.
    result = at_one_threshold(v_info, "###.###", "#.#.###")
    share = np.log(4) / np.log(12)
    assert result.value == pytest.approx(2 * share / (1 + share))


def test_v_info_of_a_pure_merger():
    # n = 6. Label 2 + 2 + 2: H(A) = ln 3. Proposal 4 + 2, H(B|A) = 0 and C2 = 1;
    # H(A|B) = (2 / 3) ln 2, so C1 = 1 - (2 / 3) ln 2 / ln 3.
    result = at_one_threshold(v_info, "##.##.##", "#####.##")
    share = 1 - 2 / 3 * np.log(2) / np.log(3)
    assert result.value == pytest.approx(2 * share / (1 + share))


@pytest.mark.parametrize(
    ("label", "proposal"),
    [
        ("#####", "#####"),  # H(A) = 0: no information in one object, even if it is met exactly
        ("#####", "##.##"),
        ("##.##", "#####"),  # H(B) = 0
    ],
)
def test_v_info_of_a_single_component_is_0(label, proposal):
    assert at_one_threshold(v_info, label, proposal).value == 0.0
