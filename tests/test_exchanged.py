"""Labels that call cell what a prediction calls background."""

from pathlib import Path

import numpy as np
import pytest

from unetcore.data.label_map import LabelMap
from unetcore.exchanged import exchanged_map, remark, sides_of

LABELS = np.array([[[0, 0, 5, 5]], [[0, 5, 5, 5]]])
PROBABILITY = np.array([[[0.9, 0.7, 0.1, 0.3]], [[0.8, 0.2, 0.2, 0.7]]])


def test_means_are_of_all_slices_and_of_what_is_known():
    sides = sides_of(LABELS, PROBABILITY)
    assert (sides.cells, sides.outside) == pytest.approx((0.3, 0.8))
    assert sides.values == (5,)
    assert sides.look_exchanged
    ignored = np.zeros(LABELS.shape, bool)
    ignored[0, 0, 0] = ignored[1, 0, 3] = True
    sides = sides_of(LABELS, PROBABILITY, ignored)
    assert (sides.cells, sides.outside) == pytest.approx((0.2, 0.75))


@pytest.mark.parametrize("lower", [False, True])
def test_a_small_difference_tells_nothing(lower):
    difference = 0.11 if lower else 0.09
    sides = sides_of(LABELS, np.where(LABELS > 0, 0.5, 0.5 + difference))
    assert sides.look_exchanged == lower


@pytest.mark.parametrize("labels", [0 * LABELS, 0 * LABELS + 1])
def test_labels_of_one_class_have_no_two_sides(labels):
    assert not sides_of(labels, PROBABILITY).look_exchanged


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        (None, (255,), "0=cell,255=background"),
        ("7=ignore", (2,), "0=cell,2=background,7=ignore"),
        ("1=background", (2,), "1=cell,2=background"),
        ("0=background,3=cell", (1,), "0=cell,3=background"),
        ("0=ignore,1=background,2=cell", (2,), "0=ignore,1=cell,2=background"),
        (None, (1, 2), "None"),
    ],
)
def test_the_map_of_the_other_meaning_has_the_values_that_are_there(text, values, expected):
    assert str(exchanged_map(LabelMap.given(text, None), values)) == expected


def test_advice_fits_the_labels():
    sides = sides_of(LABELS, PROBABILITY)
    assert remark(Path("a.tif"), sides, LabelMap()) == (
        "warning: a.tif: the probability is lower in cells (mean 0.30) than outside (0.80); if "
        "membranes or background are marked, give --label-map 0=cell,5=background"
    )
    assert remark(Path("a.zip"), sides, LabelMap(), 2).startswith("warning: a.zip and 2 more: ")
    assert remark(Path("a.zip"), sides, LabelMap()).endswith("draw regions around cells")
    many = sides_of(LABELS + (LABELS > 0) * [[[0, 0, 1, 2]]], PROBABILITY)
    assert remark(Path("a.tif"), many, LabelMap()).endswith("say by --label-map what values mean")
