"""Weight maps by hand, against a brute-force search, and under what must not change them."""

from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import weight_maps
import yaml
from scipy import ndimage

from unetcore.data.io import read_images, read_labels, write_stack
from unetcore.errors import InputError
from unetcore.weight_settings import BALANCES, FORMS, WeightMapConfig
from unetcore.weights import (
    border_weight,
    class_balance,
    later_weight_map,
    separate_touching,
    training_targets,
    weight_map,
)

PAPER = {
    "form": "ronneberger2015",
    "w0": 10,
    "sigma": 5,
    "balance": "inverse-frequency",
    "gap": 1,
    "background": 0.1,
    "background_sigma": 10,
    "separation": 50,
    "separation_sigma": 6,
    "ignore_label": None,
}


def config(**changed):
    return WeightMapConfig(**PAPER | changed)


def blobs(rng, shape, n_seeds, cell_share):
    """Random cells: the Voronoi regions of random points, cut by smooth noise."""
    seeds = rng.uniform(0, 1, (n_seeds, 2)) * shape
    grid = np.stack(np.mgrid[: shape[0], : shape[1]], axis=-1)
    nearest = ((grid[:, :, None] - seeds) ** 2).sum(-1).argmin(-1) + 1
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    return np.where(noise < np.quantile(noise, cell_share), nearest, 0)


def two_distances(labels, pixel):
    """Distance from a pixel to every pixel of every cell: those of the two nearest cells."""
    cells = [np.argwhere(labels == cell) for cell in np.unique(labels[labels > 0])]
    distances = sorted(np.sqrt(((cell - pixel) ** 2).sum(1).min()) for cell in cells)
    return [*distances, np.inf, np.inf][:2]


def border_by_brute_force(labels, w0, sigma):
    result = np.zeros(labels.shape)
    for pixel in np.argwhere(labels == 0):
        d1, d2 = two_distances(labels, pixel)
        result[tuple(pixel)] = w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return result


def border_within_a_margin(labels, w0, sigma, margin):
    """The border term with a mistake: each cell is looked at only in its box and a margin."""
    d1, d2 = np.full((2, *labels.shape), np.inf)
    for cell, box in enumerate(ndimage.find_objects(labels), start=1):
        near = tuple(slice(max(0, s.start - margin), s.stop + margin) for s in box)
        d = ndimage.distance_transform_edt(labels[near] != cell)
        d2[near] = np.minimum(d2[near], np.maximum(d1[near], d))
        d1[near] = np.minimum(d1[near], d)
    return np.where(labels == 0, w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2)), 0)


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
    np.testing.assert_allclose(found, border_by_brute_force(labels, 10, 5), atol=10 * 2.0**-24)


def test_cutting_at_a_margin_of_ten_pixels_would_be_seen():
    """Beside a cell, 11 px from the next one, the sum is 12: the term is 10 exp(-144 / 50)."""
    labels = np.zeros((9, 40), int)
    labels[:, 10:14], labels[:, 25:29] = 1, 2
    right = border_by_brute_force(labels, 10, 5)
    np.testing.assert_allclose(right[4, 14], 10 * np.exp(-(12**2) / 50))
    cut = border_within_a_margin(labels, 10, 5, margin=10)
    assert np.abs(cut - right).max() == pytest.approx(10 * np.exp(-(12**2) / 50))  # 0.56
    np.testing.assert_allclose(border_weight(labels), right, atol=1e-6)


@pytest.mark.parametrize("labels", [np.zeros((6, 7), int), np.eye(6, 7, dtype=int)])
def test_border_weight_needs_two_cells(labels):
    assert not border_weight(labels).any()


@pytest.mark.parametrize("seed", range(5))
def test_class_balance_gives_both_classes_the_same_mass(seed):
    labels = blobs(np.random.default_rng(seed), (30, 40), 6, 0.15 + 0.17 * seed)
    w = class_balance(labels).astype(float)
    assert w.mean() == pytest.approx(1, abs=1e-6)
    assert w[labels > 0].sum() == pytest.approx(w[labels == 0].sum(), rel=1e-6)


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("value", [0, 3])
def test_class_balance_of_one_class_is_one(value, balance):
    np.testing.assert_array_equal(class_balance(np.full((3, 4), value), balance), np.ones((3, 4)))


@pytest.mark.parametrize(
    ("balance", "background", "cell"),
    [("inverse-frequency", 10 / 4, 10 / 16), ("rarest-one", 1, 2 / 8), ("none", 1, 1)],
)
def test_forms_of_class_balance_of_two_background_pixels_in_ten(balance, background, cell):
    labels = np.array([[0, 1, 1, 1, 2], [0, 2, 2, 2, 2]])
    w = class_balance(labels, balance)
    np.testing.assert_allclose(w, [[background] + [cell] * 4] * 2)
    assert w.dtype == np.float32
    border = border_weight(labels)
    np.testing.assert_array_equal(weight_map(labels, balance=balance), w + border)


def test_rarest_one_weighs_the_rarer_class_one_whichever_it_is():
    np.testing.assert_allclose(class_balance([[0, 0, 0, 5]], "rarest-one"), [[1 / 3] * 3 + [1]])
    np.testing.assert_allclose(class_balance([[0, 5, 5, 5]], "rarest-one"), [[1] + [1 / 3] * 3])


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


@pytest.mark.parametrize("seed", range(6))
def test_gap_of_one_keeps_in_a_scan_what_touches_no_other_kept_pixel(seed):
    labels = blobs(np.random.default_rng(seed), (20, 25), 12, 0.9)
    kept = {}
    for pixel in map(tuple, np.argwhere(labels > 0)):  # by rows
        others = [
            cell for (r, c), cell in kept.items() if abs(r - pixel[0]) < 2 > abs(c - pixel[1])
        ]
        if all(cell == labels[pixel] for cell in others):
            kept[pixel] = labels[pixel]
    separated = separate_touching(labels)
    assert {tuple(p): separated[tuple(p)] for p in np.argwhere(separated > 0)} == kept
    assert len(kept) < (labels > 0).sum()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.int64])
def test_gap_of_one_counts_corners_and_does_not_look_at_numbers(dtype):
    labels = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 2]], dtype)
    np.testing.assert_array_equal(separate_touching(labels), np.where(labels == 2, 0, labels))
    swapped = np.array([0, 2, 1], dtype)[labels]
    np.testing.assert_array_equal(separate_touching(swapped), np.where(swapped == 1, 0, swapped))
    other = np.array([[0, 0, 3], [0, 0, 3], [7, 7, 0]])  # meet at the upper right
    np.testing.assert_array_equal(separate_touching(other)[2], [7, 0, 0])
    assert separate_touching(labels).dtype == dtype


def test_wider_gap_takes_its_line_from_the_lower_number():
    labels = np.repeat([[4] * 6 + [3] * 6], 5, axis=0)
    np.testing.assert_array_equal(separate_touching(labels, 3)[2], [4] * 5 + [0] * 3 + [3] * 4)
    flipped = labels[:, ::-1]
    np.testing.assert_array_equal(separate_touching(flipped, 3)[2], [3] * 4 + [0] * 3 + [4] * 5)


@pytest.mark.parametrize("gap", [1, 3, 5, 7])
def test_separate_touching_gap_of_a_straight_border_has_its_width(gap):
    labels = np.repeat([[1] * 10 + [2] * 10], 8, axis=0)
    gaps = separate_touching(labels, gap) == 0
    np.testing.assert_array_equal(np.unique(gaps.sum(axis=1)), [gap])
    middle = 10 if gap == 1 else 9  # the later column, or the last one of the lower number
    assert gaps[0].nonzero()[0].mean() == middle


@pytest.mark.parametrize("seed", range(3))
def test_separate_touching_widens_the_line_by_a_disk(seed):
    labels = blobs(np.random.default_rng(seed), (40, 50), 12, 0.9)
    line = np.argwhere((ndimage.maximum_filter(labels, 3) > labels) & (labels > 0))
    for gap in (3, 5):
        separated = separate_touching(labels, gap)
        for pixel in np.argwhere(labels > 0):
            cleared = (((line - pixel) ** 2).sum(1) <= ((gap - 1) / 2) ** 2).any()
            assert separated[tuple(pixel)] == (0 if cleared else labels[tuple(pixel)])


@pytest.mark.parametrize("gap", [1, 3])
def test_gap_tells_labels_apart_that_float64_does_not(gap):
    labels = np.array([[0, 1, 1, 1, 2, 2, 2]])
    large = np.where(labels > 0, labels + 2**53 - 1, 0)
    kept = separate_touching(labels, gap) > 0
    assert (kept != (labels > 0)).any()
    np.testing.assert_array_equal(separate_touching(large, gap), np.where(kept, large, 0))


def test_border_weight_of_a_wide_image_is_that_of_its_transpose():
    labels = np.zeros((2, 60_000), np.uint8)
    labels[0, [0, 3, 59_996]] = 1, 2, 3
    labels[1, 59_999] = 4
    weight = border_weight(labels)
    np.testing.assert_array_equal(weight, border_weight(labels.T).T)
    np.testing.assert_allclose(weight[0, 1:3], 10 * np.exp(-9 / 50), rtol=1e-6)
    np.testing.assert_allclose(weight[0, 59_999], 10 * np.exp(-((1 + 3) ** 2) / 50), rtol=1e-6)


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
    classes, weights = training_targets(mask, kind="mask", config=config())
    np.testing.assert_array_equal(classes, [[1, 0, 0], [0, 1, 1]])
    expected = weight_map(np.array([[1, 0, 0], [0, 2, 2]]), 10, 5)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@pytest.mark.parametrize(("gap", "row"), [(1, [1, 1, 0, 1]), (0, [1, 1, 1, 1])])
def test_targets_of_touching_instances(gap, row):
    labels = np.array([[5, 5, 8, 8]])
    classes, weights = training_targets(labels, kind="instances", config=config(gap=gap))
    assert classes.tolist() == [row]
    assert classes.dtype == np.uint8
    expected = 2 + 10 * np.exp(-4 / 50) if gap else 1  # without a gap there is one class only
    assert weights[0, 2] == pytest.approx(expected)


@pytest.mark.parametrize("balance", BALANCES)
def test_targets_take_the_numbers_of_their_configuration(balance):
    labels = blobs(np.random.default_rng(2), (30, 31), 9, 0.6)
    given = config(w0=3, sigma=2, gap=3, balance=balance)
    classes, weights = training_targets(labels, kind="instances", config=given)
    cells = separate_touching(labels, 3)
    np.testing.assert_array_equal(classes, cells > 0)
    np.testing.assert_array_equal(weights, weight_map(cells, 3, 2, balance=balance))


def test_later_weights_in_a_gap_by_hand():
    """Three pixels from 1 to 3: d1 is 1, 2, 1 and d1 + d2 is 4; beyond, d1 + d2 is 1 + 6 and more.

    v = 0.1, s1 = 10, lambda = 50, s2 = 6 are the defaults.
    """
    labels = np.array([[0, 1, 0, 0, 0, 3]])
    d1, total = np.array([1, 1, 2, 1]), np.array([1 + 5, 4, 4, 4])
    background = 0.1 + 0.9 * np.exp(-(d1**2) / 200) + 50 * np.exp(-(total**2) / 72)
    found = later_weight_map(labels)
    np.testing.assert_allclose(found[0, [0, 2, 3, 4]], background, rtol=1e-6)
    np.testing.assert_array_equal(found[0, [1, 5]], 1)
    assert found.dtype == np.float32


@pytest.mark.parametrize("seed", range(6))
def test_later_weights_agree_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    labels = blobs(rng, (24, 27), rng.integers(1, 9), rng.uniform(0.2, 0.9))
    v, s1, height, s2 = rng.uniform(0, 1), rng.uniform(1, 12), rng.uniform(0, 60), rng.uniform(1, 7)
    expected = np.ones(labels.shape)
    for pixel in np.argwhere(labels == 0):
        d1, d2 = two_distances(labels, pixel)
        terms = (1 - v) * np.exp(-(d1**2) / (2 * s1**2)), np.exp(-((d1 + d2) ** 2) / (2 * s2**2))
        expected[tuple(pixel)] = v + terms[0] + height * terms[1]
    found = later_weight_map(
        labels, background=v, background_sigma=s1, separation=height, separation_sigma=s2
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_targets_of_the_later_form_are_weighed_as_they_are_taught(gap):
    labels = blobs(np.random.default_rng(3), (30, 31), 9, 0.8)
    numbers = {"background": 0.2, "background_sigma": 7, "separation": 30, "separation_sigma": 4}
    given = config(form="falk2019", gap=gap, **numbers)
    classes, weights = training_targets(labels, kind="instances", config=given)
    cells = separate_touching(labels, gap)
    np.testing.assert_array_equal(classes, cells > 0)
    np.testing.assert_array_equal(weights, later_weight_map(cells, **numbers))


def test_later_weights_between_touching_cells_by_hand():
    """The cleared pixel is 1 px from both cells."""
    given = config(form="falk2019", gap=1)
    _, weights = training_targets(np.array([[1, 1, 2, 2]]), kind="instances", config=given)
    gap = 0.1 + 0.9 * np.exp(-1 / 200) + 50 * np.exp(-4 / 72)
    np.testing.assert_allclose(weights, [[1, 1, gap, 1]], rtol=1e-6)


def test_later_weights_keep_a_wide_term_between_cells_beside_a_narrow_one():
    labels = np.zeros((1, 21), int)
    labels[0, [0, 20]] = 1, 2
    found = later_weight_map(labels, background=0, background_sigma=1, separation_sigma=6)
    np.testing.assert_allclose(found[0, 10], 50 * np.exp(-(20**2) / 72), rtol=1e-6)


def test_later_weights_without_cells_are_those_of_background():
    np.testing.assert_allclose(later_weight_map(np.zeros((3, 4), int)), np.full((3, 4), 0.1))
    far = np.zeros((1, 200), int)
    far[0, 0] = 9
    assert later_weight_map(far, background=0.3)[0, -1] == np.float32(0.3)


def test_later_weights_of_a_mask_see_its_components():
    mask = np.array([[1, 0, 1]])
    _, weights = training_targets(mask, kind="mask", config=config(form="falk2019"))
    np.testing.assert_array_equal(weights, later_weight_map(np.array([[1, 0, 2]])))


def test_ignored_pixels_by_hand():
    """Of the four pixels that count one is background: 4 / 2 there, 4 / 6 in cells."""
    labels = np.array([[9, 1, 0, 2, 2]])
    given = config(ignore_label=9)
    classes, weights = training_targets(labels, kind="instances", config=given)
    assert classes.tolist() == [[0, 1, 0, 1, 1]]
    gap = 2 + 10 * np.exp(-(2**2) / 50)
    np.testing.assert_allclose(weights, [[0, 2 / 3, gap, 2 / 3, 2 / 3]], rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["mask", "instances"])
@pytest.mark.parametrize("balance", BALANCES)
def test_ignored_region_is_background_that_does_not_count(form, kind, balance):
    """Elsewhere the weights are those of background in its place, but for the class balance."""
    rng = np.random.default_rng(4)
    labels = blobs(rng, (40, 45), 10, 0.6)
    labels = (labels > 0).astype(int) if kind == "mask" else labels
    ignored = blobs(rng, (40, 45), 1, 0.2) > 0
    marked, blank = np.where(ignored, 200, labels), np.where(ignored, 0, labels)
    given = config(form=form, balance=balance, ignore_label=200)
    classes, weights = training_targets(marked, kind=kind, config=given)
    classes_blank, weights_blank = training_targets(
        blank, kind=kind, config=config(form=form, balance=balance)
    )
    np.testing.assert_array_equal(classes, classes_blank)
    assert not weights[ignored].any()
    if form == "ronneberger2015":
        weights_blank -= class_balance(classes_blank, balance)
        weights_blank[~ignored] += class_balance(classes_blank[~ignored][None], balance)[0]
    np.testing.assert_allclose(weights[~ignored], weights_blank[~ignored], rtol=1e-6)


def test_slice_that_is_ignored_wholly_weighs_nothing():
    given = config(ignore_label=3)
    classes, weights = training_targets(np.full((4, 5), 3), kind="mask", config=given)
    assert not classes.any()
    assert not weights.any()


def test_label_to_ignore_that_does_not_occur_changes_nothing():
    labels = blobs(np.random.default_rng(0), (20, 20), 5, 0.6).astype(np.uint8)
    plain = training_targets(labels, kind="instances", config=config())
    marked = training_targets(labels, kind="instances", config=config(ignore_label=65_535))
    for one, other in zip(plain, marked, strict=True):
        np.testing.assert_array_equal(one, other)


def test_script_weighs_labelled_frames_and_names_the_frame_it_refuses(tmp_path):
    stack = np.array([[[0, 1, 0, 2]], [[7, 7, 7, 7]], [[2, 0, 0, 0]]], np.uint16)
    write_stack(tmp_path / "labels.tif", stack)
    (tmp_path / "frames.csv").write_text(
        "index,id,sequence,labelled,partial,split\n"
        "0,a,s,true,false,train\n1,b,s,false,false,test\n2,c,s,true,false,train\n"
    )
    paths = [tmp_path / name for name in ("labels.tif", "frames.csv", "classes.tif", "weights.tif")]
    weight_maps.main(*paths, kind="instances", weight_map=config())
    classes, weights = read_labels(paths[2]), read_images(paths[3])
    for z in (0, 2):
        expected = training_targets(stack[z], kind="instances", config=config())
        np.testing.assert_array_equal(classes[z], expected[0])
        np.testing.assert_array_equal(weights[z], expected[1])
    assert not classes[1].any()
    assert not weights[1].any()
    with pytest.raises(InputError, match=r"labels\.tif: frame a: a mask of the values 0, 1, 2"):
        weight_maps.main(*paths, kind="mask", weight_map=config())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 3, 4), int), r"shape \(2, 3, 4\): need 2-D"),
        (np.zeros((0, 0), int), r"shape \(0, 0\): need 2-D with at least one pixel"),
        (np.array([[0, 0.5]]), r"label 0\.5: need whole numbers"),
        (np.array([[0, -2]]), r"label -2: need 0 for background, 1 or more for cells"),
    ],
)
@pytest.mark.parametrize(
    "function", [weight_map, class_balance, border_weight, later_weight_map, separate_touching]
)
def test_labels_that_are_none_are_refused(function, labels, message):
    with pytest.raises(InputError, match=message):
        function(labels)
    with pytest.raises(InputError, match=message):
        training_targets(labels, kind="instances", config=config())


@pytest.mark.parametrize(
    ("w0", "sigma", "message"),
    [
        (-1, 5, r"w0 = -1: w0 must be >= 0 and finite"),
        (np.nan, 5, r"w0 = nan: w0 must be"),
        (10, 0, r"sigma = 0 px: sigma must be > 0 and finite"),
        (10, -5, r"sigma = -5 px"),
        (10, np.inf, r"sigma = inf px"),
        ("a", 5, r"w0 = 'a': w0 must be"),
        (10, None, r"sigma = None px"),
    ],
)
def test_heights_and_widths_out_of_range_are_refused(w0, sigma, message):
    with pytest.raises(InputError, match=message):
        weight_map(np.eye(3, dtype=int), w0, sigma)
    with pytest.raises(InputError, match=message):
        config(w0=w0, sigma=sigma)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"form": "2015"}, "form of the weight map '2015': need one of ronneberger2015, falk2019"),
        ({"balance": "equal"}, "class balance 'equal': need one of inverse-frequency, rarest-one"),
        ({"gap": 2}, "gap of 2 px between touching cells: need 0 or an odd number"),
        ({"background": 1.5}, r"background = 1\.5: background must be in \[0, 1\]"),
        ({"background": np.nan}, "background = nan"),
        ({"background_sigma": 0}, "background_sigma = 0 px: background_sigma must be > 0"),
        ({"separation": -1}, "separation = -1: separation must be >= 0"),
        ({"separation_sigma": -6}, "separation_sigma = -6 px"),
        ({"form": ["falk2019"]}, r"form of the weight map \['falk2019'\]: need one of"),
        ({"gap": "1"}, "gap of '1' px between touching cells"),
        ({"background": "0"}, "background = '0': background must be"),
        ({"ignore_label": "3"}, "ignore label of '3': need a whole number >= 1"),
        ({"ignore_label": 0}, "ignore label of 0: need a whole number >= 1"),
        ({"ignore_label": 1.5}, r"ignore label of 1\.5: need a whole number >= 1"),
    ],
)
def test_configuration_out_of_range_is_refused(changed, message):
    with pytest.raises(InputError, match=message):
        config(**changed)


@pytest.mark.parametrize(
    "changed", [{"background": -1}, {"background_sigma": 0}, {"separation": -1}]
)
def test_numbers_of_the_later_form_are_checked(changed):
    with pytest.raises(InputError, match=str(next(iter(changed)))):
        later_weight_map(np.eye(3, dtype=int), **changed)


def test_configuration_is_frozen_and_built_by_keyword():
    with pytest.raises(FrozenInstanceError):
        config().gap = 3
    with pytest.raises(TypeError):
        WeightMapConfig(*PAPER.values())


def test_schema_knows_the_forms_and_settings_of_the_package():
    with open("workflow/schemas/config.schema.yaml", encoding="utf-8") as file:
        section = yaml.safe_load(file)["$defs"]["weight_map"]["properties"]
    assert list(section) == [field.name for field in fields(WeightMapConfig)]
    assert section["form"]["enum"] == list(FORMS)
    assert section["balance"]["enum"] == list(BALANCES)


def test_unknown_names_are_refused():
    labels = np.eye(3, dtype=int)
    with pytest.raises(InputError, match="kind of labels 'cells': need one of mask, instances"):
        training_targets(labels, kind="cells", config=config())
    with pytest.raises(InputError, match="class balance 'equal': need one of"):
        class_balance(labels, "equal")


def test_mask_of_more_than_two_values_is_refused_by_its_values():
    mask = np.array([[0, 1, 2, 255]])
    with pytest.raises(InputError, match="mask of the values 0, 1, 2, 255: need 0 and one other"):
        training_targets(mask, kind="mask", config=config())
    with pytest.raises(InputError, match="values 0, 1, 2: need"):
        training_targets(mask, kind="mask", config=config(ignore_label=255))
    with pytest.raises(InputError, match=r"values 0, 1, 2, 3, \.\.\.: need"):
        training_targets(np.arange(9).reshape(3, 3), kind="mask", config=config())
    classes, _ = training_targets([[0, 1, 255]], kind="mask", config=config(ignore_label=255))
    assert classes.tolist() == [[0, 1, 0]]
