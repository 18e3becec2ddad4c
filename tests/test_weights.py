"""Weight maps by hand, against a brute-force search, and under what must not change them."""

import numpy as np
import pytest
from scipy import ndimage

from unetcore.errors import InputError
from unetcore.weights import (
    border_weight,
    class_balance,
    separate_touching,
    training_targets,
    weight_map,
)


def blobs(rng, shape, n_seeds, cell_share):
    """Random cells: the Voronoi regions of random points, cut by smooth noise."""
    seeds = rng.uniform(0, 1, (n_seeds, 2)) * shape
    grid = np.stack(np.mgrid[: shape[0], : shape[1]], axis=-1)
    nearest = ((grid[:, :, None] - seeds) ** 2).sum(-1).argmin(-1) + 1
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    return np.where(noise < np.quantile(noise, cell_share), nearest, 0)


def border_by_brute_force(labels, w0, sigma):
    """Distance from every background pixel to every pixel of every cell."""
    result = np.zeros(labels.shape)
    cells = [np.argwhere(labels == cell) for cell in np.unique(labels[labels > 0])]
    if len(cells) < 2:
        return result
    for pixel in np.argwhere(labels == 0):
        d1, d2 = sorted(np.sqrt(((cell - pixel) ** 2).sum(1).min()) for cell in cells)[:2]
        result[tuple(pixel)] = w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return result


def test_border_weight_in_a_three_pixel_gap():
    labels = np.array([[1, 0, 0, 0, 2]])  # everywhere in the gap d1 + d2 = 4
    expected = [[0, *[10 * np.exp(-16 / 50)] * 3, 0]]
    np.testing.assert_allclose(border_weight(labels, w0=10, sigma=5), expected, rtol=1e-6)


def test_border_weight_takes_the_second_nearest_cell_not_the_second_nearest_pixel():
    labels = np.array([[1, 1, 0, 0, 0, 0, 3]])
    sums = np.array([1 + 4, 2 + 3, 3 + 2, 4 + 1])
    expected = 2 * np.exp(-(sums**2) / (2 * 3**2))
    np.testing.assert_allclose(border_weight(labels, w0=2, sigma=3)[0, 2:6], expected, rtol=1e-6)


def test_weight_map_is_the_sum_of_its_two_terms_by_hand():
    labels = np.array([[4, 0, 9, 9]])  # one of four pixels is background: 4 / 2 and 4 / 6
    expected = [[2 / 3, 2 + 10 * np.exp(-4 / 50), 2 / 3, 2 / 3]]
    found = weight_map(labels)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("seed", range(8))
def test_border_weight_agrees_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(12, 34, 2))
    labels = blobs(rng, shape, rng.integers(1, 9), rng.uniform(0.1, 0.8))
    w0, sigma = rng.uniform(0.5, 20), rng.uniform(0.4, 6)
    found = border_weight(labels, w0, sigma)
    np.testing.assert_allclose(found, border_by_brute_force(labels, w0, sigma), atol=1e-5)


def test_border_weight_within_and_beyond_the_margin():
    # The margin is 29 px at sigma = 5. A gap of 25 px between cells still counts (4e-5), one of
    # 45 px (3e-17) is beyond it for most pixels.
    labels = np.zeros((1, 140), int)
    labels[0, [5, 30, 75, 130]] = 1, 2, 3, 4
    found = border_weight(labels)
    np.testing.assert_allclose(found[0, 6:30], 10 * np.exp(-(25**2) / 50), rtol=1e-5)
    np.testing.assert_allclose(found, border_by_brute_force(labels, 10, 5), atol=1e-7)


@pytest.mark.parametrize("labels", [np.zeros((6, 7), int), np.eye(6, 7, dtype=int)])
def test_border_weight_needs_two_cells(labels):
    assert not border_weight(labels).any()


@pytest.mark.parametrize("seed", range(5))
def test_class_balance_gives_both_classes_the_same_mass(seed):
    labels = blobs(np.random.default_rng(seed), (30, 40), 6, 0.15 + 0.17 * seed)
    w = class_balance(labels).astype(float)
    assert w.mean() == pytest.approx(1, abs=1e-6)
    assert w[labels > 0].sum() == pytest.approx(w[labels == 0].sum(), rel=1e-6)


@pytest.mark.parametrize("value", [0, 3])
def test_class_balance_of_one_class_is_one(value):
    np.testing.assert_array_equal(class_balance(np.full((3, 4), value)), np.ones((3, 4)))


@pytest.mark.parametrize("seed", range(4))
def test_weight_map_does_not_depend_on_the_numbers_of_cells_nor_on_orientation(seed):
    rng = np.random.default_rng(seed)
    labels = blobs(rng, (28, 37), 7, 0.5)
    w = weight_map(labels)
    numbers = np.concatenate(([0], rng.permutation(50)[: labels.max()] + 1))  # with holes
    np.testing.assert_allclose(weight_map(numbers[labels]), w, rtol=1e-6)
    for turn in (np.flipud, np.fliplr, np.rot90, np.transpose):
        np.testing.assert_allclose(weight_map(turn(labels)), turn(w), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_weight_map_takes_every_integer_type(dtype):
    labels = blobs(np.random.default_rng(1), (20, 21), 5, 0.5)
    np.testing.assert_array_equal(weight_map(labels.astype(dtype)), weight_map(labels))


@pytest.mark.parametrize("seed", range(6))
def test_separate_touching_leaves_a_gap_everywhere_and_clears_only_contacts(seed):
    labels = blobs(np.random.default_rng(seed), (40, 50), 12, 0.9)
    separated = separate_touching(labels)
    before, after = np.pad(labels, 1), np.pad(separated, 1)
    touched = np.zeros(labels.shape, bool)
    for rows, columns in np.ndindex(3, 3):
        window = (slice(rows, rows + 40), slice(columns, columns + 50))
        both = (separated > 0) & (after[window] > 0)
        assert (separated == after[window])[both].all()
        touched |= (before[window] > 0) & (labels > 0) & (before[window] != labels)
    assert touched.any()
    kept = separated == labels
    assert kept[~touched].all()
    assert not separated[~kept].any()


def test_separate_touching_corners_count_and_the_higher_number_stays():
    labels = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 2]], np.uint16)
    expected = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 2]])
    np.testing.assert_array_equal(separate_touching(labels), expected)
    assert separate_touching(labels).dtype == np.uint16


@pytest.mark.parametrize("gap", [1, 3, 5, 7])
def test_separate_touching_gap_of_a_straight_border_has_its_width(gap):
    labels = np.repeat([[1] * 10 + [2] * 10], 8, axis=0)
    gaps = separate_touching(labels, gap) == 0
    np.testing.assert_array_equal(np.unique(gaps.sum(axis=1)), [gap])
    assert gaps[0].nonzero()[0].mean() == 9  # centred on the last column of the lower number


@pytest.mark.parametrize("seed", range(3))
def test_separate_touching_widens_the_line_by_a_disk(seed):
    labels = blobs(np.random.default_rng(seed), (40, 50), 12, 0.9)
    line = np.argwhere((separate_touching(labels) == 0) & (labels > 0))
    for gap in (3, 5):
        separated = separate_touching(labels, gap)
        for pixel in np.argwhere(labels > 0):
            cleared = (((line - pixel) ** 2).sum(1) <= ((gap - 1) / 2) ** 2).any()
            assert separated[tuple(pixel)] == (0 if cleared else labels[tuple(pixel)])


def test_separate_touching_leaves_cells_that_do_not_touch():
    labels = np.array([[1, 0, 2, 2], [1, 0, 2, 2]])
    for gap in (0, 1, 5):
        np.testing.assert_array_equal(separate_touching(labels, gap), labels)


@pytest.mark.parametrize("gap", [-1, 2])
def test_gap_that_is_even_or_negative_is_refused(gap):
    with pytest.raises(InputError, match=f"gap of {gap} px .* need 0 or an odd number"):
        separate_touching(np.array([[1, 2]]), gap)


def test_targets_of_a_mask_take_four_connected_components_as_cells():
    mask = np.array([[255, 0, 0], [0, 255, 255]], np.uint8)  # two cells that meet at a corner
    classes, weights = training_targets(mask, kind="mask", w0=10, sigma=5, gap=1)
    np.testing.assert_array_equal(classes, [[1, 0, 0], [0, 1, 1]])
    expected = weight_map(np.array([[1, 0, 0], [0, 2, 2]]), 10, 5)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@pytest.mark.parametrize(("gap", "row"), [(1, [1, 0, 1, 1]), (0, [1, 1, 1, 1])])
def test_targets_of_touching_instances(gap, row):
    labels = np.array([[5, 5, 8, 8]])
    classes, weights = training_targets(labels, kind="instances", w0=10, sigma=5, gap=gap)
    assert classes.tolist() == [row]
    assert classes.dtype == np.uint8
    expected = 2 + 10 * np.exp(-4 / 50) if gap else 1  # without a gap there is one class only
    assert weights[0, 1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 3, 4), int), r"shape \(2, 3, 4\).* 2-D integer"),
        (np.zeros((3, 4)), r"type float64: need a 2-D integer"),
        (np.array([[0, -2]]), r"go down to -2"),
    ],
)
@pytest.mark.parametrize("function", [weight_map, class_balance, border_weight, separate_touching])
def test_labels_that_are_none_are_refused(function, labels, message):
    with pytest.raises(InputError, match=message):
        function(labels)


@pytest.mark.parametrize(("w0", "sigma"), [(-1, 5), (10, 0), (10, -5), (np.nan, 5), (10, np.nan)])
def test_heights_and_widths_out_of_range_are_refused(w0, sigma):
    with pytest.raises(InputError, match=f"w0 = {w0}, sigma = {sigma}"):
        weight_map(np.eye(3, dtype=int), w0, sigma)


def test_unknown_kind_of_labels_is_refused():
    with pytest.raises(InputError, match="kind 'cells': need one of mask, instances"):
        training_targets(np.eye(3, dtype=int), kind="cells", w0=10, sigma=5, gap=1)
