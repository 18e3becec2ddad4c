"""Distances to the two nearest labels: by hand, against every pixel of every cell, and limits."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from unetcore.distances import two_nearest
from unetcore.errors import InputError

LARGE_IMAGE = """
import resource, sys
import numpy as np
from unetcore.weights import border_weight

side, pitch = 4096, 29
rows, columns = np.mgrid[:side, :side].astype(np.int16)
inside = (rows % pitch - 14) ** 2 + (columns % pitch - 14) ** 2 < 12**2
labels = np.where(inside, rows // pitch * np.int32(142) + columns // pitch + 1, 0).astype(np.int32)
del rows, columns, inside
weight = border_weight(labels)
n_cells = len(np.unique(labels[labels > 0]))
np.savez(sys.argv[1], labels=labels[:200, :200], weight=weight[:150, :150], n_cells=n_cells)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def scattered(rng, shape, n_labels, share):
    """Every pixel a label of its own drawing: cells of many parts that lie among each other."""
    return np.where(rng.random(shape) < share, rng.integers(1, n_labels + 1, shape), 0)


def convex(rng, shape, n_labels):
    """Discs that touch, overlap and leave the image."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, int)
    for label in range(1, n_labels + 1):
        row, column = rng.uniform(-2, np.array(shape) + 2)
        labels[np.hypot(rows - row, columns - column) < rng.uniform(0.6, 7)] = label
    return labels


def by_brute_force(labels):
    """Squared distances and labels, sorted for every pixel by distance, then label: (K, H, W)."""
    grid = np.stack(np.mgrid[: labels.shape[0], : labels.shape[1]], axis=-1)
    names = np.unique(labels[labels > 0])
    squares = [
        ((grid[:, :, None] - np.argwhere(labels == name)) ** 2).sum(-1).min(-1) for name in names
    ]
    far = np.full((2, *labels.shape), np.inf)  # stands in for cells that are not there
    squares = np.concatenate([np.reshape(squares, (-1, *labels.shape)), far])
    order = np.argsort(squares, axis=0, kind="stable")
    return np.take_along_axis(squares, order, 0), np.append(names, [0, 0])[order]


def assert_agrees(labels):
    found = two_nearest(labels, return_labels=True)
    squares, names = by_brute_force(labels)
    np.testing.assert_array_equal(found.d1, np.sqrt(squares[0]))
    np.testing.assert_array_equal(found.d2, np.sqrt(squares[1]))
    np.testing.assert_array_equal(found.label1, names[0])
    np.testing.assert_array_equal(found.label2, names[1])


def test_distances_in_a_row_of_three_cells():
    labels = np.array([[5, 0, 0, 9, 0, 0, 0, 0, 5, 0]])
    found = two_nearest(labels, return_labels=True)
    assert found.d1.tolist() == [[0, 1, 1, 0, 1, 2, 2, 1, 0, 1]]
    assert found.d2.tolist() == [[3, 2, 2, 3, 4, 3, 3, 4, 5, 6]]
    assert found.label1.tolist() == [[5, 5, 9, 9, 9, 9, 5, 5, 5, 5]]
    assert found.label2.tolist() == [[9, 9, 5, 5, 5, 5, 9, 9, 9, 9]]


def test_distances_are_euclidean_by_hand():
    labels = np.zeros((5, 8), int)
    labels[0, 0], labels[4, 7] = 1, 2
    found = two_nearest(labels)
    assert found.d1[3, 4] == np.sqrt(1 + 9)
    assert found.d2[3, 4] == 5  # 3 down, 4 across
    assert found.d2[0, 0] == np.sqrt(16 + 49)


def test_third_label_of_a_row_comes_to_count_two_rows_away():
    """In the row of 1 2 3 the nearest of the last pixel are 3 and 2; in that below, 4 is nearer."""
    labels = np.array([[1, 2, 3, 0], [0, 0, 0, 0], [0, 0, 0, 4]])
    found = two_nearest(labels, return_labels=True)
    assert (found.label1[0, 3], found.label2[0, 3]) == (3, 2)  # 4 is also 2 px away: lower first
    assert (found.label1[1, 3], found.label2[1, 3]) == (4, 3)
    assert (found.d1[1, 3], found.d2[1, 3]) == (1, np.sqrt(2))


@pytest.mark.parametrize("seed", range(60))
def test_scattered_labels_agree_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 20, 2))
    assert_agrees(scattered(rng, shape, rng.integers(1, 9), rng.uniform(0, 1) ** 2))


@pytest.mark.parametrize("seed", range(30))
def test_discs_agree_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    assert_agrees(convex(rng, tuple(rng.integers(8, 32, 2)), rng.integers(1, 12)))


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("share", [0.1, 0.6, 1])
def test_thin_images_agree_with_brute_force(shape, share):
    assert_agrees(scattered(np.random.default_rng(7), shape, 4, share))


def test_image_wider_than_a_strip_agrees_with_brute_force():
    assert_agrees(scattered(np.random.default_rng(0), (6, 1100), 30, 0.01))


@pytest.mark.parametrize("seed", range(20))
def test_limits_leave_out_what_lies_beyond_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    labels = scattered(rng, (17, 23), 6, 0.04)
    squares, _ = by_brute_force(labels)
    d1, d2 = np.sqrt(squares[:2])
    # Among the limits are distances that occur: those are within.
    limit = rng.choice([*np.unique(d1), rng.uniform(0, 9)])
    limit_of_sum = rng.choice([*np.unique(d1 + d2), rng.uniform(0, 20)])
    found = two_nearest(labels, limit, limit_of_sum)
    near = d1 <= limit
    np.testing.assert_array_equal(found.d1, np.where(near, d1, np.inf))
    both = near & (d1 + d2 <= limit_of_sum)
    np.testing.assert_array_equal(found.d2, np.where(both, d2, np.inf))


def test_limit_of_sum_is_twice_the_limit_by_default():
    labels = np.array([[1, 0, 0, 0, 0, 0, 2]])
    assert two_nearest(labels, 2).d2.tolist() == [[np.inf] * 7]  # the sum is 6 everywhere
    assert two_nearest(labels, 3).d2.tolist() == [[6, 5, 4, 3, 4, 5, 6]]


def test_only_wanted_pixels_are_computed():
    labels = scattered(np.random.default_rng(3), (12, 15), 5, 0.2)
    wanted = np.random.default_rng(4).random(labels.shape) < 0.5
    whole = two_nearest(labels)
    found = two_nearest(labels, where=wanted)
    np.testing.assert_array_equal(found.d1, np.where(wanted, whole.d1, np.inf))
    np.testing.assert_array_equal(found.d2, np.where(wanted, whole.d2, np.inf))


@pytest.mark.parametrize("labels", [np.zeros((5, 6), int), np.full((5, 6), 3), np.diag([0, 0, 8])])
def test_fewer_than_two_cells_have_no_second_distance(labels):
    assert_agrees(labels)
    assert np.isinf(two_nearest(labels).d2).all()


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, np.transpose, np.rot90])
@pytest.mark.parametrize("seed", range(5))
def test_distances_turn_with_the_image(turn, seed):
    labels = convex(np.random.default_rng(seed), (30, 41), 9)
    whole, turned = two_nearest(labels), two_nearest(turn(labels))
    np.testing.assert_array_equal(turned.d1, turn(whole.d1))
    np.testing.assert_array_equal(turned.d2, turn(whole.d2))


@pytest.mark.parametrize(
    ("dtype", "highest"),
    [
        (np.uint8, 255),
        (np.uint16, 60_000),
        (">u2", 60_000),
        (np.int32, 2**31 - 1),
        (np.uint32, 2**32 - 1),
        (np.int64, 2**62 + 1),
        (np.uint64, 2**64 - 1),
    ],
)
def test_sparse_numbers_of_every_type_are_the_same_cells(dtype, highest):
    labels = convex(np.random.default_rng(1), (25, 26), 6)
    names = np.array([0, 1, 2, highest // 2, highest - 2, highest - 1, highest], dtype)
    plain = two_nearest(labels, return_labels=True)
    found = two_nearest(names[labels], return_labels=True)
    np.testing.assert_array_equal(found.d1, plain.d1)
    np.testing.assert_array_equal(found.d2, plain.d2)
    np.testing.assert_array_equal(found.label1, names[plain.label1])
    np.testing.assert_array_equal(found.label2, names[plain.label2])
    assert found.label1.dtype == dtype


def test_memory_order_and_views_do_not_matter():
    labels = scattered(np.random.default_rng(2), (20, 30), 6, 0.2)
    whole = two_nearest(labels)
    for same in (np.asfortranarray(labels), np.repeat(labels, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(two_nearest(same).d2, whole.d2)


def test_bool_and_whole_floats_are_labels():
    labels = scattered(np.random.default_rng(2), (9, 8), 4, 0.3)
    np.testing.assert_array_equal(two_nearest(labels.astype(float)).d2, two_nearest(labels).d2)
    mask = labels > 0
    np.testing.assert_array_equal(two_nearest(mask).d1, two_nearest(mask.astype(int)).d1)


def one_label_per_row(labels):
    """The transform with a mistake: of each row only the nearest label is carried."""
    d1, d2 = np.full((2, *labels.shape), np.inf)
    columns = np.arange(labels.shape[1])
    for y, x in np.ndindex(*labels.shape):
        nearest = {}
        for row, ids in enumerate(labels):
            if not ids.any():
                continue
            column = min(columns[ids > 0], key=lambda c: abs(c - x))
            d = np.hypot(row - y, column - x)
            nearest[ids[column]] = min(d, nearest.get(ids[column], np.inf))
        d1[y, x], d2[y, x] = [*sorted(nearest.values()), np.inf, np.inf][:2]
    return d1, d2


def nearest_pixels(labels):
    """The transform with a mistake: the second nearest pixel instead of the nearest other cell."""
    cells = np.argwhere(labels > 0)
    grid = np.stack(np.mgrid[: labels.shape[0], : labels.shape[1]], axis=-1)
    distances = np.sqrt(((grid[:, :, None] - cells) ** 2).sum(-1))
    return np.sort(distances, axis=-1)[..., :2].transpose(2, 0, 1)


@pytest.mark.parametrize("mistaken", [one_label_per_row, nearest_pixels])
def test_brute_force_tells_a_mistaken_transform(mistaken):
    """The reference of these tests would catch both errors that such a transform invites."""
    labels = convex(np.random.default_rng(5), (20, 24), 7)
    squares, _ = by_brute_force(labels)
    d1, d2 = mistaken(labels)
    np.testing.assert_allclose(d1, np.sqrt(squares[0]))
    assert np.abs(d2 - np.sqrt(squares[1])).max() > 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 3, 4), int), r"shape \(2, 3, 4\): need 2-D"),
        (np.zeros((0, 4), int), r"shape \(0, 4\): need 2-D with at least one pixel"),
        (np.array([[0, -2]]), r"label -2: need 0 for background, 1 or more"),
        (np.array([[0, -2.0]]), r"label -2: need 0 for background, 1 or more"),
        (np.array([[0, 1.5]]), r"label 1\.5: need whole numbers"),
        (np.array([[0, np.nan]]), r"label nan: need whole numbers"),
        (np.array([[1, np.inf]]), r"label inf: need whole numbers"),
        (np.array([[1, 1e300]]), r"label 1e\+300: need whole numbers"),
        (np.array([["1", "2"]]), r"type <U1: need whole numbers"),
        ([[1, 2], [3]], "labels of rows that differ in length: need 2-D"),
    ],
)
def test_labels_that_are_none_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        two_nearest(labels)


def test_other_arguments_that_do_not_fit_are_refused():
    labels = np.eye(3, dtype=int)
    with pytest.raises(InputError, match="limits of -1 and -2 px: need numbers >= 0"):
        two_nearest(labels, -1)
    with pytest.raises(InputError, match="limits of 3 and nan px"):
        two_nearest(labels, 3, np.nan)
    with pytest.raises(InputError, match=r"shape \(2, 3\) for labels of shape \(3, 3\)"):
        two_nearest(labels, where=np.ones((2, 3), bool))


def test_strip_longer_than_a_key_can_hold_needs_a_limit():
    labels = np.zeros((1, 40_000), np.uint8)
    labels[0, [0, 39_999]] = 1, 2
    with pytest.raises(InputError, match="distances up to 40000 px: need a limit of 32767 px"):
        two_nearest(labels)
    found = two_nearest(labels, 100)
    np.testing.assert_array_equal(found.d1[0, :101], np.arange(101))
    assert np.isinf(found.d1[0, 101:-101]).all()


def test_cells_of_a_row_farther_apart_than_a_key_can_hold_are_found_within_a_limit():
    labels = np.zeros((2, 60_000), np.uint8)
    labels[0, [0, 59_999]] = 1, 2
    labels[0, 5_000:5_002] = 3, 4
    found = two_nearest(labels, 5, 10)
    turned = two_nearest(labels.T, 5, 10)
    assert found.d1[0, -7:].tolist() == [np.inf, 5, 4, 3, 2, 1, 0]
    assert np.isinf(found.d2[:, -7:]).all()
    assert found.d2[0, 4_997:5_005].tolist() == [4, 3, 2, 1, 1, 2, 3, 4]
    np.testing.assert_array_equal(found.d1, turned.d1.T)
    np.testing.assert_array_equal(found.d2, turned.d2.T)


def test_distances_at_the_end_of_what_a_key_can_hold():
    labels = np.zeros((1, 32_700), np.int32)
    labels[0, [0, 32_699]] = 2**31 - 2, 2**31 - 1
    found = two_nearest(labels, return_labels=True)
    np.testing.assert_array_equal(found.d1 + found.d2, np.full((1, 32_700), 32_699.0))
    assert found.label2[0, 0] == 2**31 - 1


@pytest.mark.slow
def test_twenty_thousand_cells_of_a_large_image_fit_into_two_gigabytes(tmp_path):
    """Peak of the whole process, measured in one of its own; the corner is compared with scipy."""
    if sys.platform == "win32":
        pytest.skip("Windows does not tell the peak of a process through `resource`")
    corner = tmp_path / "corner.npz"
    done = subprocess.run(
        [sys.executable, "-c", LARGE_IMAGE, corner], capture_output=True, text=True, check=True
    )
    with np.load(corner) as arrays:
        labels, weight, n_cells = arrays["labels"], arrays["weight"], int(arrays["n_cells"])
    assert n_cells >= 20_000
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    assert int(done.stdout) * unit < 2e9
    distances = np.sort(
        [ndimage.distance_transform_edt(labels != c) for c in np.unique(labels[labels > 0])], axis=0
    )
    expected = 10 * np.exp(-(distances[:2].sum(axis=0) ** 2) / 50) * (labels == 0)
    np.testing.assert_allclose(weight, expected[:150, :150], atol=1e-5)
