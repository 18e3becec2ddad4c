"""Each compiled step against a slow reference that reads like its definition, on random images."""

import numpy as np
import pytest
import slow_metrics
from scipy import ndimage

from unetcore.metrics.components import label_components, members_of
from unetcore.metrics.contingency import LabelComponents
from unetcore.metrics.seg import seg
from unetcore.metrics.sweep import WARPING_THRESHOLDS, thresholds_below
from unetcore.metrics.thinning import thin
from unetcore.metrics.topology import JOINED, SIMPLE, _surest_first
from unetcore.metrics.warping import warped_label, warping_mismatches

SEEDS = range(60)


def random_image(rng, largest=12):
    """A blobby (X, Y) map in [0, 1] with ties, of random shape."""
    shape = rng.integers(1, largest + 1, 2)
    values = ndimage.uniform_filter(rng.random(shape), int(rng.integers(1, 4)))
    return np.round(values, int(rng.integers(1, 4))).astype(np.float32).astype(np.float64)


def random_pair(rng, largest=12):
    """A label (bool) and a probability map near it."""
    probability = random_image(rng, largest)
    noise = rng.normal(0, rng.choice([0.05, 0.3]), probability.shape)
    return probability + noise > rng.uniform(0.3, 0.7), probability


@pytest.mark.parametrize("seed", SEEDS)
def test_components(seed):
    white = random_image(np.random.default_rng(seed)) > 0.5
    labels, count = label_components(white)
    np.testing.assert_array_equal(
        labels, slow_metrics.as_image(slow_metrics.components(white), white.shape)
    )
    assert count == labels.max(initial=0)


def test_components_of_many_joins_against_scipy():
    white = np.random.default_rng(0).random((200, 300)) < 0.6  # near percolation: long chains
    labels, count = label_components(white)
    expected, expected_count = ndimage.label(white)
    assert count == expected_count
    pairs = set(zip(labels[white].tolist(), expected[white].tolist(), strict=True))
    assert len(pairs) == count  # one to one: the same components under other numbers


def test_components_of_a_checkerboard_fill_the_table_of_labels():
    white = np.indices((5, 7)).sum(0) % 2 == 0
    assert label_components(white)[1] == 18


@pytest.mark.parametrize("seed", SEEDS)
def test_overlaps(seed):
    white, probability = random_pair(np.random.default_rng(seed))
    if not white.any():
        white[0, 0] = True
    reference, proposal = label_components(white)[0], label_components(probability > 0.5)
    pairs = {}
    for i, j in zip(reference[white].tolist(), proposal[0][white].tolist(), strict=True):
        pairs[i, j] = pairs.get((i, j), 0) + 1
    overlaps = LabelComponents(white).overlaps(*proposal)
    found = zip(overlaps.label, overlaps.proposal, overlaps.pixels, strict=True)
    assert {(int(i), int(j)): int(c) for i, j, c in found} == pairs
    cells = list(zip(reference.ravel().tolist(), proposal[0].ravel().tolist(), strict=True))
    first = [cells.index((i, j)) for i, j in zip(overlaps.label, overlaps.proposal, strict=True)]
    assert overlaps.first.tolist() == first


@pytest.mark.parametrize("seed", SEEDS)
def test_members_of(seed):
    labels, count = label_components(random_image(np.random.default_rng(seed)) > 0.5)
    members, starts = members_of(labels, count)
    for number in range(1, count + 1):
        found = members[starts[number] : starts[number + 1]]
        np.testing.assert_array_equal(found, np.flatnonzero(labels == number))
    assert starts[-1] == len(members) == np.count_nonzero(labels)


@pytest.mark.parametrize("seed", SEEDS)
def test_thresholds_below(seed):
    rng = np.random.default_rng(seed)
    values = random_image(rng) * rng.choice([1, 3, 255])
    # Levels of the values themselves are ties; those beyond 0..1 are allowed.
    ascending = np.sort(np.append(rng.choice(values.ravel(), 5), [-0.5, 0.0, 0.3, 0.3, 1.0, 7.0]))
    expected = (values[..., None] > ascending).sum(axis=-1)
    np.testing.assert_array_equal(thresholds_below(values, ascending), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_thinning(seed):
    foreground = random_image(np.random.default_rng(seed), largest=16) > 0.55
    labels, count = thin(foreground)
    np.testing.assert_array_equal(labels, slow_metrics.thin(foreground))
    assert count == labels.max(initial=0)


def test_simple_and_joined_for_all_rings():
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    for code in range(256):
        patch = np.zeros((3, 3), bool)
        for k, place in enumerate(ring):
            patch[place] = code >> k & 1
        assert SIMPLE[code] == slow_metrics.is_simple(patch)
        assert JOINED[code] == (len(set(slow_metrics.components(patch).values())) <= 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_surest_first(seed):
    rng = np.random.default_rng(seed)
    positions = np.sort(rng.choice(2**31 - 1, 50, replace=False)).astype(np.int32)
    confidence = (rng.integers(0, 9, 50) * rng.choice([0.1, 1e-44, 30])).astype(np.float32)
    expected = sorted(range(50), key=lambda k: -confidence[k])  # Python's sort is stable
    found = _surest_first(positions, confidence)
    np.testing.assert_array_equal(found, positions[expected])


@pytest.mark.parametrize(
    ("seed", "largest"), [(s, 12) for s in SEEDS] + [(s, 50) for s in range(6)]
)
def test_warping(seed, largest):
    rng = np.random.default_rng(seed)
    label, probability = random_pair(rng, largest)
    threshold = WARPING_THRESHOLDS[rng.integers(3, 7)]
    warped = slow_metrics.warp(label, probability, threshold)
    np.testing.assert_array_equal(warped_label(label.T, probability.T, threshold), warped.T)
    np.testing.assert_array_equal(
        warping_mismatches(label.T, probability.T, threshold),
        slow_metrics.classes(warped, probability > threshold).T,
    )


@pytest.mark.parametrize("seed", range(20))
def test_seg(seed):
    rng = np.random.default_rng(seed)
    reference = ndimage.zoom(rng.integers(0, 5, (3, 5, 6)), (1, 4, 4), order=0).astype(np.uint16)
    segmentation = np.where(rng.random(reference.shape) < 0.2, 7, np.roll(reference, 1, axis=2))
    assert seg(reference, segmentation) == pytest.approx(slow_metrics.seg(reference, segmentation))
