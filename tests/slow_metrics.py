"""Slow, obvious references of the metrics, each written as its definition reads.

Images are columns first, (X, Y), as in `unetcore.metrics.slices`.
"""

import operator

import numpy as np

from unetcore.metrics import Mismatch

FOUR = [(-1, 0), (0, -1), (1, 0), (0, 1)]  # left, up, right, down, as (x, y)
EIGHT = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0)]


def components(white, neighbours=FOUR):
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


def thin(foreground):
    """The two-level watershed, word by word, with names for the states."""
    width, height = foreground.shape
    state = {place: "mask" for place in np.ndindex(width, height)}
    state |= components(foreground)
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
    state |= {p: basins + n for p, n in components(left_over).items()}
    return as_image({p: 0 if n == "watershed" else n for p, n in state.items()}, foreground.shape)


def is_simple(patch):
    """Simplicity of the centre of a (3, 3) bool patch: its rule, by flood fill."""
    centre_out = np.ones((3, 3), bool)
    centre_out[1, 1] = False
    white = components(patch & centre_out)
    black = components(~patch & centre_out, EIGHT)
    edges = [(1 + dx, 1 + dy) for dx, dy in FOUR]
    return len({white[e] for e in edges if e in white}) == 1 and len(set(black.values())) == 1


def warp(label, probability, threshold):
    """All mismatches listed, sorted and visited anew in each pass, until a pass flips nothing."""
    label = np.pad(label, 1)
    proposal = np.pad(probability > threshold, 1)
    confidence = np.pad(np.abs(probability - threshold).astype(np.float32), 1)
    flipped = True
    while flipped:
        flipped = False
        places = sorted(np.argwhere(label != proposal).tolist(), key=lambda p: -confidence[*p])
        for x, y in places:
            if is_simple(label[x - 1 : x + 2, y - 1 : y + 2]):
                label[x, y] = not label[x, y]
                flipped = True
    return label[1:-1, 1:-1]


def classes(warped, proposal, radius=20):
    """One class a remaining pixel, each from the whole image or its whole window relabelled."""
    width, height = warped.shape
    image_of_components = as_image(components(warped), warped.shape)

    def values_around(image, x, y):
        places = [(x + dx, y + dy) for dx, dy in EIGHT]
        return {int(image[p]) for p in places if 0 <= p[0] < width and 0 <= p[1] < height}

    classes = np.zeros(warped.shape, int)
    for x, y in np.argwhere(warped != proposal):
        values, white = values_around(image_of_components, x, y), warped[x, y]
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
            local = as_image(components(window), warped.shape)
            split = len(values_around(local, x, y)) > 2
            classes[x, y] = Mismatch.SPLIT if split else Mismatch.HOLE_DELETION
        elif values <= {0}:
            classes[x, y] = Mismatch.OBJECT_DELETION if white else Mismatch.OBJECT_ADDITION
        else:
            classes[x, y] = Mismatch.HOLE_ADDITION if white else Mismatch.HOLE_DELETION
    return classes


def seg(reference, segmentation):
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


def rand_pairs(white, probability, threshold, above=operator.gt):
    """TP, TP + FP, TP + FN of one slice: pairs of white pixels, each pair looked at.

    `above` says what foreground is; the definition is strict.
    """
    label = components(white)
    segment = components(above(probability, threshold))
    pixels = list(label)
    in_both = in_proposal = in_label = 0
    for p in pixels:
        for q in pixels:
            joined = p == q or (p in segment and segment[p] == segment.get(q))
            in_both += joined and label[p] == label[q]
            in_proposal += joined
            in_label += label[p] == label[q]
    return in_both, in_proposal, in_label


def information(label, thinned):
    """V_info of one slice by entropies; both are {place: number}, 0 or none on a thin line."""
    n = len(label)
    of_a, of_b, of_both = {}, {}, {}
    for place, i in label.items():
        j = thinned.get(place) or place  # a missed pixel is a component of its own
        of_a[i] = of_a.get(i, 0) + 1
        of_b[j] = of_b.get(j, 0) + 1
        of_both[i, j] = of_both.get((i, j), 0) + 1

    def entropy(counts):
        return -sum(c / n * np.log(c / n) for c in counts.values())

    a, b, both = entropy(of_a), entropy(of_b), entropy(of_both)
    if len(of_a) == 1 or len(of_b) == 1:
        return 0.0
    shared = a + b - both
    if shared <= 1e-15:
        return 0.0
    return 2 * (shared / a) * (shared / b) / (shared / a + shared / b)
