"""Each compiled step against a slow reference that reads like its definition, on random images."""

import numpy as np
import pytest
from scipy import ndimage

from unetcore.metrics.components import label_components
from unetcore.metrics.contingency import LabelComponents
from unetcore.metrics.seg import seg
from unetcore.metrics.sweep import WARPING_THRESHOLDS
from unetcore.metrics.thinning import thin
from unetcore.metrics.warping import SIMPLE, Mismatch, warped_label, warping_mismatches

FOUR = [(-1, 0), (0, -1), (1, 0), (0, 1)]  # left, up, right, down, as (x, y)
EIGHT = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0)]
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


def slow_components(white, neighbours=FOUR):
    """Flood fill from each white pixel in scan order: {(x, y): number from 1}."""
    numbers = {}
    for start in zip(*np.nonzero(white), strict=True):
        if start in numbers:
            continue
        number = max(numbers.values(), default=0) + 1
        todo = [start]
        while todo:
            x, y = todo.pop()
            inside = 0 <= x < white.shape[0] and 0 <= y < white.shape[1]
            if inside and white[x, y] and (x, y) not in numbers:
                numbers[x, y] = number
                todo += [(x + dx, y + dy) for dx, dy in neighbours]
    return numbers


def as_image(numbers, shape):
    image = np.zeros(shape, int)
    for place, number in numbers.items():
        image[place] = number
    return image


@pytest.mark.parametrize("seed", SEEDS)
def test_components(seed):
    white = random_image(np.random.default_rng(seed)) > 0.5
    labels, count = label_components(white)
    np.testing.assert_array_equal(labels, as_image(slow_components(white), white.shape))
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
    overlaps = LabelComponents(white, 0).overlaps(*proposal)
    found = zip(overlaps.label, overlaps.proposal, overlaps.pixels, strict=True)
    assert {(int(i), int(j)): int(c) for i, j, c in found} == pairs


def slow_thin(foreground):
    """The two-level watershed, word by word, with names for the states."""
    width, height = foreground.shape
    state = {place: "mask" for place in np.ndindex(width, height)}
    state |= slow_components(foreground)
    queue = []

    def around(place):
        places = [(place[0] + dx, place[1] + dy) for dx, dy in FOUR]
        return [q for q in places if q in state]

    for p in np.ndindex(width, height):
        if state[p] == "mask" and any(isinstance(state[q], int) for q in around(p)):
            state[p] = "in queue"
            queue.append(p)
    flag = False
    while queue:
        p = queue.pop(0)
        for q in around(p):
            if isinstance(state[q], int):
                if state[p] == "in queue" or (state[p] == "watershed" and flag):
                    state[p] = state[q]
                elif isinstance(state[p], int) and state[p] != state[q]:
                    state[p] = "watershed"
                    flag = False
            elif state[q] == "watershed":
                if state[p] == "in queue":
                    state[p] = "watershed"
                    flag = True
            elif state[q] == "mask":
                state[q] = "in queue"
                queue.append(q)
    left_over = np.zeros(foreground.shape, bool)
    for p in state:
        left_over[p] = state[p] == "mask"
    basins = max([n for n in state.values() if isinstance(n, int)], default=0)
    state |= {p: basins + n for p, n in slow_components(left_over).items()}
    return as_image({p: 0 if n == "watershed" else n for p, n in state.items()}, foreground.shape)


@pytest.mark.parametrize("seed", SEEDS)
def test_thinning(seed):
    foreground = random_image(np.random.default_rng(seed), largest=16) > 0.55
    labels, count = thin(foreground)
    np.testing.assert_array_equal(labels, slow_thin(foreground))
    assert count == labels.max(initial=0)


def slow_is_simple(patch):
    """Simplicity of the centre of a (3, 3) bool patch: its rule, by flood fill."""
    centre_out = np.ones((3, 3), bool)
    centre_out[1, 1] = False
    white = slow_components(patch & centre_out)
    black = slow_components(~patch & centre_out, EIGHT)
    edges = [(1 + dx, 1 + dy) for dx, dy in FOUR]
    return len({white[e] for e in edges if e in white}) == 1 and len(set(black.values())) == 1


def test_simple_pixels_for_all_rings():
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    for code in range(256):
        patch = np.zeros((3, 3), bool)
        for k, place in enumerate(ring):
            patch[place] = code >> k & 1
        assert SIMPLE[code] == slow_is_simple(patch)


def slow_warp(label, probability, threshold):
    """All mismatches listed, sorted and visited anew in each pass, until a pass flips nothing."""
    label = np.pad(label, 1)
    proposal = np.pad(probability > threshold, 1)
    confidence = np.pad(np.abs(probability - threshold).astype(np.float32), 1)
    flipped = True
    while flipped:
        flipped = False
        places = sorted(np.argwhere(label != proposal).tolist(), key=lambda p: -confidence[*p])
        for x, y in places:
            if slow_is_simple(label[x - 1 : x + 2, y - 1 : y + 2]):
                label[x, y] = not label[x, y]
                flipped = True
    return label[1:-1, 1:-1]


def slow_classes(warped, proposal, radius=20):
    """One class a remaining pixel, each from the whole image or its whole window relabelled."""
    width, height = warped.shape
    components = as_image(slow_components(warped), warped.shape)

    def values_around(image, x, y):
        places = [(x + dx, y + dy) for dx, dy in EIGHT]
        return {int(image[p]) for p in places if 0 <= p[0] < width and 0 <= p[1] < height}

    classes = np.zeros(warped.shape, int)
    for x, y in np.argwhere(warped != proposal):
        values, white = values_around(components, x, y), warped[x, y]
        if len(values) > 2:
            classes[x, y] = Mismatch.SPLIT if white else Mismatch.MERGER
        elif len(values) == 2 and not white:
            classes[x, y] = Mismatch.HOLE_ADDITION
        elif len(values) == 2:
            window = np.zeros(warped.shape, bool)
            window[max(x - radius, 0) : x + radius + 1, max(y - radius, 0) : y + radius + 1] = True
            if radius > width or radius > height:
                window[:] = True
            window &= warped
            window[x, y] = False
            local = as_image(slow_components(window), warped.shape)
            split = len(values_around(local, x, y)) > 2
            classes[x, y] = Mismatch.SPLIT if split else Mismatch.HOLE_DELETION
        elif values <= {0}:
            classes[x, y] = Mismatch.OBJECT_DELETION if white else Mismatch.OBJECT_ADDITION
        else:
            classes[x, y] = Mismatch.HOLE_ADDITION if white else Mismatch.HOLE_DELETION
    return classes


@pytest.mark.parametrize(
    ("seed", "largest"), [(s, 12) for s in SEEDS] + [(s, 50) for s in range(6)]
)
def test_warping(seed, largest):
    rng = np.random.default_rng(seed)
    label, probability = random_pair(rng, largest)
    threshold = WARPING_THRESHOLDS[rng.integers(3, 7)]
    warped = slow_warp(label, probability, threshold)
    np.testing.assert_array_equal(warped_label(label.T, probability.T, threshold), warped.T)
    np.testing.assert_array_equal(
        warping_mismatches(label.T, probability.T, threshold),
        slow_classes(warped, probability > threshold).T,
    )


def slow_seg(reference, segmentation):
    scores = []
    for r, s in zip(reference, segmentation, strict=True):
        for one in np.unique(r[r > 0]):
            score = 0.0
            for other in np.unique(s[s > 0]):
                shared = np.sum((r == one) & (s == other))
                if shared > 0.5 * np.sum(r == one):
                    score = shared / np.sum((r == one) | (s == other))
            scores.append(score)
    return np.mean(scores)


@pytest.mark.parametrize("seed", range(20))
def test_seg(seed):
    rng = np.random.default_rng(seed)
    reference = ndimage.zoom(rng.integers(0, 5, (3, 5, 6)), (1, 4, 4), order=0).astype(np.uint16)
    segmentation = np.where(rng.random(reference.shape) < 0.2, 7, np.roll(reference, 1, axis=2))
    assert seg(reference, segmentation) == pytest.approx(slow_seg(reference, segmentation))
