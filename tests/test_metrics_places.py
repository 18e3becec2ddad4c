"""Where splits and mergers are: on rows counted by hand, and summing up to the metric itself."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from unetcore import metrics
from unetcore.metrics import places as places_module
from unetcore.metrics.components import label_components
from unetcore.metrics.places import Collected


def row(text):
    """(1, X) array of `#` = white."""
    return np.array([[pixel == "#" for pixel in text]])


def noisy_stack(seed):
    """Labels (4, 20, 24) of cells behind membranes, and a map with gaps and false membranes."""
    rng = np.random.default_rng(seed)
    labels = np.ones((4, 20, 24), np.uint8)
    labels[:, ::6] = labels[:, :, ::8] = 0
    probability = np.where(labels > 0, 0.8, 0.2) + rng.normal(0, 0.25, labels.shape)
    return labels, probability.clip(0, 1)


def test_rand_split_by_hand():
    # Parts of 3, 1 and 2 px; the white pixels under the two gaps belong to none of them.
    # Ordered pairs between parts: 6 x 6 - (9 + 1 + 4).
    result = metrics.rand_error(row("########"), row("###.#.##"), thresholds=[0.5])
    assert result.mergers == metrics.Places(0, ())
    (split,) = result.splits.largest
    assert split.parts == ((0, 0, 3), (0, 6, 2), (0, 4, 1))  # y, x, pixels; the largest first
    assert (split.z, split.n_parts, split.pixels, split.pairs) == (0, 3, 6, 22)


def test_rand_merger_by_hand():
    # The pixel between the cells is black in the label and does not count.
    result = metrics.rand_error(row("###.##"), row("######"), thresholds=[0.5])
    assert result.splits == metrics.Places(0, ())
    (merger,) = result.mergers.largest
    assert merger.parts == ((0, 0, 3), (0, 4, 2))
    assert (merger.z, merger.n_parts, merger.pixels, merger.pairs) == (0, 2, 5, 12)


def test_missed_pixels_are_no_split():
    result = metrics.rand_error(row("#####"), row(".###."), thresholds=[0.5])
    assert result.recall[0] < 1
    assert result.splits.n == result.mergers.n == 0


def test_one_pixel_makes_a_part():
    result = metrics.rand_error(row("#########"), row("#######.#"), thresholds=[0.5])
    assert [part.pixels for part in result.splits.largest[0].parts] == [7, 1]


@pytest.mark.parametrize("seed", range(8))
def test_pairs_of_all_places_make_precision_and_recall(seed):
    """FP are the pairs of the mergers; FN those of the splits, and those of each missed pixel."""
    labels, probability = noisy_stack(seed)
    result = metrics.rand_error(labels, probability)
    at = result.values.index(result.value)
    in_label = missed_pairs = 0
    for z in range(len(labels)):
        white = labels[z].T > 0
        components, n = label_components(np.ascontiguousarray(white))
        found = probability[z].T.astype(np.float32) > result.threshold
        for i in range(1, n + 1):
            size, missed = np.sum(components == i), np.sum((components == i) & ~found)
            in_label += size**2
            missed_pairs += size**2 - (size - missed) ** 2 - missed
    false_negative = sum(split.pairs for split in result.splits.largest) + missed_pairs
    in_both = in_label - false_negative
    false_positive = sum(merger.pairs for merger in result.mergers.largest)
    assert result.splits.n > 0
    assert result.recall[at] == in_both / in_label
    assert result.precision[at] == in_both / (in_both + false_positive)


@pytest.mark.parametrize("seed", range(8))
def test_parts_lie_where_they_say(seed):
    labels, probability = noisy_stack(seed)
    result = metrics.rand_error(labels, probability)
    found = probability.astype(np.float32) > result.threshold
    for place in result.splits.largest + result.mergers.largest:
        assert place.pixels == sum(part.pixels for part in place.parts)
        assert place.n_parts == len(place.parts) > 1
        for part in place.parts:
            assert labels[place.z, part.y, part.x] > 0
            assert found[place.z, part.y, part.x]


def test_places_come_from_all_slices_the_most_costly_first():
    labels = np.stack([row("######"), row("######"), row("######")])
    probability = np.stack([row("#.####"), row("######"), row("###.##")])
    splits = metrics.rand_error(labels, probability, thresholds=[0.5]).splits
    assert [(place.z, place.pairs) for place in splits.largest] == [(2, 12), (0, 8)]
    assert splits.n == 2


OBJECT = np.pad(np.ones((3, 5), bool), 1)
CUT = OBJECT.copy()
CUT[:, 3] = False


def test_warping_places_by_hand():
    # As in the pure split and merger of the warping error: the last pixel of the line; all three.
    labels, proposal = np.stack([OBJECT, CUT]), np.stack([CUT, OBJECT])
    result = metrics.warping_error(labels, proposal, thresholds=[0.5])
    assert result.splits == metrics.Places(1, (metrics.WarpingPlace(z=0, y=3, x=3, pixels=1),))
    assert result.mergers == metrics.Places(1, (metrics.WarpingPlace(z=1, y=2, x=3, pixels=3),))


@pytest.mark.parametrize("seed", range(8))
def test_warping_places_hold_all_split_and_merger_pixels(seed):
    labels, probability = noisy_stack(seed)
    result = metrics.warping_error(labels, probability)
    counts = result.counts[result.values.index(result.value)]
    for places, kind, name in (
        (result.splits, metrics.Mismatch.SPLIT, "splits"),
        (result.mergers, metrics.Mismatch.MERGER, "mergers"),
    ):
        assert places.n == len(places.largest)
        for z in range(len(labels)):
            classes = metrics.warping_mismatches(labels[z], probability[z], result.threshold)
            of_slice = [place for place in places.largest if place.z == z]
            assert sum(place.pixels for place in of_slice) == getattr(counts[z], name)
            assert all(classes[place.y, place.x] == kind for place in of_slice)
            unordered = {place._replace(z=0) for place in of_slice}
            assert unordered == set(metrics.warping_places(classes, kind))
        pixels = [place.pixels for place in places.largest]
        assert pixels == sorted(pixels, reverse=True)


def test_groups_are_8_connected_and_marked_in_their_middle():
    classes = np.zeros((5, 7), np.uint8)
    classes[range(5), range(5)] = metrics.Mismatch.SPLIT  # a diagonal is one group
    classes[0, 6] = classes[2, 6] = metrics.Mismatch.SPLIT  # two pixels apart are two
    found = metrics.warping_places(classes, metrics.Mismatch.SPLIT)
    assert found == [(0, 2, 2, 5), (0, 0, 6, 1), (0, 2, 6, 1)]
    assert metrics.warping_places(classes, metrics.Mismatch.MERGER) == []


def test_only_the_most_costly_of_a_slice_are_kept_but_all_are_counted(monkeypatch):
    """Cells of 3, 5, 7, 9 and 11 px in columns, each with its middle pixel cut out."""
    labels = np.zeros((12, 11), bool)
    for k in range(5):
        labels[: 3 + 2 * k, 2 * k] = True
    proposal = labels.copy()
    proposal[[1, 2, 3, 4, 5], [0, 2, 4, 6, 8]] = False
    # The wall between the first two is open for 3 px, that between the next two for 1 px.
    proposal[:3, 1] = proposal[6, 5] = True
    monkeypatch.setattr(places_module, "MOST_PLACES", 2)
    splits = metrics.rand_error(labels, np.where(labels, proposal, 0), thresholds=[0.5]).splits
    assert splits.n == 5
    assert [place.pairs for place in splits.largest] == [2 * 5 * 5, 2 * 4 * 4]
    mergers = metrics.warping_error(labels, labels | proposal, thresholds=[0.5]).mergers
    assert (mergers.n, [(place.x, place.pixels) for place in mergers.largest]) == (
        2,
        [(1, 3), (5, 1)],
    )


def test_only_the_most_costly_of_a_stack_are_kept_but_all_are_counted(monkeypatch):
    monkeypatch.setattr(places_module, "MOST_PLACES", 3)
    collected = Collected(cost=lambda place: place[1])
    collected.add(2, [("a", 5), ("b", 1)])
    collected.add(9, [("c", 7), ("d", 5), ("e", 2)])
    places = collected.places()
    assert places == metrics.Places(11, (("c", 7), ("a", 5), ("d", 5)))
    with pytest.raises(FrozenInstanceError):
        places.n = 0
